//! The backend's own word on its sessions: what its kernel has opened, and what it has ended.
//!
//! On order. A box's word comes in the order in which its kernel spoke: opened, ended, opened again.
//! Frames of the client overtake it, because they pass the director first. So:
//!
//! - *opened* counts from every state but doomed. A flow that had ended is a new session on the same
//!   4-tuple.
//! - *ended* counts for established and closing flows of this very backend. One that is half-open or
//!   unproven has not been confirmed since it began, so the end is that of a session before it; and one
//!   on another backend is another session.
//! - Frames follow an ended flow to its box for some seconds. A SYN that comes before the end of the
//!   session before it goes to the box that has its 4-tuple; then the end arrives, and the client's ACK
//!   still finds its way, until the box's *opened* makes the flow an open session again.
//! - What is told again later (a gap, a full table) must be told as it is by then: never the end of a
//!   session whose 4-tuple is open again.
use lbd_common::flow::{FlowWord, flag, state};

use super::{
    key::FlowKey,
    table::{Flows, Insert, NewFlow},
};

/// Tries against frames that change the flow meanwhile.
const TRIES: usize = 4;

/// What came of a box's word that a session is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confirm {
    /// The flow is established now.
    Confirmed,
    /// There was none; now there is.
    Created,
    /// It was established already, or is doomed.
    Known,
    /// It was taken for one of this backend id.
    Moved(u16),
    /// An established session of another backend, this id, was heard later: it stays.
    Conflict(u16),
    /// There was none, and there is no room.
    NoRoom,
}

/// What came of a box's word that a session has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// It counts no longer.
    Ended,
    /// The table has no such flow, or has it as ended.
    Unknown,
    /// The flow is another session: with another backend, or begun since.
    Another,
}

/// A box's word that it has an open session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenSession {
    /// The backend that says so.
    pub backend: u16,
    /// Its client was heard then: now for an event; what is known of it in a full table.
    pub seen: u16,
    /// Whether a peer says so, not this box's own kernel.
    pub from_peer: bool,
}

impl<K: FlowKey> Flows<'_, K> {
    /// The box of a backend says that a session is open.
    pub fn confirm(&self, key: K, open: OpenSession) -> Confirm {
        let from_peer = if open.from_peer { flag::FROM_PEER } else { 0 };
        let new = NewFlow {
            backend: open.backend,
            state: state::ESTABLISHED,
            flags: flag::COUNTED | from_peer,
        };
        for _ in 0..TRIES {
            let known = match self.insert(key, new, open.seen) {
                Insert::Inserted => return Confirm::Created,
                Insert::NoRoom => return Confirm::NoRoom,
                Insert::Exists(known) => known,
            };
            let is_proven = matches!(known.state, state::ESTABLISHED | state::CLOSING);
            let told_later = is_later(open.seen, known.seen);
            let seen = if told_later { open.seen } else { known.seen };
            let outcome = if known.state == state::DOOMED {
                return Confirm::Known;
            } else if known.backend != open.backend {
                let is_guess = known.flags & flag::ADOPTED != 0;
                if is_proven && !is_guess && known.seen != open.seen && !told_later {
                    return Confirm::Conflict(known.backend);
                }
                Confirm::Moved(known.backend)
            } else if is_proven {
                let is_counted = known.flags & flag::COUNTED != 0;
                if known.state == state::ESTABLISHED && is_counted && !told_later {
                    return Confirm::Known;
                }
                Confirm::Known
            } else {
                Confirm::Confirmed
            };
            // A mark is the client's word, the session is the box's: it counts while the box has it.
            let kept = if known.backend == open.backend {
                known.flags & flag::FROM_PEER
            } else {
                from_peer
            };
            let changed = NewFlow {
                flags: flag::COUNTED | kept,
                ..new
            };
            if self.replace(key, known, changed, seen) {
                return outcome;
            }
        }
        Confirm::Known
    }

    /// The box of a backend says that a session has ended: the flow counts no longer, and is gone after
    /// [`super::Timeouts::ended`].
    pub fn end(&self, key: K, backend: u16, now_seen: u16) -> End {
        while let Some((slot, known)) = self.find(key) {
            if known.backend != backend {
                return End::Another;
            }
            match known.state {
                state::ESTABLISHED | state::CLOSING => {}
                state::HALF_OPEN | state::UNPROVEN => return End::Another,
                _ => return End::Unknown,
            }
            let ended = FlowWord {
                state: state::ENDED,
                flags: known.flags & flag::FROM_PEER,
                seen: now_seen,
                ..known
            };
            if self.change(slot, known, ended) {
                return End::Ended;
            }
        }
        End::Unknown
    }
}

/// Whether one time of a flow's clock is later than another.
fn is_later(one: u16, other: u16) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::flows::{Flows4, Key4};

    const KEY: Key4 = Key4 {
        source: std::net::Ipv4Addr::new(198, 51, 100, 7),
        port: 40_000,
        vip_id: 3,
    };
    const NOW: u16 = 100;

    struct Table {
        words: Vec<AtomicU64>,
        load: Vec<AtomicU64>,
    }

    impl Table {
        fn new() -> Self {
            let atomics = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
            Self {
                words: atomics(1024),
                load: atomics(4),
            }
        }

        fn having(backend: u16, state: u8, flags: u8) -> Self {
            let table = Self::new();
            let new = NewFlow {
                backend,
                state,
                flags,
            };
            assert_eq!(table.flows().insert(KEY, new, NOW), Insert::Inserted);
            table
        }

        fn flows(&self) -> Flows4<'_> {
            Flows4::new(&self.words, &self.load)
        }

        fn load(&self) -> [u64; 2] {
            [1, 2].map(|id| self.load[id].load(Ordering::Relaxed))
        }

        fn word(&self) -> FlowWord {
            self.flows().lookup(KEY).unwrap()
        }
    }

    fn said_at(seen: u16) -> OpenSession {
        OpenSession {
            backend: 1,
            seen,
            from_peer: true,
        }
    }

    #[test]
    fn a_boxs_word_makes_a_session_established_and_counts_it_once() {
        let (half_open, unproven) = (state::HALF_OPEN, state::UNPROVEN);
        for (backend, state, flags, outcome) in [
            (1, half_open, flag::COUNTED, Confirm::Confirmed),
            // After the moments in which it counted as on its way.
            (1, unproven, 0, Confirm::Confirmed),
            (1, state::ESTABLISHED, flag::COUNTED, Confirm::Known),
            (1, state::CLOSING, 0, Confirm::Known),
            (1, state::ENDED, 0, Confirm::Confirmed),
            (2, unproven, flag::COUNTED, Confirm::Moved(2)),
            (2, state::ENDED, 0, Confirm::Moved(2)),
            (2, state::ESTABLISHED, flag::COUNTED, Confirm::Moved(2)),
        ] {
            let table = Table::having(backend, state, flags);
            for outcome in [outcome, Confirm::Known] {
                assert_eq!(table.flows().confirm(KEY, said_at(NOW + 1)), outcome);
                assert_eq!((table.word().backend, table.load()), (1, [1, 0]));
                assert_eq!(table.word().state, state::ESTABLISHED, "{state}");
            }
        }
    }

    #[test]
    fn a_boxs_word_makes_a_flow_where_there_is_none() {
        let table = Table::new();
        assert_eq!(table.flows().confirm(KEY, said_at(NOW)), Confirm::Created);
        assert_eq!(table.load(), [1, 0]);
        assert_eq!(table.word().flags, flag::COUNTED | flag::FROM_PEER);
    }

    #[test]
    fn what_a_box_lists_from_before_moves_no_session_that_was_heard_since() {
        let table = Table::having(2, state::ESTABLISHED, flag::COUNTED);
        let outcome = table.flows().confirm(KEY, said_at(NOW - 1));
        assert_eq!((outcome, table.load()), (Confirm::Conflict(2), [0, 1]));
    }

    #[test]
    fn a_denied_session_stays_doomed() {
        let table = Table::having(1, state::DOOMED, 0);
        assert_eq!(table.flows().confirm(KEY, said_at(NOW)), Confirm::Known);
        assert_eq!((table.word().state, table.load()), (state::DOOMED, [0, 0]));
    }

    #[test]
    fn an_end_is_that_of_a_confirmed_session_of_the_box_that_says_so() {
        let counted = flag::COUNTED;
        for (backend, state, flags, outcome, load) in [
            (1, state::ESTABLISHED, counted, End::Ended, [0, 0]),
            (1, state::CLOSING, counted, End::Ended, [0, 0]),
            (1, state::CLOSING, 0, End::Ended, [0, 0]),
            (1, state::HALF_OPEN, counted, End::Another, [1, 0]),
            (1, state::UNPROVEN, counted, End::Another, [1, 0]),
            (2, state::ESTABLISHED, counted, End::Another, [0, 1]),
            (1, state::ENDED, 0, End::Unknown, [0, 0]),
            (1, state::DOOMED, 0, End::Unknown, [0, 0]),
        ] {
            let table = Table::having(backend, state, flags);
            assert_eq!(table.flows().end(KEY, 1, NOW), outcome, "{state}");
            assert_eq!(table.load(), load, "{state}");
        }
        assert_eq!(Table::new().flows().end(KEY, 1, NOW), End::Unknown);
    }

    #[test]
    fn a_session_on_the_same_4_tuple_outlives_the_end_of_the_one_before() {
        let table = Table::having(1, state::ESTABLISHED, flag::COUNTED);
        // The new SYN went to the same box before its word came; it ends the old one, opens the new one.
        assert_eq!(table.flows().end(KEY, 1, NOW), End::Ended);
        assert_eq!(table.word().backend, 1, "the ACK still goes there");
        let opened = table.flows().confirm(KEY, said_at(NOW));
        assert_eq!((opened, table.load()), (Confirm::Confirmed, [1, 0]));
    }
}
