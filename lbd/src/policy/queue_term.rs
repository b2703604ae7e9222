//! What a queue adds to a backend's sessions where a new session chooses between two.
//!
//! A session waits for those that are open, its message then for those that are queued. By Little's law
//! the first takes `sessions / rate of sessions` and the second `queued / rate of deliveries`. For the two
//! to be added, the queue is told in sessions: as many as come while it drains,
//! `queued * rate of sessions / rate of deliveries`. So a queued message counts for one session where every
//! session brings a message and the box is busy, for five where four of five end before DATA, and for more
//! where the box delivers slowly; no constant has to be fitted to a site's mail.
//!
//! - The rate of sessions is the cluster's, shared by configured weight, and not what the backend got:
//!   else one that is avoided would look better the more it is avoided.
//! - The rate of deliveries is what the box itself delivered of late, drawn towards its share of what all
//!   delivered while little of it is known, so that a box that delivers nothing counts as slow, not as
//!   infinitely slow, and one that has just started as an ordinary one.
//! - A box that tells no deliveries is taken for an ordinary one; where none tells them, a queued message
//!   counts for one session.
//! - Figures that grow old fade to nothing: a queue of a minute ago says little.
//!
//! Pure: `now` and figures in, terms out.
use std::collections::HashMap;

use super::site::to_f64;
use crate::units::{BackendId, Weight};

/// What counts of the past: an exponential mean over so long.
const MEMORY_NS: f64 = 10e9;
/// So many deliveries are taken for granted, at the rate of an ordinary box.
const PRIOR_DELIVERIES: f64 = 5.0;
/// Figures hold for so many of their intervals, and then fade over as many again.
const HOLD_INTERVALS: u64 = 2;
/// More sessions than this a queue never counts for.
const MOST: f64 = 1e6;

/// What a box said of its queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// When, on any monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// Messages that wait for this box to work on them.
    pub queued: u64,
    /// Messages that it has delivered since it began to count; `None` where it does not count them.
    pub delivered: Option<u64>,
}

/// A backend, as the terms need it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Which.
    pub id: BackendId,
    /// Its configured weight.
    pub weight: Weight,
    /// It may take sessions; what one does that may not is no measure for the others.
    pub online: bool,
}

/// What a backend's queue counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Term {
    /// In open sessions.
    pub sessions: u32,
    /// From so many messages.
    pub queued: u64,
    /// Sessions that a queued message counts for.
    pub sessions_per_message: f64,
    /// How old the figures are, in nanoseconds.
    pub age_ns: u64,
    /// How much of them still counts, 0 to 1.
    pub trust: f64,
}

/// What is remembered of a backend.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    last: Said,
    /// Between the last two that it said.
    interval_ns: u64,
    /// Its deliveries of late and the time in which they were, with older ones counting less.
    delivered: f64,
    over_ns: f64,
    counts_deliveries: bool,
}

impl Memory {
    fn take(&mut self, said: Said) {
        let passed_ns = said.at_ns.saturating_sub(self.last.at_ns);
        if self.last.at_ns != 0 && passed_ns != 0 {
            self.interval_ns = passed_ns;
        }
        self.counts_deliveries = said.delivered.is_some();
        // A count that fell is a new one: its agent began anew.
        if let (Some(before), Some(after)) = (self.last.delivered, said.delivered)
            && let Some(new) = after.checked_sub(before)
            && self.last.at_ns != 0
        {
            let kept = (-to_f64(passed_ns) / MEMORY_NS).exp();
            self.delivered = self.delivered * kept + to_f64(new);
            self.over_ns = self.over_ns * kept + to_f64(passed_ns);
        }
        self.last = said;
    }

    /// Deliveries a nanosecond, given an ordinary box's of its weight.
    fn rate(&self, ordinary: f64) -> f64 {
        (self.delivered + PRIOR_DELIVERIES) / (self.over_ns + PRIOR_DELIVERIES / ordinary)
    }

    fn trust(&self, age_ns: u64) -> f64 {
        let hold_ns = self.interval_ns.saturating_mul(HOLD_INTERVALS).max(1);
        (2.0 - to_f64(age_ns) / to_f64(hold_ns)).clamp(0.0, 1.0)
    }
}

/// The terms of all backends, with what they need to remember.
#[derive(Clone, Debug)]
pub struct QueueTerms {
    memories: HashMap<BackendId, Memory>,
    /// Sessions of all backends that ended of late and the time in which they did.
    ended: f64,
    over_ns: f64,
    /// How far apart the figures are before two were heard, in nanoseconds.
    interval_ns: u64,
}

impl QueueTerms {
    /// Nothing is known yet; figures are expected every `interval_ns`.
    #[must_use]
    pub fn new(interval_ns: u64) -> Self {
        Self {
            memories: HashMap::new(),
            ended: 0.0,
            over_ns: 0.0,
            interval_ns,
        }
    }

    /// A backend told its queue.
    pub fn take_report(&mut self, id: BackendId, said: Said) {
        let interval_ns = self.interval_ns;
        let memory = self.memories.entry(id).or_insert(Memory {
            interval_ns,
            ..Memory::default()
        });
        if said.at_ns >= memory.last.at_ns {
            memory.take(said);
        }
    }

    /// So many sessions of all backends ended in so long.
    pub fn ended(&mut self, sessions: u64, passed_ns: u64) {
        let kept = (-to_f64(passed_ns) / (3.0 * MEMORY_NS)).exp();
        self.ended = self.ended * kept + to_f64(sessions);
        self.over_ns = self.over_ns * kept + to_f64(passed_ns);
    }

    /// A backend that is gone; its id may be given to another one.
    pub fn forget(&mut self, id: BackendId) {
        self.memories.remove(&id);
    }

    /// What each backend's queue counts for now, in the order given; `None` of one that never told.
    #[must_use]
    pub fn terms(&self, now_ns: u64, backends: &[Standing]) -> Vec<Option<Term>> {
        let online = || backends.iter().filter(|backend| backend.online);
        let total_weight: f64 = online().map(weight).sum();
        let sessions_per_ns = self.ended / self.over_ns.max(1.0) / total_weight.max(1.0);
        let (delivered, over) = online()
            .filter_map(|backend| Some((self.memories.get(&backend.id)?, weight(backend))))
            .filter(|(memory, _)| memory.counts_deliveries)
            .fold((0.0, 0.0), |(delivered, over), (memory, weight)| {
                (delivered + memory.delivered, over + memory.over_ns * weight)
            });
        // Of one unit of weight.
        let deliveries_per_ns = if over > 0.0 { delivered / over } else { 0.0 };
        let per_message = |memory: &Memory, weight: f64| {
            if deliveries_per_ns <= 0.0 || sessions_per_ns <= 0.0 {
                return 1.0;
            }
            let ordinary = deliveries_per_ns * weight;
            let rate = if memory.counts_deliveries {
                memory.rate(ordinary)
            } else {
                ordinary
            };
            sessions_per_ns * weight / rate
        };
        let term = |backend: &Standing| {
            let memory = self.memories.get(&backend.id)?;
            let age_ns = now_ns.saturating_sub(memory.last.at_ns);
            let trust = memory.trust(age_ns);
            let per_message = per_message(memory, weight(backend));
            let sessions = (to_f64(memory.last.queued) * per_message * trust).min(MOST);
            Some(Term {
                sessions: whole(sessions),
                queued: memory.last.queued,
                sessions_per_message: per_message,
                age_ns,
                trust,
            })
        };
        backends.iter().map(term).collect()
    }
}

/// Configured, and never 0: it divides.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "mapped over references")]
fn weight(backend: &Standing) -> f64 {
    f64::from(backend.weight.0).max(1.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and MOST"
)]
fn whole(sessions: f64) -> u32 {
    sessions.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn backends(weights: &[u16]) -> Vec<Standing> {
        let one = |(id, weight): (u16, &u16)| Standing {
            id: BackendId(id),
            weight: Weight(*weight),
            online: true,
        };
        (0..).zip(weights).map(one).collect()
    }

    /// Every second for a minute: `(queued, delivered a second)` a backend, and sessions of all.
    fn after_a_minute(boxes: &[(u64, u64)], sessions_per_s: u64) -> QueueTerms {
        let mut terms = QueueTerms::new(S);
        for second in 1..=60 {
            for (id, (queued, delivered)) in (0..).zip(boxes) {
                let said = Said {
                    at_ns: second * S,
                    queued: *queued,
                    delivered: Some(second * delivered),
                };
                terms.take_report(BackendId(id), said);
            }
            terms.ended(sessions_per_s, S);
        }
        terms
    }

    fn sessions(terms: &QueueTerms, now_ns: u64, weights: &[u16]) -> Vec<u32> {
        let terms = terms.terms(now_ns, &backends(weights));
        terms
            .into_iter()
            .map(|term| term.map_or(0, |it| it.sessions))
            .collect()
    }

    #[test]
    fn a_queue_counts_for_the_sessions_that_come_while_it_drains() {
        // Every session brings a message, and all are delivered as they come.
        let busy = after_a_minute(&[(30, 10), (30, 10)], 20);
        assert_eq!(sessions(&busy, 60 * S, &[100, 100]), [30, 30]);
        // Four of five sessions end before DATA.
        let rejecting = after_a_minute(&[(30, 10), (30, 10)], 100);
        assert_eq!(sessions(&rejecting, 60 * S, &[100, 100]), [150, 150]);
        // One delivers a fifth of what the others do: the prior of five deliveries softens it.
        let slow = after_a_minute(&[(30, 2), (30, 10), (30, 10)], 30);
        let terms = sessions(&slow, 60 * S, &[100, 100, 100]);
        assert!((100..=150).contains(&terms[0]), "{terms:?}");
        assert!((28..=36).contains(&terms[1]), "{terms:?}");
    }

    #[test]
    fn a_box_of_twice_the_weight_is_expected_to_deliver_twice_as_much() {
        let terms = after_a_minute(&[(30, 20), (30, 10)], 30);
        assert_eq!(sessions(&terms, 60 * S, &[200, 100]), [30, 30]);
    }

    #[test]
    fn a_box_that_delivers_nothing_counts_as_slow_and_not_without_end() {
        let terms = after_a_minute(&[(30, 0), (30, 10), (30, 10)], 20);
        let terms = sessions(&terms, 60 * S, &[100, 100, 100]);
        assert!(
            terms[0] > 5 * terms[1] && terms[0] < 100 * terms[1],
            "{terms:?}"
        );
    }

    #[test]
    fn figures_that_grow_old_fade_to_nothing() {
        let terms = after_a_minute(&[(30, 10)], 10);
        let at = |second: u64| sessions(&terms, second * S, &[100])[0];
        assert_eq!(
            [at(60), at(62), at(63), at(64), at(600)],
            [30, 30, 15, 0, 0]
        );
    }

    #[test]
    fn without_a_count_of_deliveries_a_message_counts_for_a_session() {
        let mut terms = QueueTerms::new(10 * S);
        let said = Said {
            at_ns: S,
            queued: 12,
            delivered: None,
        };
        terms.take_report(BackendId(0), said);
        terms.ended(100, S);
        let standings = backends(&[100, 100]);
        let told = terms.terms(11 * S, &standings);
        assert_eq!((told[0].unwrap().sessions, told[1]), (12, None));
        terms.forget(BackendId(0));
        assert_eq!(terms.terms(11 * S, &standings), [None, None]);
    }

    #[test]
    fn a_count_that_begins_anew_is_no_delivery() {
        let mut terms = after_a_minute(&[(30, 10)], 10);
        let before = sessions(&terms, 61 * S, &[100]);
        let said = Said {
            at_ns: 61 * S,
            queued: 30,
            delivered: Some(3),
        };
        terms.take_report(BackendId(0), said);
        assert_eq!(sessions(&terms, 61 * S, &[100]), before);
    }

    proptest::proptest! {
        #[test]
        fn any_figures_give_a_term(
            said in proptest::collection::vec((0..9_u16, proptest::num::u64::ANY, proptest::num::u64::ANY, proptest::option::of(proptest::num::u64::ANY)), 0..40),
            ended in proptest::num::u64::ANY,
            now_ns in proptest::num::u64::ANY,
        ) {
            let mut terms = QueueTerms::new(S);
            for (id, at_ns, queued, delivered) in said {
                terms.take_report(BackendId(id), Said { at_ns, queued, delivered });
                terms.ended(ended, at_ns);
            }
            for term in terms.terms(now_ns, &backends(&[0, 1, 100, 10_000, 7, 1, 1, 1, 1])).into_iter().flatten() {
                proptest::prop_assert!(term.sessions <= 1_000_000 && (0.0..=1.0).contains(&term.trust));
            }
        }
    }
}
