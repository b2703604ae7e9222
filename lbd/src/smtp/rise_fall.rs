//! From single verdicts to a state that does not flap.

use serde::Serialize;

use super::Verdict;

/// A backend's health.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not checked yet.
    #[default]
    Unknown,
    /// Serves.
    Up,
    /// Lives, but takes nothing new: open sessions go on.
    Full,
    /// Does not serve.
    Down,
}

/// Counts verdicts in a row.
///
/// - The first verdict of all decides at once.
/// - Down is believed after `fall` in a row, Up after `rise`.
/// - Full is believed at once, also from a backend that was down: it is an answer, and holding new
///   sessions back cuts none.
#[derive(Clone, Debug)]
pub struct RiseFall {
    rise: u32,
    fall: u32,
    health: Health,
    /// What the last verdicts said, when it is not `health`, and how many of them in a row.
    rival: Option<(Health, u32)>,
}

impl RiseFall {
    /// A counter that nothing was told yet. 0 counts as 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            health: Health::Unknown,
            rival: None,
        }
    }

    /// The health as it stands.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes a verdict in. Gives the new health if this changed it.
    pub fn observe(&mut self, verdict: &Verdict) -> Option<Health> {
        let seen = match verdict {
            Verdict::Up => Health::Up,
            Verdict::Full { .. } => Health::Full,
            Verdict::Down(_) => Health::Down,
        };
        if seen == self.health {
            self.rival = None;
            return None;
        }
        let in_a_row = match self.rival {
            Some((rival, count)) if rival == seen => count.saturating_add(1),
            _ => 1,
        };
        let needed = match (self.health, seen) {
            (Health::Unknown, _) | (_, Health::Full | Health::Unknown) => 1,
            (_, Health::Up) => self.rise,
            (_, Health::Down) => self.fall,
        };
        if in_a_row < needed {
            self.rival = Some((seen, in_a_row));
            return None;
        }
        self.rival = None;
        self.health = seen;
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Reason, Stage};
    use super::*;

    /// `u`, `f`, `d` for verdicts; the letter after each is the health that follows it.
    fn run(rise: u32, fall: u32, verdicts: &str) -> String {
        let mut counter = RiseFall::new(rise, fall);
        verdicts
            .chars()
            .map(|letter| {
                let before = counter.health();
                let change = counter.observe(&verdict(letter));
                assert_eq!(change.is_some(), counter.health() != before);
                match counter.health() {
                    Health::Unknown => '?',
                    Health::Up => 'U',
                    Health::Full => 'F',
                    Health::Down => 'D',
                }
            })
            .collect()
    }

    fn verdict(letter: char) -> Verdict {
        match letter {
            'u' => Verdict::Up,
            'f' => Verdict::Full {
                stage: Stage::Banner,
                code: 421,
                text: String::new(),
            },
            _ => Verdict::Down(Reason::NoStartTls),
        }
    }

    #[test]
    fn health_follows_verdicts_in_a_row() {
        let table = [
            (2, 3, "uddd", "UUUD"),
            (2, 3, "udduddd", "UUUUUUD"),
            (2, 3, "duu", "DDU"),
            (2, 3, "dudu", "DDDD"),
            (2, 3, "uf", "UF"),
            (2, 3, "ufuu", "UFFU"),
            (2, 3, "ufddd", "UFFFD"),
            (2, 3, "dfuu", "DFFU"),
            (2, 3, "f", "F"),
            (0, 0, "udu", "UDU"),
        ];
        for (rise, fall, verdicts, expected) in table {
            assert_eq!(run(rise, fall, verdicts), expected, "{verdicts}");
        }
    }

    proptest! {
        #[test]
        fn an_up_backend_needs_fall_failures_in_a_row(
            fall in 1_u32..6,
            verdicts in "[ud]{0,60}",
        ) {
            let states = run(2, fall, &format!("u{verdicts}"));
            let mut failures = 0;
            let mut went_down = false;
            for (letter, state) in verdicts.chars().zip(states.chars().skip(1)) {
                failures = if letter == 'd' { failures + 1 } else { 0 };
                went_down |= failures >= fall;
                if state == 'D' {
                    prop_assert!(went_down);
                }
            }
        }
    }
}
