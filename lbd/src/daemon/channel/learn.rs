//! What a peer tells of a flow, put into a table.
use lbd_common::flow::{FlowWord, flag, state};

use crate::{
    channel::{Change, Counters},
    flows::{FlowKey, Flows, Insert, NewFlow},
    units::BackendId,
};

/// Tries against frames that change the flow meanwhile.
const TRIES: usize = 3;

/// What a peer tells of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<K> {
    pub(super) key: K,
    pub(super) change: Change,
    pub(super) backend: BackendId,
    /// Part of a full table, which may be older than what the stream has told since.
    pub(super) of_table: bool,
}

/// Inserts or closes it, and counts what came of it.
pub(super) fn learn<K: FlowKey>(
    flows: &Flows<'_, K>,
    told: &Told<K>,
    now_seen: u16,
    counters: &mut Counters,
) {
    *match told.change {
        Change::Opened => open(flows, told, now_seen, counters),
        Change::Closed => close(flows, told, now_seen, counters),
    } += 1;
}

fn open<'c, K: FlowKey>(
    flows: &Flows<'_, K>,
    told: &Told<K>,
    now_seen: u16,
    counters: &'c mut Counters,
) -> &'c mut u64 {
    let new = NewFlow {
        backend: told.backend.0,
        state: state::ESTABLISHED,
        flags: flag::COUNTED | flag::FROM_PEER,
    };
    for _ in 0..TRIES {
        let known = match flows.insert(told.key, new, now_seen) {
            Insert::Inserted => return &mut counters.flows_inserted,
            Insert::NoRoom => return &mut counters.flows_no_room,
            Insert::Exists(known) => known,
        };
        if known.backend == new.backend && known.state == state::ESTABLISHED {
            return &mut counters.flows_known;
        }
        if is_ours(known) {
            return &mut counters.flows_in_conflict;
        }
        if told.of_table {
            return &mut counters.flows_known;
        }
        if flows.replace(told.key, known, new, now_seen) {
            return &mut counters.flows_replaced;
        }
    }
    &mut counters.flows_in_conflict
}

/// A live flow that this node has from its own frames, or has doomed.
fn is_ours(known: FlowWord) -> bool {
    match known.state {
        state::ESTABLISHED => known.flags & flag::FROM_PEER == 0,
        state::DOOMED => true,
        _ => false,
    }
}

fn close<'c, K: FlowKey>(
    flows: &Flows<'_, K>,
    told: &Told<K>,
    now_seen: u16,
    counters: &'c mut Counters,
) -> &'c mut u64 {
    let same = flows
        .lookup(told.key)
        .is_some_and(|known| known.backend == told.backend.0);
    if same && flows.close(told.key, now_seen) {
        &mut counters.flows_closed
    } else {
        &mut counters.flows_close_unknown
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

    const OPENED: Told<Key4> = Told {
        key: KEY,
        change: Change::Opened,
        backend: BackendId(2),
        of_table: false,
    };

    const CLOSED: Told<Key4> = Told {
        change: Change::Closed,
        ..OPENED
    };

    /// Tells a table that has `before` of the flow; returns what it has then.
    fn tell(before: Option<NewFlow>, told: &[Told<Key4>]) -> (Option<FlowWord>, Counters) {
        let tables = FlowTables::anonymous(1024, 1024).unwrap();
        let mut counters = Counters::default();
        if let Some(before) = before {
            assert_eq!(tables.v4().insert(KEY, before, 1), Insert::Inserted);
        }
        for told in told {
            learn(&tables.v4(), told, 2, &mut counters);
        }
        (tables.v4().lookup(KEY), counters)
    }

    fn own(backend: u16, state: u8) -> NewFlow {
        NewFlow {
            backend,
            state,
            flags: flag::COUNTED,
        }
    }

    #[test]
    fn a_flow_comes_and_goes() {
        let (word, counters) = tell(None, &[OPENED]);
        let word = word.unwrap();
        assert_eq!((word.backend, word.state), (2, state::ESTABLISHED));
        assert_eq!(word.flags, flag::COUNTED | flag::FROM_PEER);
        assert_eq!(counters.flows_inserted, 1);
        let (word, counters) = tell(None, &[OPENED, CLOSED]);
        assert_eq!(word.unwrap().state, state::CLOSING);
        assert_eq!(counters.flows_closed, 1);
    }

    #[test]
    fn a_live_flow_of_our_own_stays() {
        for known in [state::ESTABLISHED, state::DOOMED] {
            let (word, counters) = tell(Some(own(1, known)), &[OPENED]);
            assert_eq!(word.unwrap().backend, 1);
            assert_eq!(counters.flows_in_conflict, 1);
            let (word, counters) = tell(Some(own(1, known)), &[CLOSED]);
            assert_eq!(word.unwrap().state, known);
            assert_eq!(counters.flows_close_unknown, 1);
        }
    }

    #[test]
    fn what_is_over_or_not_open_yet_gives_way_to_the_stream_but_not_to_a_table() {
        for known in [state::HALF_OPEN, state::CLOSING] {
            let (word, counters) = tell(Some(own(1, known)), &[OPENED]);
            assert_eq!(word.unwrap().backend, 2);
            assert_eq!(counters.flows_replaced, 1);
            let table = Told {
                of_table: true,
                ..OPENED
            };
            let (word, counters) = tell(Some(own(1, known)), &[table]);
            assert_eq!(word.unwrap().backend, 1);
            assert_eq!(counters.flows_known, 1);
        }
    }

    #[test]
    fn load_counts_each_flow_once_whatever_is_told() {
        let atomics = |count| -> Vec<AtomicU64> { (0..count).map(|_| AtomicU64::new(0)).collect() };
        let (words, loads) = (atomics(1024), atomics(16));
        let flows = Flows4::new(&words, &loads);
        let mut counters = Counters::default();
        let other = Told {
            backend: BackendId(1),
            ..OPENED
        };
        let load = |backend: usize| loads[backend].load(Ordering::Relaxed);
        for (told, expected) in [
            (OPENED, (0, 1)),
            (OPENED, (0, 1)),
            (other, (1, 0)),
            (CLOSED, (1, 0)),
            (
                Told {
                    change: Change::Closed,
                    ..other
                },
                (0, 0),
            ),
            (OPENED, (0, 1)),
        ] {
            learn(&flows, &told, 2, &mut counters);
            assert_eq!((load(1), load(2)), expected, "after {told:?}");
        }
    }
}
