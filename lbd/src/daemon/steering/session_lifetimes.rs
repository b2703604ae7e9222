//! How many of a backend's sessions ended, and how long they lasted. Pure.
//!
//! It need not be known when each session began: over a while, the mean lifetime is the mean
//! number of open sessions divided by the rate at which they end (Little's law). Both are at hand:
//! how many are open is read every so often, and those that began are counted. Only sessions that are proven
//! count, so that nothing of it rests on what a stranger claims: by the word of the backend's own box where it
//! tells ([`OpenByWord`]), and otherwise the flows that a sweep finds proven, and `Sign::proven`. A backend
//! that tells nothing and ends its sessions before they are proven is for the health check to find. The bytes
//! are those of all frames to the backend. In a flood that makes the sessions look large, and large ones
//! are no failures.
use crate::dataplane::SessionCounts;

/// How many sessions a backend has, by its own box's word: what strangers send changes nothing of it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct OpenByWord {
    proven: u64,
    then: SessionCounts,
}

impl OpenByWord {
    /// A sweep has counted so many proven flows, when the box had told so much.
    pub(in crate::daemon) fn counted(proven: u64, then: SessionCounts) -> Self {
        Self { proven, then }
    }

    /// How many are open when it has told so much.
    pub(in crate::daemon) fn at(self, now: SessionCounts) -> u64 {
        let begun = now.begun.wrapping_sub(self.then.begun);
        let ended = now.ended.wrapping_sub(self.then.ended);
        (self.proven + begun).saturating_sub(ended)
    }
}

/// A backend's sessions since the last step of the policy.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct SessionLifetimes {
    /// When `open` was read; 0 before the first time.
    read_ns: u64,
    open: u64,
    /// Open sessions times nanoseconds since the last step.
    session_ns: u128,
    /// At the last step; `None` before the first.
    before: Option<Before>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    open: u64,
    steered: Steered,
}

/// All that a backend ever had.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct Steered {
    /// Sessions that began, by its box's word, or that were proven.
    pub(in crate::daemon) begun: u64,
    /// Bytes of frames.
    pub(in crate::daemon) bytes: u64,
}

/// What [`SessionLifetimes::step`] found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::daemon) struct Ended {
    /// Sessions that ended since the last step.
    pub(in crate::daemon) sessions: u64,
    /// Their mean lifetime; 0 when none ended.
    pub(in crate::daemon) mean_lifetime_ns: u64,
    /// What their clients sent, as a mean, with all headers.
    pub(in crate::daemon) mean_bytes: u64,
}

impl SessionLifetimes {
    /// Takes in how many sessions are open now.
    pub(in crate::daemon) fn read(&mut self, now_ns: u64, open: u64) {
        if self.read_ns != 0 {
            let passed_ns = now_ns.saturating_sub(self.read_ns);
            // Between two readings it moved from one to the other: their mean.
            let twice = u128::from(self.open) + u128::from(open);
            self.session_ns += twice * u128::from(passed_ns) / 2;
        }
        self.read_ns = now_ns;
        self.open = open;
    }

    /// Ends a step, at the last reading.
    pub(in crate::daemon) fn step(&mut self, steered: Steered) -> Ended {
        let before = self.before.replace(Before {
            open: self.open,
            steered,
        });
        let session_ns = std::mem::take(&mut self.session_ns);
        let Some(before) = before else {
            return Ended::default();
        };
        // Where other nodes' sessions come by the channel, more are open than began here.
        let began = steered.begun.saturating_sub(before.steered.begun);
        let bytes = steered.bytes.saturating_sub(before.steered.bytes);
        let sessions = (began + before.open).saturating_sub(self.open);
        let lifetime_ns = session_ns.checked_div(u128::from(sessions)).unwrap_or(0);
        Ended {
            sessions,
            mean_lifetime_ns: u64::try_from(lifetime_ns).unwrap_or(u64::MAX),
            mean_bytes: bytes.checked_div(sessions).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    fn begun(begun: u64) -> Steered {
        Steered {
            begun,
            bytes: begun * 1000,
        }
    }

    #[test]
    fn a_steady_load_gives_the_lifetime_that_makes_it() {
        // (begin a second, lifetime in ms), read four times a second for 10 s.
        for (rate, lifetime_ms) in [(100, 50), (20, 500), (40, 4_000)] {
            let open = rate * lifetime_ms / 1000;
            let mut lifetimes = SessionLifetimes::default();
            lifetimes.read(S, open);
            lifetimes.step(begun(7));
            for quarter in 1..=40 {
                lifetimes.read(S + quarter * S / 4, open);
            }
            let ended = lifetimes.step(begun(7 + rate * 10));
            assert_eq!(ended.sessions, rate * 10);
            assert_eq!(ended.mean_lifetime_ns, lifetime_ms * 1_000_000);
            assert_eq!(ended.mean_bytes, 1000);
        }
    }

    #[test]
    fn a_flood_hides_no_failing_box_that_tells_of_its_sessions() {
        // Thirty sessions of 100 ms in 3 s, counted by a sweep each second; and any number of claims.
        let mut lifetimes = SessionLifetimes::default();
        let mut told = SessionCounts::default();
        let mut open = OpenByWord::counted(0, told);
        lifetimes.read(S, open.at(told));
        lifetimes.step(begun(0));
        for tenth in 0..30 {
            told.begun += 1;
            if tenth % 10 == 5 {
                open = OpenByWord::counted(1, told);
            }
            let now_ns = S + tenth * S / 10;
            lifetimes.read(now_ns, open.at(told));
            lifetimes.read(now_ns + S / 10 - 1, open.at(told));
            told.ended += 1;
        }
        lifetimes.read(4 * S, open.at(told));
        let ended = lifetimes.step(begun(told.begun));
        assert_eq!(ended.sessions, 30);
        assert!(
            ended.mean_lifetime_ns.abs_diff(S / 10) < S / 1000,
            "{ended:?}"
        );
    }

    #[test]
    fn nothing_is_known_before_the_second_step() {
        let mut lifetimes = SessionLifetimes::default();
        lifetimes.read(S, 5);
        assert_eq!(lifetimes.step(begun(1_000_000)), Ended::default());
        lifetimes.read(2 * S, 5);
        assert_eq!(lifetimes.step(begun(1_000_000)), Ended::default());
    }

    #[test]
    fn sessions_that_end_without_a_new_one_count() {
        let mut lifetimes = SessionLifetimes::default();
        lifetimes.read(S, 10);
        lifetimes.step(begun(0));
        lifetimes.read(3 * S, 0);
        let ended = lifetimes.step(begun(0));
        assert_eq!(ended.sessions, 10);
        assert_eq!(ended.mean_lifetime_ns, S);
    }

    proptest! {
        /// Each session lives its own time; the mean comes out for any mix.
        #[test]
        fn the_mean_of_any_lifetimes_comes_out(
            sessions in prop::collection::vec((0..900u64, 1..100u64), 1..200),
        ) {
            // Times in units of 10 ms; all begin and end within the step, which is read every unit.
            let mut lifetimes = SessionLifetimes::default();
            let unit = S / 100;
            lifetimes.read(unit, 0);
            lifetimes.step(begun(0));
            for at in 1..=1000u64 {
                let open = sessions.iter().filter(|(begin, life)| (*begin..begin + life).contains(&at));
                lifetimes.read(unit + at * unit, open.count() as u64);
            }
            let ended = lifetimes.step(begun(sessions.len() as u64));
            prop_assert_eq!(ended.sessions, sessions.len() as u64);
            let mean = sessions.iter().map(|(_, life)| life * unit).sum::<u64>() / ended.sessions;
            prop_assert!(ended.mean_lifetime_ns.abs_diff(mean) <= unit, "{ended:?} {mean}");
        }
    }
}
