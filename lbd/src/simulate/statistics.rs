//! Means over seeds, with how far to trust them.
use schemars::JsonSchema;
use serde::Serialize;

/// A mean and half the width of its 95 % confidence interval, by Student's t.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width; 0 for fewer than two values.
    pub half_width: f64,
}

impl Estimate {
    /// Over runs that differ in their seed alone.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = count(values);
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        if values.len() < 2 {
            return Self {
                mean,
                half_width: 0.0,
            };
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1.0) / count).sqrt();
        Self {
            mean,
            half_width: t_975(count - 1.0) * error,
        }
    }
}

/// A geometric mean of ratios with its 95 % confidence interval, taken on their logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize)]
pub struct Ratio {
    /// The geometric mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Ratio {
    /// Of pairs `(value, against)`, both above 0, of runs with the same traffic.
    #[must_use]
    pub fn of(pairs: &[(f64, f64)]) -> Self {
        let logs: Vec<f64> = pairs
            .iter()
            .map(|(value, against)| (value / against).ln())
            .collect();
        let Estimate { mean, half_width } = Estimate::of(&logs);
        Self {
            mean: mean.exp(),
            low: (mean - half_width).exp(),
            high: (mean + half_width).exp(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of seeds")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5, and exact for one and two
/// degrees of freedom, where that expansion is not close).
fn t_975(degrees: f64) -> f64 {
    let z = 1.959_963_985_f64;
    if degrees < 1.5 {
        return 12.706;
    }
    if degrees < 2.5 {
        return 4.303;
    }
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / degrees + second / degrees.powi(2) + third / degrees.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_is_as_in_the_tables() {
        for (degrees, expected) in [
            (1.0, 12.706),
            (2.0, 4.303),
            (4.0, 2.776),
            (19.0, 2.093),
            (100.0, 1.984),
        ] {
            assert!(
                (t_975(degrees) - expected).abs() < 0.01,
                "{degrees}: {}",
                t_975(degrees)
            );
        }
    }

    #[test]
    fn estimates_of_known_samples() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((estimate.mean - 3.0).abs() < 1e-9);
        assert!((estimate.half_width - 1.963).abs() < 0.01, "{estimate:?}");
        assert_eq!(Estimate::of(&[]), Estimate::default());
    }

    #[test]
    fn a_constant_ratio_has_no_width() {
        let ratio = Ratio::of(&[(1.0, 2.0), (3.0, 6.0), (5.0, 10.0)]);
        assert!((ratio.mean - 0.5).abs() < 1e-9 && (ratio.high - ratio.low).abs() < 1e-9);
    }
}
