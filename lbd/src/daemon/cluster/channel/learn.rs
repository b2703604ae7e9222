//! What a peer tells of a flow, put into a table.
use lbd_common::flow::{FlowWord, NOTED_UNITS, ON_ITS_WAY_UNITS, flag, state};

use crate::{
    channel::{Change, Counters},
    flows::{FlowKey, Flows, Insert, NewFlow, age},
    units::BackendId,
};

/// Tries against frames that change the flow meanwhile.
const TRIES: usize = 3;

/// What a peer tells of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerFlow {
    pub(super) change: Change,
    pub(super) backend: BackendId,
    /// Whether the backend itself tells.
    pub(super) by_backend: bool,
}

/// Inserts, renews or closes it, and counts what came of it.
pub(super) fn learn<K: FlowKey>(
    flows: &Flows<'_, K>,
    key: K,
    told: PeerFlow,
    now_seen: u16,
    counters: &mut Counters,
) {
    let outcome = match told.change {
        Change::Closed => close(flows, key, told, now_seen),
        _ => open(flows, key, told, now_seen),
    };
    *outcome.counter(counters) += 1;
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Inserted,
    Known,
    Replaced,
    Conflict,
    NoRoom,
    Closed,
    CloseUnknown,
}

impl Outcome {
    fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Self::Inserted => &mut counters.flows_inserted,
            Self::Known => &mut counters.flows_known,
            Self::Replaced => &mut counters.flows_replaced,
            Self::Conflict => &mut counters.flows_in_conflict,
            Self::NoRoom => &mut counters.flows_no_room,
            Self::Closed => &mut counters.flows_closed,
            Self::CloseUnknown => &mut counters.flows_close_unknown,
        }
    }
}

fn open<K: FlowKey>(flows: &Flows<'_, K>, key: K, told: PeerFlow, now_seen: u16) -> Outcome {
    let new = NewFlow {
        backend: told.backend.0,
        state: match told.change {
            Change::Opening => state::HALF_OPEN,
            // The client's word, that the peer has seen.
            Change::Opened => state::UNPROVEN,
            _ => state::ESTABLISHED,
        },
        flags: flag::COUNTED
            | flag::FROM_PEER
            | match told.change {
                // It began at the end of this unit at the latest: no SYN that comes again is early.
                Change::Opening => 0xf << 4,
                _ => 0,
            },
    };
    let told_seen = match told.change {
        Change::Alive { age } => now_seen.wrapping_sub(age),
        _ => now_seen,
    };
    for _ in 0..TRIES {
        let known = match flows.insert(key, new, told_seen) {
            Insert::Inserted => return Outcome::Inserted,
            Insert::NoRoom => return Outcome::NoRoom,
            Insert::Exists(known) => known,
        };
        // A frame is noted only so often: what is known may have been heard that much later.
        let is_newer = age(now_seen, known.seen) > age(now_seen, told_seen) + NOTED_UNITS;
        let (changed, outcome) = if is_late(known, told, now_seen) {
            return Outcome::Known;
        } else if is_same(known, new) {
            // The word of a session that goes on: only the time is news.
            let advances = new.state > known.state;
            let renewed = NewFlow {
                state: known.state.max(new.state),
                flags: if advances {
                    known.with_fine(0).flags | flag::COUNTED
                } else {
                    known.flags
                },
                ..new
            };
            if !is_newer && !advances {
                return Outcome::Known;
            }
            (renewed, Outcome::Known)
        } else if gives_way(known, told, is_newer) {
            (new, Outcome::Replaced)
        } else {
            return Outcome::Conflict;
        };
        let seen = if is_newer { told_seen } else { known.seen };
        if flows.replace(key, known, changed, seen) {
            return outcome;
        }
    }
    Outcome::Conflict
}

/// Whether a director tells late of a session's beginning: its box has just said that it has ended, and what a
/// box says comes another way. Of a new session on the same ends its box tells as well.
fn is_late(known: FlowWord, told: PeerFlow, now_seen: u16) -> bool {
    known.state == state::ENDED
        && known.backend == told.backend.0
        && matches!(told.change, Change::Opening | Change::Opened)
        && age(now_seen, known.seen) <= ON_ITS_WAY_UNITS
}

/// Whether what is known is the flow that is told of.
fn is_same(known: FlowWord, told: NewFlow) -> bool {
    let is_open = (state::HALF_OPEN..=state::ESTABLISHED).contains(&known.state);
    is_open && known.backend == told.backend
}

/// Whether a flow that differs gives way to what a peer tells: to anything that was heard later, so
/// that what a box has kept through its death does not outlive a session; and to an event, which has
/// just been, unless this box hears the session itself. What it hears but has only asked the ring for
/// gives way to the backend that has the session: it found it by the second chance.
fn gives_way(known: FlowWord, told: PeerFlow, is_newer: bool) -> bool {
    let is_event = !matches!(told.change, Change::Alive { .. });
    let only_told = known.flags & flag::FROM_PEER != 0;
    let is_guess = known.flags & flag::ADOPTED != 0;
    let opened = told.change == Change::Opened;
    match known.state {
        state::DOOMED => false,
        state::CLOSING | state::ENDED => is_event || is_newer,
        state::HALF_OPEN => opened || (is_event && only_told) || is_newer,
        _ => (is_event && only_told) || (opened && is_guess && told.by_backend) || is_newer,
    }
}

fn close<K: FlowKey>(flows: &Flows<'_, K>, key: K, told: PeerFlow, now_seen: u16) -> Outcome {
    let same = flows
        .lookup(key)
        .is_some_and(|known| known.backend == told.backend.0);
    if same && flows.close(key, now_seen) {
        Outcome::Closed
    } else {
        Outcome::CloseUnknown
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{
        dataplane::FlowTables,
        flows::{Flows4, Key4},
    };

    const KEY: Key4 = Key4 {
        source: std::net::Ipv4Addr::new(198, 51, 100, 7),
        port: 40_000,
        vip_id: 3,
    };
    /// When the flow was known, and when it is told of.
    const BEFORE: u16 = 100;
    const NOW: u16 = 110;

    fn peer_flow(change: Change) -> PeerFlow {
        PeerFlow {
            change,
            backend: BackendId(2),
            by_backend: false,
        }
    }

    /// Tells a table that has `before` of the flow; returns what it has then.
    fn tell(before: Option<NewFlow>, changes: &[Change]) -> (Option<FlowWord>, Counters) {
        let tables = FlowTables::anonymous(1024, 1024).unwrap();
        let mut counters = Counters::default();
        if let Some(before) = before {
            assert_eq!(tables.v4().insert(KEY, before, BEFORE), Insert::Inserted);
        }
        for change in changes {
            learn(&tables.v4(), KEY, peer_flow(*change), NOW, &mut counters);
        }
        (tables.v4().lookup(KEY), counters)
    }

    fn known(backend: u16, state: u8, flags: u8) -> NewFlow {
        NewFlow {
            backend,
            state,
            flags: flag::COUNTED | flags,
        }
    }

    const JUST_BEFORE: Change = Change::Alive {
        age: NOW - BEFORE + 1,
    };
    const SINCE: Change = Change::Alive { age: 3 };

    #[test]
    fn a_flow_comes_and_goes() {
        let (word, counters) = tell(None, &[Change::Opening]);
        let word = word.unwrap();
        assert_eq!((word.backend, word.state), (2, state::HALF_OPEN));
        assert_eq!(word.with_fine(0).flags, flag::COUNTED | flag::FROM_PEER);
        assert_eq!((word.seen, counters.flows_inserted), (NOW, 1));
        let (word, counters) = tell(None, &[Change::Opening, Change::Opened]);
        let word = word.unwrap();
        assert_eq!(word.state, state::UNPROVEN, "a client's word");
        assert_eq!(word.flags, flag::COUNTED | flag::FROM_PEER);
        assert_eq!((counters.flows_inserted, counters.flows_known), (1, 1));
        let proven = Change::Alive { age: 0 };
        let (word, _) = tell(None, &[Change::Opening, Change::Opened, proven]);
        assert_eq!(word.unwrap().state, state::ESTABLISHED);
        let (word, counters) = tell(None, &[proven, Change::Closed]);
        assert_eq!(word.unwrap().state, state::CLOSING);
        assert_eq!(counters.flows_closed, 1);
        let (word, _) = tell(None, &[Change::Opened, Change::Closed]);
        let word = word.unwrap();
        assert_eq!(word.state, state::UNPROVEN);
        assert_eq!(word.flags & flag::COUNTED, 0);
    }

    #[test]
    fn a_long_session_is_renewed_and_an_old_word_makes_it_no_older() {
        for flags in [0, flag::FROM_PEER] {
            let before = known(2, state::ESTABLISHED, flags);
            let (word, _) = tell(Some(before), &[SINCE]);
            let word = word.unwrap();
            assert_eq!(word.seen, NOW - 3);
            assert_eq!(word.flags, before.flags, "whose it is");
            let (word, _) = tell(Some(before), &[JUST_BEFORE]);
            assert_eq!(word.unwrap().seen, BEFORE);
        }
        let (word, _) = tell(None, &[SINCE]);
        assert_eq!(word.unwrap().seen, NOW - 3);
    }

    #[test]
    fn of_two_words_on_a_flow_the_later_counts() {
        use Change::{Opened, Opening};
        let (own, told) = (0, flag::FROM_PEER);
        // What is known (heard at BEFORE), what is told, and whether that counts.
        for (state, flags, change, counts) in [
            (state::ESTABLISHED, own, JUST_BEFORE, false),
            (state::ESTABLISHED, own, SINCE, true),
            (state::ESTABLISHED, own, Opened, true),
            (state::ESTABLISHED, told, JUST_BEFORE, false),
            (state::ESTABLISHED, told, Opening, true),
            (state::HALF_OPEN, own, JUST_BEFORE, false),
            (state::HALF_OPEN, own, Opened, true),
            (state::CLOSING, own, JUST_BEFORE, false),
            (state::CLOSING, own, SINCE, true),
            (state::CLOSING, told, Opening, true),
            (state::DOOMED, own, Opened, false),
        ] {
            let (word, counters) = tell(Some(known(1, state, flags)), &[change]);
            let expected = if counts { 2 } else { 1 };
            let word = word.unwrap();
            assert_eq!(word.backend, expected, "{state} {flags} {change:?}");
            let counted = counters.flows_replaced + counters.flows_in_conflict;
            assert_eq!(counted, 1);
        }
    }

    /// A box's word on a short session overtakes the director's on its beginning.
    #[test]
    fn a_beginning_that_is_told_late_makes_no_load_of_a_session_that_has_ended() {
        for change in [Change::Opening, Change::Opened] {
            for (since, backend, is_late) in
                [(0, 2, true), (2, 2, true), (3, 2, false), (0, 1, false)]
            {
                let tables = FlowTables::anonymous(1024, 1024).unwrap();
                let ended = NewFlow {
                    backend,
                    state: state::ENDED,
                    flags: 0,
                };
                let inserted = tables.v4().insert(KEY, ended, NOW - since);
                assert_eq!(inserted, Insert::Inserted);
                let mut counters = Counters::default();
                learn(&tables.v4(), KEY, peer_flow(change), NOW, &mut counters);
                let word = tables.v4().lookup(KEY).unwrap();
                let counts = word.flags & flag::COUNTED != 0;
                assert_eq!(counts, !is_late, "{change:?} {since} {backend}");
                assert_eq!(word.state == state::ENDED, is_late);
            }
        }
    }

    #[test]
    fn a_session_that_is_heard_here_right_now_stays() {
        let tables = FlowTables::anonymous(1024, 1024).unwrap();
        let mut counters = Counters::default();
        let own = known(1, state::ESTABLISHED, 0);
        assert_eq!(tables.v4().insert(KEY, own, NOW), Insert::Inserted);
        for change in [Change::Opening, Change::Opened, SINCE, Change::Closed] {
            learn(&tables.v4(), KEY, peer_flow(change), NOW, &mut counters);
            let word = tables.v4().lookup(KEY).unwrap();
            assert_eq!((word.backend, word.state), (1, state::ESTABLISHED));
        }
        assert_eq!(counters.flows_in_conflict, 3);
        assert_eq!(counters.flows_close_unknown, 1);
    }

    #[test]
    fn a_session_that_was_only_guessed_goes_to_the_backend_that_says_it_has_it() {
        for (flags, change, by_backend, backend) in [
            (flag::ADOPTED, Change::Opened, true, 2),
            (flag::ADOPTED, Change::Opened, false, 1),
            (flag::ADOPTED, Change::Opening, true, 1),
            (flag::ADOPTED, SINCE, true, 1),
            (0, Change::Opened, true, 1),
        ] {
            let tables = FlowTables::anonymous(1024, 1024).unwrap();
            let own = known(1, state::ESTABLISHED, flags);
            assert_eq!(tables.v4().insert(KEY, own, NOW), Insert::Inserted);
            let told = PeerFlow {
                by_backend,
                ..peer_flow(change)
            };
            learn(&tables.v4(), KEY, told, NOW, &mut Counters::default());
            let word = tables.v4().lookup(KEY).unwrap();
            assert_eq!(word.backend, backend, "{flags} {told:?}");
        }
    }

    #[test]
    fn a_table_larger_than_ours_is_counted_and_pushes_no_session_out() {
        let tables = FlowTables::anonymous(64, 64).unwrap();
        let mut counters = Counters::default();
        let key = |port| Key4 { port, ..KEY };
        for port in 1..=100 {
            let own = known(1, state::ESTABLISHED, 0);
            let _ = tables.v4().insert(key(port), own, BEFORE);
        }
        let own: Vec<_> = tables.v4().iter().map(|flow| flow.key).collect();
        for port in 1000..3000 {
            learn(
                &tables.v4(),
                key(port),
                peer_flow(SINCE),
                NOW,
                &mut counters,
            );
        }
        assert_eq!(counters.flows_inserted + counters.flows_no_room, 2000);
        assert!(counters.flows_no_room > 1700, "{counters:?}");
        for key in own {
            let word = tables.v4().lookup(key).unwrap();
            assert_eq!((word.backend, word.state), (1, state::ESTABLISHED));
        }
    }

    #[test]
    fn load_counts_each_flow_once_however_often_it_is_told() {
        let atomics = |count| -> Vec<AtomicU64> { (0..count).map(|_| AtomicU64::new(0)).collect() };
        let (words, loads) = (atomics(1024), atomics(16));
        let flows = Flows4::new(&words, &loads);
        let mut counters = Counters::default();
        let load = |backend: usize| loads[backend].load(Ordering::Relaxed);
        for (change, backend, expected) in [
            (Change::Opening, 2, (0, 1)),
            (Change::Opened, 2, (0, 1)),
            (Change::Opened, 2, (0, 1)),
            (Change::Opened, 1, (1, 0)),
            (Change::Closed, 2, (1, 0)),
            (Change::Closed, 1, (0, 0)),
            (SINCE, 2, (0, 0)),
            (Change::Opened, 2, (0, 1)),
        ] {
            let told = PeerFlow {
                change,
                backend: BackendId(backend),
                by_backend: false,
            };
            learn(&flows, KEY, told, NOW, &mut counters);
            assert_eq!((load(1), load(2)), expected, "after {told:?}");
        }
    }
}
