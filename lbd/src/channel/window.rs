//! Which of a peer's datagrams are new, and which are missing.
use std::collections::BTreeMap;

/// Runs of missing numbers that are kept apart; a peer of which more is missing is asked for its
/// table.
const MOST_RUNS: usize = 4096;

/// How a sequence number relates to a window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// Not heard before.
    New,
    /// Heard before, or given up.
    Old,
}

/// The sequence numbers heard of one epoch of one peer: the latest, and which of those before it have
/// not come. Exact, so that a replay is refused and a datagram that was overtaken is not, however far
/// (RFC 4303, section 3.4.3, has a window of bits for ESP, which cannot say what it lacks).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Window {
    latest: u64,
    /// First and last of each run of missing numbers.
    runs: BTreeMap<u64, u64>,
    missing: u64,
}

impl Window {
    /// Begins with the first sequence number heard; all before it count as heard.
    #[must_use]
    pub fn starting(first: u64) -> Self {
        Self {
            latest: first,
            runs: BTreeMap::new(),
            missing: 0,
        }
    }

    /// Takes a sequence number whose signature was verified.
    pub fn accept(&mut self, sequence: u64) -> Seen {
        if sequence > self.latest {
            let ahead = sequence - self.latest;
            if ahead > 1 {
                self.runs.insert(self.latest + 1, sequence - 1);
                self.missing = self.missing.saturating_add(ahead - 1);
            }
            self.latest = sequence;
            return Seen::New;
        }
        if self.settle(sequence) {
            Seen::New
        } else {
            Seen::Old
        }
    }

    /// A missing number has arrived; false when it was not missing.
    pub fn settle(&mut self, sequence: u64) -> bool {
        let run = self.runs.range(..=sequence).next_back();
        let Some((first, last)) = run.map(|(first, last)| (*first, *last)) else {
            return false;
        };
        if sequence > last {
            return false;
        }
        self.runs.remove(&first);
        if first < sequence {
            self.runs.insert(first, sequence - 1);
        }
        if sequence < last {
            self.runs.insert(sequence + 1, last);
        }
        self.missing -= 1;
        true
    }

    /// The latest that was heard.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// How many are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// The first that is missing.
    #[must_use]
    pub fn first_missing(&self) -> Option<u64> {
        self.runs.keys().next().copied()
    }

    /// Whether more is missing than it is worth asking for.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.runs.len() > MOST_RUNS
    }

    /// Runs of missing numbers up to `last`: the first of each, and how many.
    pub fn runs(&self, last: u64) -> impl Iterator<Item = (u64, u64)> {
        self.runs
            .range(..=last)
            .map(move |(from, to)| (*from, (*to).min(last) - from + 1))
    }

    /// Gives up what is missing: from now on it counts as heard.
    pub fn forget_missing(&mut self) {
        self.missing = 0;
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_never_came_is_missing_until_it_comes() {
        let mut window = Window::starting(10);
        assert_eq!(window.accept(14), Seen::New);
        assert_eq!(window.missing(), 3);
        assert_eq!(window.accept(12), Seen::New);
        assert_eq!(window.runs(20).collect::<Vec<_>>(), [(11, 1), (13, 1)]);
        assert_eq!(window.runs(12).collect::<Vec<_>>(), [(11, 1)]);
        window.forget_missing();
        assert_eq!(window.accept(13), Seen::Old);
        assert_eq!((window.missing(), window.first_missing()), (0, None));
    }

    #[test]
    fn the_largest_step_that_there_is_tears_nothing() {
        let mut window = Window::starting(0);
        assert_eq!(window.accept(u64::MAX), Seen::New);
        assert_eq!(window.missing(), u64::MAX - 1);
        assert_eq!(window.accept(u64::MAX - 1), Seen::New);
        assert_eq!(window.accept(u64::MAX), Seen::Old);
        assert!(!window.is_torn());
    }

    proptest! {
        #[test]
        fn nothing_is_accepted_twice_and_nothing_new_refused(
            sequences in proptest::collection::vec(1_u64..400, 1..300)
        ) {
            let mut window = Window::starting(0);
            let (mut heard, mut latest) = (BTreeSet::from([0]), 0);
            for sequence in sequences {
                let new = heard.insert(sequence);
                prop_assert_eq!(window.accept(sequence) == Seen::New, new);
                latest = latest.max(sequence);
                let missing: Vec<u64> = (0..latest).filter(|one| !heard.contains(one)).collect();
                prop_assert_eq!(window.missing(), missing.len() as u64);
                prop_assert_eq!(window.first_missing(), missing.first().copied());
                let runs = window.runs(latest).flat_map(|(first, count)| first..first + count);
                prop_assert_eq!(runs.collect::<Vec<_>>(), missing);
            }
        }
    }
}
