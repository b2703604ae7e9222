//! The counts in a sample: their names, and what counts as a count.

use std::fmt;

use super::SampleError;

/// The largest count that is believed. No mail box holds a thousand million messages; a figure
/// beyond it is a mistake, and must not reach the policy's arithmetic.
pub const MAX_FIGURE: u64 = MAX_FIGURE_U32 as u64;

const MAX_FIGURE_U32: u32 = 1_000_000_000;

/// A count in a [`super::Sample`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Figure {
    /// [`super::Sample::queued`].
    Queued,
    /// [`super::Sample::deferred`].
    Deferred,
    /// [`super::Sample::sessions`].
    Sessions,
    /// [`super::Sample::unique_ips`].
    UniqueIps,
    /// [`super::Sample::not_accepted`].
    NotAccepted,
    /// [`super::Sample::session_limit`].
    SessionLimit,
}

impl Figure {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Deferred,
        Self::Sessions,
        Self::UniqueIps,
        Self::NotAccepted,
        Self::SessionLimit,
    ];

    /// Its name in every format of lbd's own, and in the config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Deferred => "deferred",
            Self::Sessions => "sessions",
            Self::UniqueIps => "unique_ips",
            Self::NotAccepted => "not_accepted",
            Self::SessionLimit => "session_limit",
        }
    }

    /// The inverse of [`Self::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }

    /// A number that some format gave for this figure, as a count. Fractions are rounded: sums of
    /// gauges carry them.
    pub fn count(self, number: f64) -> Result<u64, SampleError> {
        let wrong = if number.is_nan() {
            FigureError::NotANumber
        } else if number < 0.0 {
            FigureError::Negative
        } else if number > f64::from(MAX_FIGURE_U32) {
            FigureError::TooLarge
        } else {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and MAX_FIGURE, tested above"
            )]
            return Ok(number.round() as u64);
        };
        Err(SampleError::Figure {
            figure: self,
            found: number.to_string(),
            wrong,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a number is no count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FigureError {
    /// Text, NaN, or another type.
    #[error("not a number")]
    NotANumber,
    /// Below 0.
    #[error("negative")]
    Negative,
    /// Above [`MAX_FIGURE`], or infinite.
    #[error("larger than {MAX_FIGURE}, the largest count that is believed")]
    TooLarge,
}

/// Something for each figure that a source is configured to give, such as a pointer or a selector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Figures<T>(Vec<(Figure, T)>);

impl<T> Figures<T> {
    /// From pairs. The last of two for the same figure counts.
    pub fn new(pairs: impl IntoIterator<Item = (Figure, T)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The pairs, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Figure, &T)> {
        self.0.iter().map(|(figure, what)| (*figure, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_count_is_taken_for_one() {
        let table = [
            (0.0, Ok(0)),
            (-0.0, Ok(0)),
            (12.4, Ok(12)),
            (1e9, Ok(MAX_FIGURE)),
            (-1.0, Err(FigureError::Negative)),
            (f64::NEG_INFINITY, Err(FigureError::Negative)),
            (1.1e9, Err(FigureError::TooLarge)),
            (f64::INFINITY, Err(FigureError::TooLarge)),
            (f64::NAN, Err(FigureError::NotANumber)),
        ];
        for (number, expected) in table {
            let got = Figure::Queued.count(number).map_err(|error| match error {
                SampleError::Figure { wrong, .. } => wrong,
                other => panic!("{number}: {other}"),
            });
            assert_eq!(got, expected, "{number}");
        }
    }

    #[test]
    fn names_lead_back_to_their_figures() {
        for figure in Figure::ALL {
            assert_eq!(Figure::from_name(figure.name()), Some(figure));
        }
        assert_eq!(Figure::from_name("queue"), None);
    }
}
