//! When `LOAD` is wrong, and by how much.

/// How many sweeps in a row must agree.
const AGREEING: usize = 3;

/// Finds out for one backend whether `LOAD` has drifted from the flows, while both keep changing.
///
/// Each change of a flow that counts changes `LOAD` once, so the two part only when a writer dies in
/// between. But a walk takes milliseconds, in which flows open behind it and close before it: a
/// count that differs from `LOAD` proves nothing by itself. Such differences go both ways; a drift
/// stays. But in a flood of claims, which open one by one and expire in the walk itself, every walk misses
/// those that opened behind it: as many as there are claims may be missing or too many. So a difference
/// beyond that is believed when three sweeps in a row have one of the same sign, and then
/// only the smallest of the three. When nothing opens or closes meanwhile, that is the exact drift.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LoadCheck {
    last: [i64; AGREEING],
}

impl LoadCheck {
    /// Takes the flows counted in a walk and how many of them are claims, with `LOAD` before and after
    /// it. Returns what to add to `LOAD`; 0 when it is right as far as can be told.
    pub fn observe(&mut self, counted: u64, claims: u64, before: u64, after: u64) -> i64 {
        // As signed numbers: a `LOAD` that was decremented below 0 has wrapped around.
        let [counted, claims, before, after] =
            [counted, claims, before, after].map(u64::cast_signed);
        let (low, high) = (before.min(after) - claims, before.max(after) + claims);
        let difference = counted - counted.clamp(low, high);
        self.last.rotate_left(1);
        self.last[AGREEING - 1] = difference;
        let smallest = self
            .last
            .iter()
            .copied()
            .min_by_key(|difference| difference.abs());
        let agree = self
            .last
            .iter()
            .all(|other| other.signum() == difference.signum());
        match smallest {
            Some(correction) if agree && correction != 0 => {
                *self = Self::default();
                correction
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_is_corrected_exactly_at_the_third_quiet_sweep() {
        for (counted, load, drift) in [(10, 7, 3), (0, 4, -4), (5, u64::MAX, 6)] {
            let mut check = LoadCheck::default();
            assert_eq!(check.observe(counted, 0, load, load), 0);
            assert_eq!(check.observe(counted, 0, load, load), 0);
            assert_eq!(check.observe(counted, 0, load, load), drift);
            assert_eq!(
                check.observe(
                    counted,
                    0,
                    load.wrapping_add_signed(drift),
                    load.wrapping_add_signed(drift)
                ),
                0
            );
        }
    }

    #[test]
    fn differences_of_both_signs_are_no_drift() {
        let mut check = LoadCheck::default();
        for counted in [101, 99, 103, 98, 102, 97] {
            assert_eq!(check.observe(counted, 0, 100, 100), 0);
        }
    }

    #[test]
    fn a_count_between_before_and_after_is_right() {
        let mut check = LoadCheck::default();
        for _ in 0..10 {
            assert_eq!(check.observe(105, 0, 100, 110), 0);
            assert_eq!(check.observe(105, 0, 110, 100), 0);
        }
    }

    #[test]
    fn a_drift_below_the_noise_takes_only_the_smallest_difference() {
        let mut check = LoadCheck::default();
        assert_eq!(check.observe(112, 0, 100, 100), 0);
        assert_eq!(check.observe(109, 0, 100, 100), 0);
        assert_eq!(check.observe(115, 0, 100, 100), 9);
    }

    #[test]
    fn a_flood_that_opens_behind_every_walk_is_no_drift() {
        let mut check = LoadCheck::default();
        for _ in 0..10 {
            // A second's worth of claims expires in the walk; 1,000 open meanwhile, half behind it.
            assert_eq!(check.observe(21_500, 21_480, 40_020, 22_020), 0);
        }
        // What drifted meanwhile is found after it.
        for expected in [0, 0, 500] {
            assert_eq!(
                check.observe(20, 0, u64::MAX - 479, u64::MAX - 479),
                expected
            );
        }
    }
}
