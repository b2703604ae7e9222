//! From single verdicts to a state that does not flap.

use serde::Serialize;

use super::{NoConnection, Verdict};

/// A backend's health.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Not checked yet.
    #[default]
    Unknown,
    /// Serves.
    Up,
    /// Lives, but takes nothing new: open sessions go on.
    Full,
    /// Lives, and does not serve as it should: likewise.
    NotServing,
    /// No connection comes about: open sessions are lost.
    Down,
}

/// Counts verdicts in a row.
///
/// - The first verdict of all decides at once, but for a silence: that takes nothing new at first, and
///   is believed to be death after `fall` in a row like every later one.
/// - Up is believed after `rise` in a row, not serving after `fall` bad ones of any kind, death after
///   `fall` without a connection.
/// - Full is believed at once, also from a backend that was down: it is an answer, and holding new
///   sessions back cuts none. For the same reason a single answer ends death.
#[derive(Clone, Debug)]
pub struct RiseFall {
    rise: u32,
    fall: u32,
    health: Health,
    /// Good verdicts in a row.
    good: u32,
    /// Verdicts in a row that were neither good nor full.
    bad: u32,
    /// Verdicts in a row without a connection.
    dead: u32,
}

impl RiseFall {
    /// A counter that nothing was told yet. 0 counts as 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            health: Health::Unknown,
            good: 0,
            bad: 0,
            dead: 0,
        }
    }

    /// The health as it stands.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// What was found out is in doubt: a death has to be seen once more before it counts again.
    pub fn doubt(&mut self) {
        if self.health == Health::Down {
            self.health = Health::NotServing;
        }
        self.dead = self.dead.min(self.fall - 1);
    }

    /// Takes a verdict in. Gives the new health if this changed it.
    pub fn observe(&mut self, verdict: &Verdict) -> Option<Health> {
        let one_more = |count: u32| count.saturating_add(1);
        (self.good, self.bad, self.dead) = match verdict {
            Verdict::Up => (one_more(self.good), 0, 0),
            Verdict::Full { .. } => (0, 0, 0),
            Verdict::NotServing(_) => (0, one_more(self.bad), 0),
            Verdict::Dead(_) => (0, one_more(self.bad), one_more(self.dead)),
        };
        let is_first = self.health == Health::Unknown;
        let was_down = self.health == Health::Down;
        let new = match verdict {
            Verdict::Up if is_first || self.good >= self.rise => Health::Up,
            Verdict::Up if was_down => Health::NotServing,
            Verdict::Full { .. } => Health::Full,
            Verdict::Dead(NoConnection::Refused(_)) if is_first => Health::Down,
            Verdict::Dead(_) if was_down || self.dead >= self.fall => Health::Down,
            Verdict::NotServing(_) | Verdict::Dead(_)
                if is_first || was_down || self.bad >= self.fall =>
            {
                Health::NotServing
            }
            _ => self.health,
        };
        let is_change = new != self.health;
        self.health = new;
        is_change.then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Reason, Stage};
    use super::*;

    /// Letters for verdicts: `u`p, `f`ull, `n`ot serving, `s`ilent, `r`efused; the letters that come out
    /// are the health after each.
    fn run(rise: u32, fall: u32, verdicts: &str) -> String {
        let mut counter = RiseFall::new(rise, fall);
        verdicts
            .chars()
            .map(|letter| {
                let before = counter.health();
                if letter == '?' {
                    counter.doubt();
                } else {
                    let change = counter.observe(&verdict(letter));
                    assert_eq!(change.is_some(), counter.health() != before);
                }
                match counter.health() {
                    Health::Unknown => '?',
                    Health::Up => 'U',
                    Health::Full => 'F',
                    Health::NotServing => 'N',
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
            's' => Verdict::Dead(NoConnection::Silent(String::new())),
            'r' => Verdict::Dead(NoConnection::Refused(String::new())),
            _ => Verdict::NotServing(Reason::NoStartTls),
        }
    }

    #[test]
    fn health_follows_verdicts_in_a_row() {
        let table = [
            (2, 3, "unnn", "UUUN"),
            (2, 3, "unnunnn", "UUUUUUN"),
            (2, 3, "nuu", "NNU"),
            (2, 3, "nunu", "NNNN"),
            (2, 3, "uf", "UF"),
            (2, 3, "ufuu", "UFFU"),
            (2, 3, "ufnnn", "UFFFN"),
            (2, 3, "nfuu", "NFFU"),
            (2, 3, "f", "F"),
            (0, 0, "unu", "UNU"),
            // Death takes `fall` without a connection, and one answer ends it.
            (2, 3, "usss", "UUUD"),
            (2, 3, "urrr", "UUUD"),
            (2, 3, "ussn", "UUUN"),
            (2, 3, "unss", "UUUN"),
            (2, 3, "unsss", "UUUND"),
            (2, 3, "usssn", "UUUDN"),
            (2, 3, "usssuu", "UUUDNU"),
            (2, 3, "usssf", "UUUDF"),
            // At the first word a refusal is known for one; a silence may be this box's own.
            (2, 3, "r", "D"),
            (2, 3, "sss", "NND"),
            // In doubt, the next check decides.
            (2, 3, "usss?", "UUUDN"),
            (2, 3, "usss?s", "UUUDND"),
            (2, 3, "usss?uu", "UUUDNNU"),
            (2, 3, "uu?s", "UUUU"),
        ];
        for (rise, fall, verdicts, expected) in table {
            assert_eq!(run(rise, fall, verdicts), expected, "{verdicts}");
        }
    }

    proptest! {
        #[test]
        fn sessions_are_cut_only_by_fall_silences_in_a_row(
            fall in 1_u32..6,
            verdicts in "[unsf]{0,60}",
        ) {
            let states = run(2, fall, &format!("u{verdicts}"));
            let mut silences = 0;
            for (letter, state) in verdicts.chars().zip(states.chars().skip(1)) {
                silences = if letter == 's' { silences + 1 } else { 0 };
                prop_assert_eq!(state == 'D', silences >= fall, "{} {}", verdicts, states);
            }
        }
    }
}
