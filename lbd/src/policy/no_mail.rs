//! Boxes that end sessions like others and take no mail: a full disk (452), a database that is gone (451).
//!
//! Where most sessions end before DATA anyhow, the sessions of such a box are hardly shorter than the
//! others', its queue is empty, and so it looks idle and draws ever more of them. What tells is the mail:
//! of as many sessions the others would have taken many messages, and it took next to none. Only boxes
//! that count their deliveries can be judged so.
use super::site::to_f64;
use crate::policy::Live;

/// What part of the earlier sessions still counts after a step.
const KEPT_PER_STEP: f64 = 0.7;
/// Enough sessions of one step make the older ones forgotten.
const ENOUGH_SESSIONS: f64 = 20.0;
/// It is judged once the others would have taken so many messages: none of ten by chance is one in
/// twenty thousand.
const JUDGED_FROM: f64 = 10.0;
/// It takes no mail below this part of what the others would have taken.
const NEXT_TO_NONE: f64 = 0.2;
/// Steps with mail after which it is believed to be cured.
const GOOD_STEPS: u32 = 3;

/// Sessions of a backend and the messages that they brought.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mail {
    sessions: f64,
    taken: f64,
    /// Of the last step alone; `None` where the box does not tell.
    last_taken: Option<u64>,
    failing: bool,
    good_steps: u32,
}

/// Both, summed over backends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) sessions: f64,
    pub(super) taken: f64,
}

impl Mail {
    pub(super) fn observe(&mut self, live: &Live) {
        self.last_taken = live.taken;
        let Some(taken) = live.taken else {
            (self.sessions, self.taken) = (0.0, 0.0);
            return;
        };
        let new = to_f64(live.completed);
        let kept = if new >= ENOUGH_SESSIONS {
            0.0
        } else {
            KEPT_PER_STEP
        };
        self.sessions = self.sessions * kept + new;
        self.taken = self.taken * kept + to_f64(taken);
    }

    /// What it adds to the sum of its site.
    pub(super) fn sum(&self) -> Sum {
        Sum {
            sessions: self.sessions,
            taken: self.taken,
        }
    }

    /// Messages that the others would have taken in its sessions; `None` where they tell nothing.
    pub(super) fn expected(&self, all: Sum) -> Option<f64> {
        let others = all.sessions - self.sessions;
        let per_session = (all.taken - self.taken) / others;
        (others >= ENOUGH_SESSIONS).then_some(self.sessions * per_session)
    }

    /// Whether it takes next to no mail; with hysteresis. To be asked once a step.
    pub(super) fn fails(&mut self, all: Sum) -> bool {
        let (Some(taken), Some(expected)) = (self.last_taken, self.expected(all)) else {
            self.failing = false;
            return false;
        };
        let next_to_none = self.taken < expected * NEXT_TO_NONE;
        if self.failing {
            // Few sessions come: one message is a sign, none proves nothing.
            if taken > 0 && !next_to_none {
                self.good_steps += 1;
            }
            self.failing = self.good_steps < GOOD_STEPS;
        } else {
            self.good_steps = 0;
            self.failing = expected >= JUDGED_FROM && next_to_none;
        }
        self.failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(mail: &mut Mail, completed: u64, taken: Option<u64>) -> bool {
        mail.observe(&Live {
            completed,
            taken,
            ..Live::default()
        });
        let others = Sum {
            sessions: 1000.0,
            taken: 250.0,
        };
        let own = mail.sum();
        mail.fails(Sum {
            sessions: others.sessions + own.sessions,
            taken: others.taken + own.taken,
        })
    }

    #[test]
    fn many_sessions_without_mail_are_failures_and_few_are_not() {
        for (completed, taken, expected) in [
            (100, Some(0), true),
            (100, Some(4), true),
            (100, Some(20), false),
            (30, Some(0), false),
            (100, None, false),
        ] {
            let mut mail = Mail::default();
            let fails = step(&mut mail, completed, taken);
            assert_eq!(fails, expected, "{taken:?} of {completed}");
        }
    }

    #[test]
    fn few_sessions_without_mail_add_up() {
        let mut mail = Mail::default();
        let steps = (1..20).find(|_| step(&mut mail, 15, Some(0)));
        assert!(steps.is_some_and(|steps| steps > 1), "{steps:?}");
    }

    #[test]
    fn a_cure_is_believed_when_mail_goes_in_again() {
        let mut mail = Mail::default();
        assert!(step(&mut mail, 100, Some(0)));
        for _ in 0..50 {
            assert!(step(&mut mail, 3, Some(0)), "silence is no cure");
        }
        let steps = (1..20).find(|_| !step(&mut mail, 4, Some(1)));
        assert_eq!(steps, Some(3));
    }

    #[test]
    fn alone_it_is_not_judged() {
        let mut mail = Mail::default();
        mail.observe(&Live {
            completed: 500,
            taken: Some(0),
            ..Live::default()
        });
        assert!(!mail.fails(mail.sum()));
    }
}
