//! Random numbers that depend on the seed alone.

/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014): one word of state, good enough for arrivals.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// One of many streams of a seed; streams do not follow each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(lbd_common::hash::mix(
            seed ^ lbd_common::hash::mix(stream + 1),
        ))
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 (included) to 1 (excluded).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// By its mean, and the standard deviation of its logarithm.
    pub(super) fn log_normal(&mut self, mean: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        mean * (sigma * normal - sigma * sigma / 2.0).exp()
    }

    /// By its scale and shape; below a shape of 1 short ones crowd together.
    pub(super) fn weibull(&mut self, scale: f64, shape: f64) -> f64 {
        scale * (-(1.0 - self.unit()).ln()).powf(1.0 / shape)
    }

    /// By its least value and its tail's exponent.
    pub(super) fn pareto(&mut self, least: f64, exponent: f64) -> f64 {
        least * (1.0 - self.unit()).powf(-1.0 / exponent)
    }

    /// A whole number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_as_asked_for() {
        let mut rng = Rng::new(1, 0);
        let mean = |draw: &mut dyn FnMut() -> f64| (0..20_000).map(|_| draw()).sum::<f64>() / 2e4;
        assert!((mean(&mut || rng.exponential(3.0)) - 3.0).abs() < 0.1);
        assert!((mean(&mut || rng.log_normal(3.0, 0.8)) - 3.0).abs() < 0.1);
        assert!((mean(&mut || rng.between(2.0, 4.0)) - 3.0).abs() < 0.1);
        // Gamma(1 + 1 / 0.5) is 2; a Pareto's mean is least * exponent / (exponent - 1).
        assert!((mean(&mut || rng.weibull(1.5, 0.5)) - 3.0).abs() < 0.2);
        assert!((mean(&mut || rng.pareto(2.0, 3.0)) - 3.0).abs() < 0.1);
    }

    #[test]
    fn a_seed_gives_one_sequence_a_stream() {
        let draws = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draws(1, 0), draws(1, 0));
        assert_ne!(draws(1, 0), draws(1, 1));
        assert_ne!(draws(1, 0), draws(2, 0));
    }
}
