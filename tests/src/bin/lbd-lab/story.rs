//! What happens to the cluster, and when.
use std::time::Duration;

/// Something that happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Act {
    /// A backup's mail system gets slow: its queue grows.
    Slow,
    /// It works as before.
    Cure,
    /// The master's daemon is killed hard.
    Kill,
    /// It is started again.
    Restart,
}

/// The acts, each at its share of the whole in percent.
const SCRIPT: [(u32, Act); 4] = [
    (15, Act::Slow),
    (45, Act::Cure),
    (65, Act::Kill),
    (80, Act::Restart),
];

/// A round of the story when it has no end.
const ROUND: Duration = Duration::from_mins(1);

/// The script on a clock.
#[derive(Debug)]
pub(super) struct Story {
    round: Duration,
    repeat: bool,
    /// Acts that were handed out.
    done: u32,
}

impl Story {
    /// The script once over `length`, or again and again.
    pub(super) fn new(length: Option<Duration>) -> Self {
        Self {
            round: length.unwrap_or(ROUND),
            repeat: length.is_none(),
            done: 0,
        }
    }

    /// The next act, when its time has come `elapsed` after the start.
    pub(super) fn next(&mut self, elapsed: Duration) -> Option<Act> {
        let acts = u32::try_from(SCRIPT.len()).expect("few");
        let (round, nth) = (self.done / acts, self.done % acts);
        if round > 0 && !self.repeat {
            return None;
        }
        let (percent, act) = SCRIPT[usize::try_from(nth).expect("few")];
        let due = self.round * round + self.round * percent / 100;
        if elapsed < due {
            return None;
        }
        self.done += 1;
        Some(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(length: Option<u64>, seconds: u64) -> Vec<(u64, Act)> {
        let mut story = Story::new(length.map(Duration::from_secs));
        let mut acts = Vec::new();
        for second in 0..seconds {
            while let Some(act) = story.next(Duration::from_secs(second)) {
                acts.push((second, act));
            }
        }
        acts
    }

    #[test]
    fn a_story_with_an_end_is_told_once() {
        let once = acts(Some(20), 100);
        let expected = [
            (3, Act::Slow),
            (9, Act::Cure),
            (13, Act::Kill),
            (16, Act::Restart),
        ];
        assert_eq!(once, expected);
    }

    #[test]
    fn a_story_without_end_is_told_again() {
        let often = acts(None, 180);
        assert_eq!(often.len(), 3 * SCRIPT.len());
        assert_eq!(often[SCRIPT.len()], (60 + 9, Act::Slow));
    }
}
