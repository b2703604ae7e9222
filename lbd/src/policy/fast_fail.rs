//! Boxes that end their sessions at once: a broken filter, a full disk, a lost database.
//!
//! Such a box has the fewest open sessions of all, so that least-connection feeds it more and more.
//! Lifetimes tell: those of one box are a small part of the others'. At least two others are needed
//! to tell who is the odd one. They do not tell a failing box from the only quick one among slow
//! ones, so its sessions must also be too small to hold a message.
use super::Tuning;
use super::site::to_f64;
use crate::policy::Live;

/// What part of the earlier sessions still counts after a step.
const KEPT_PER_STEP: f64 = 0.7;

/// Steps in a row with good sessions after which it is believed to be cured: the few sessions that
/// a failing box gets include long ones from before.
const GOOD_STEPS: u32 = 3;

/// Smoothed lifetime of a backend's sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lifetime {
    pub(super) mean_ns: f64,
    mean_bytes: f64,
    sessions: f64,
    /// Of the last step alone; `None` when no session ended in it.
    last: Option<Last>,
    pub(super) failing: bool,
    good_steps: u32,
}

/// Means of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Last {
    ns: f64,
    bytes: f64,
}

impl Lifetime {
    /// Takes in the sessions that ended since the last step. Enough new ones make the old ones
    /// forgotten: a box that began to fail must not live on its good past.
    pub(super) fn observe(&mut self, live: &Live, tuning: &Tuning) {
        let new = to_f64(live.completed);
        let old = if new >= tuning.fast_fail_sessions {
            0.0
        } else {
            self.sessions * KEPT_PER_STEP
        };
        let last = Last {
            ns: to_f64(live.mean_lifetime_ns),
            bytes: to_f64(live.mean_bytes),
        };
        self.last = (live.completed > 0).then_some(last);
        self.sessions = old + new;
        if self.sessions > 0.0 {
            self.mean_ns = (self.mean_ns * old + last.ns * new) / self.sessions;
            self.mean_bytes = (self.mean_bytes * old + last.bytes * new) / self.sessions;
        }
    }

    /// Enough sessions were seen to judge by.
    pub(super) fn known(&self, tuning: &Tuning) -> bool {
        self.sessions >= tuning.fast_fail_sessions
    }

    /// Whether it fails fast, given the median of the others; with hysteresis.
    ///
    /// Little is sent to one that fails, so its cure is judged by few sessions; when none at all
    /// came for some steps it gets another chance.
    pub(super) fn fails(&mut self, others_median_ns: Option<f64>, tuning: &Tuning) -> bool {
        let Some(median_ns) = others_median_ns else {
            self.failing = false;
            return false;
        };
        let limit_ns = median_ns * tuning.fast_fail_lifetime;
        let limit_bytes = to_f64(tuning.fast_fail_max_bytes);
        if self.failing {
            match self.last {
                Some(last) if last.ns >= 2.0 * limit_ns || last.bytes > limit_bytes => {
                    self.good_steps += 1;
                }
                Some(_) => self.good_steps = 0,
                None => {}
            }
            self.failing = self.sessions >= 1.0 && self.good_steps < GOOD_STEPS;
        } else {
            self.good_steps = 0;
            self.failing = self.known(tuning)
                && self.mean_ns < limit_ns
                && self.mean_ns <= to_f64(tuning.fast_fail_max_ns)
                && self.mean_bytes <= limit_bytes;
        }
        self.failing
    }
}

/// The median of sorted values, one of them left out; `None` when fewer than two are left.
///
/// Of an even number the lower of the two in the middle: one slow box among three must not make
/// the two others look quick.
pub(super) fn median_without(sorted: &[f64], left_out: Option<usize>) -> Option<f64> {
    let count = sorted.len() - usize::from(left_out.is_some());
    if count < 2 {
        return None;
    }
    let at = |rank: usize| sorted[rank + usize::from(left_out.is_some_and(|out| rank >= out))];
    Some(at((count - 1) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(completed: u64, mean_lifetime_ns: u64) -> Lifetime {
        let mut lifetime = Lifetime::default();
        let live = Live {
            completed,
            mean_lifetime_ns,
            ..Live::default()
        };
        lifetime.observe(&live, &Tuning::default());
        lifetime
    }

    #[test]
    fn many_short_sessions_are_failures_and_few_are_not() {
        let tuning = Tuning::default();
        for (completed, lifetime_ms, others_ms, expected) in [
            (100, 200, Some(4000.0), true),
            (10, 200, Some(4000.0), false),
            (100, 1500, Some(4000.0), false),
            (100, 3000, Some(40_000.0), false),
            (100, 200, None, false),
        ] {
            let mut lifetime = after(completed, lifetime_ms * 1_000_000);
            let others = others_ms.map(|ms: f64| ms * 1e6);
            assert_eq!(
                lifetime.fails(others, &tuning),
                expected,
                "{completed} of {lifetime_ms} ms against {others_ms:?}"
            );
        }
    }

    #[test]
    fn short_sessions_that_carry_messages_are_no_failures() {
        let tuning = Tuning::default();
        for (mean_bytes, expected) in [(900, true), (1_500, true), (8_000, false)] {
            let mut lifetime = Lifetime::default();
            let live = Live {
                completed: 100,
                mean_lifetime_ns: 200_000_000,
                mean_bytes,
                ..Live::default()
            };
            lifetime.observe(&live, &tuning);
            let failing = lifetime.fails(Some(4e9), &tuning);
            assert_eq!(failing, expected, "{mean_bytes} bytes");
        }
    }

    #[test]
    fn a_cure_is_noticed_and_silence_ends() {
        let tuning = Tuning::default();
        let mut failing = after(100, 200_000_000);
        assert!(failing.fails(Some(4e9), &tuning));
        let mut cured = failing;
        for step in 0..GOOD_STEPS {
            let failing = cured.fails(Some(4e9), &tuning);
            assert!(failing, "believed to be cured after {step} good steps");
            let live = Live {
                completed: 10,
                mean_lifetime_ns: 4_000_000_000,
                ..Live::default()
            };
            cured.observe(&live, &tuning);
        }
        assert!(!cured.fails(Some(4e9), &tuning));
        let mut steps = 0;
        while failing.fails(Some(4e9), &tuning) {
            failing.observe(&Live::default(), &tuning);
            steps += 1;
            assert!(steps < 30);
        }
        assert!(steps > 5, "one quiet step is no cure");
    }

    #[test]
    fn the_median_of_the_others_needs_two() {
        for (sorted, left_out, expected) in [
            (&[1.0][..], None, None),
            (&[1.0, 3.0], Some(0), None),
            (&[1.0, 3.0], None, Some(1.0)),
            (&[1.0, 3.0, 100.0], None, Some(3.0)),
            (&[1.0, 3.0, 100.0], Some(0), Some(3.0)),
            (&[1.0, 3.0, 100.0], Some(1), Some(1.0)),
            (&[1.0, 3.0, 100.0], Some(2), Some(1.0)),
            (&[1.0, 3.0, 5.0, 9.0], Some(3), Some(3.0)),
        ] {
            assert_eq!(
                median_without(sorted, left_out),
                expected,
                "{sorted:?} {left_out:?}"
            );
        }
    }
}
