//! What a box says of its own sessions, put into the tables: see `flows::word` for what that outweighs.
//!
//! One box may have several ids here, of the ways to it. What it says counts for the way that the flow
//! goes. That a session has *begun* moves the flow to it; that it is *held* still does not move one that
//! is with another box: its client has used the port again since, and the box has not heard of that.
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use lbd_common::flow::{FlowWord, flag, state};

use crate::{
    channel::{Change, Counters, FlowRecord},
    dataplane::BoxSessions,
    flows::{Confirm, End, FlowKey, Flows, OpenSession},
    units::BackendId,
};

/// What a box says of a session of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// [`Change::Confirmed`], [`Change::Held`] or [`Change::Ended`].
    pub(super) change: Change,
    /// The endpoint that it names, if this node has an id for it and a flow can be made of it: a session
    /// that needs a translation lives by the flow of the one director that has it.
    pub(super) backend: Option<BackendId>,
    /// Whether a peer says so, not this box's own kernel.
    pub(super) from_peer: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// The flow is known to be open now.
    Confirmed,
    /// It is over.
    Ended,
    /// It is none of the flows here.
    Unknown,
    /// Another box's flow, which stays.
    Elsewhere,
    /// The table is full.
    NoRoom,
}

impl Outcome {
    pub(super) fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Self::Confirmed => &mut counters.sessions_confirmed,
            Self::Ended => &mut counters.sessions_ended,
            Self::Unknown => &mut counters.sessions_unknown,
            Self::Elsewhere => &mut counters.sessions_elsewhere,
            Self::NoRoom => &mut counters.flows_no_room,
        }
    }
}

/// Takes a box's word; `is_its` says which backend ids are that box. What began and ended by it is counted
/// in `told`.
pub(super) fn take<K: FlowKey>(
    flows: &Flows<'_, K>,
    key: K,
    word: Word,
    is_its: impl Fn(BackendId) -> bool,
    now_seen: u16,
    told: &BoxSessions,
) -> Outcome {
    let known = flows.lookup(key);
    let its = known.filter(|known| is_its(BackendId(known.backend)));
    if word.change == Change::Ended {
        let ended = its.map(|known| flows.end(key, known.backend, now_seen));
        return match (ended, its) {
            (Some(End::Ended), Some(known)) => {
                told.ended(BackendId(known.backend));
                Outcome::Ended
            }
            _ => Outcome::Unknown,
        };
    }
    let is_kept = |known: FlowWord| {
        let is_guess = known.flags & flag::ADOPTED != 0;
        known.state != state::ENDED && !is_guess && word.change == Change::Held
    };
    let backend = match (its, known) {
        (Some(its), _) => its.backend,
        (None, Some(known)) if is_kept(known) => return Outcome::Elsewhere,
        (None, _) => match word.backend {
            Some(named) => named.0,
            None => return Outcome::Unknown,
        },
    };
    let open = OpenSession {
        backend,
        seen: now_seen,
        from_peer: word.from_peer,
    };
    match flows.confirm(key, open) {
        Confirm::NoRoom => Outcome::NoRoom,
        Confirm::Conflict(_) => Outcome::Elsewhere,
        Confirm::Known => Outcome::Confirmed,
        Confirm::Confirmed | Confirm::Created | Confirm::Moved(_) => {
            told.begun(BackendId(backend));
            Outcome::Confirmed
        }
    }
}

/// What each box that is telling its table has said to be open so far.
#[derive(Debug, Default)]
pub(super) struct Listings {
    of: HashMap<IpAddr, HashSet<(SocketAddr, SocketAddr)>>,
}

impl Listings {
    /// A table of that box begins to come.
    pub(super) fn begin(&mut self, peer: IpAddr) {
        self.of.insert(peer, HashSet::new());
    }

    /// A word of that box.
    pub(super) fn note(&mut self, peer: IpAddr, record: &FlowRecord) {
        let Some(listed) = self.of.get_mut(&peer) else {
            return;
        };
        let session = (record.source, record.vip);
        match record.change {
            Change::Confirmed | Change::Held => {
                listed.insert(session);
            }
            Change::Ended => {
                listed.remove(&session);
            }
            _ => {}
        }
    }

    /// The table has come: all that is open there, as pairs of client and service. `None` when its
    /// beginning was not noted.
    pub(super) fn complete(&mut self, peer: IpAddr) -> Option<HashSet<(SocketAddr, SocketAddr)>> {
        self.of.remove(&peer)
    }
}

/// Ends the flows of a box that it does not have: those that are said to be proven, and are not in its
/// list. Returns how many.
pub(super) fn end_unlisted<K: FlowKey>(
    flows: &Flows<'_, K>,
    is_its: impl Fn(BackendId) -> bool,
    is_listed: impl Fn(&K) -> bool,
    now_seen: u16,
    told: &BoxSessions,
) -> u64 {
    let stale = flows.iter().filter(|flow| {
        let is_proven = matches!(flow.word.state, state::ESTABLISHED | state::CLOSING);
        is_proven && is_its(BackendId(flow.word.backend)) && !is_listed(&flow.key)
    });
    let ended = stale.filter(|flow| {
        let ended = flows.end(flow.key, flow.word.backend, now_seen) == End::Ended;
        if ended {
            told.ended(BackendId(flow.word.backend));
        }
        ended
    });
    ended.count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::flows::{Flows4, Insert, Key4, NewFlow};

    const KEY: Key4 = Key4 {
        source: std::net::Ipv4Addr::new(198, 51, 100, 7),
        port: 40_000,
        vip_id: 3,
    };
    /// When the flow was known, and when a box speaks of it.
    const BEFORE: u16 = 100;
    const NOW: u16 = 110;
    /// The box that speaks has two ids, of two ways to it.
    const ITS: [u16; 2] = [2, 5];

    struct Table {
        words: Vec<AtomicU64>,
        loads: Vec<AtomicU64>,
        told: BoxSessions,
    }

    impl Table {
        fn new(known: Option<NewFlow>) -> Self {
            let atomics = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
            let table = Self {
                words: atomics(1024),
                loads: atomics(16),
                told: BoxSessions::default(),
            };
            if let Some(known) = known {
                let inserted = table.flows().insert(KEY, known, BEFORE);
                assert_eq!(inserted, Insert::Inserted);
            }
            table
        }

        fn flows(&self) -> Flows4<'_> {
            Flows4::new(&self.words, &self.loads)
        }

        fn load(&self, backend: usize) -> u64 {
            self.loads[backend].load(Ordering::Relaxed)
        }

        /// What the box that speaks for id 2 says.
        fn tell(&self, change: Change) -> Outcome {
            let word = Word {
                change,
                backend: Some(BackendId(2)),
                from_peer: true,
            };
            let is_its = |id: BackendId| ITS.contains(&id.0);
            take(&self.flows(), KEY, word, is_its, NOW, &self.told)
        }
    }

    fn known(backend: u16, state: u8, flags: u8) -> NewFlow {
        NewFlow {
            backend,
            state,
            flags: flags | flag::COUNTED,
        }
    }

    /// Of a client's port: backend, state and flags.
    type Known = Option<(u16, u8, u8)>;
    /// Backend and state.
    type Left = Option<(u16, u8)>;

    fn check(rows: &[(Known, Change, Outcome, Left)]) {
        for (before, change, outcome, after) in rows {
            let table = Table::new(before.map(|(id, state, flags)| known(id, state, flags)));
            assert_eq!(table.tell(*change), *outcome, "{before:?} {change:?}");
            let word = table.flows().lookup(KEY);
            let found = word.map(|word| (word.backend, word.state));
            assert_eq!(found, *after, "{before:?} {change:?}");
        }
    }

    #[test]
    fn a_boxs_word_on_its_own_flow_counts_by_whichever_way_it_goes() {
        use Change::{Confirmed, Ended, Held};
        use state::{CLOSING, ENDED, ESTABLISHED, HALF_OPEN, UNPROVEN};
        let open = |id| Some((id, ESTABLISHED));
        check(&[
            (None, Confirmed, Outcome::Confirmed, open(2)),
            (None, Held, Outcome::Confirmed, open(2)),
            (None, Ended, Outcome::Unknown, None),
            (
                Some((2, HALF_OPEN, 0)),
                Confirmed,
                Outcome::Confirmed,
                open(2),
            ),
            (Some((2, UNPROVEN, 0)), Held, Outcome::Confirmed, open(2)),
            // The client has begun anew: what has ended is the session before.
            (
                Some((2, HALF_OPEN, 0)),
                Ended,
                Outcome::Unknown,
                Some((2, HALF_OPEN)),
            ),
            (
                Some((5, ESTABLISHED, 0)),
                Confirmed,
                Outcome::Confirmed,
                open(5),
            ),
            (
                Some((5, ESTABLISHED, 0)),
                Ended,
                Outcome::Ended,
                Some((5, ENDED)),
            ),
            (
                Some((2, ESTABLISHED, 0)),
                Ended,
                Outcome::Ended,
                Some((2, ENDED)),
            ),
            // Marked by a client, which is no end.
            (Some((2, CLOSING, 0)), Held, Outcome::Confirmed, open(2)),
            (
                Some((2, CLOSING, 0)),
                Ended,
                Outcome::Ended,
                Some((2, ENDED)),
            ),
        ]);
    }

    #[test]
    fn a_session_that_begins_moves_a_flow_and_one_that_is_held_does_not() {
        use Change::{Confirmed, Ended, Held};
        use state::{DOOMED, ENDED, ESTABLISHED, HALF_OPEN};
        let open = |id| Some((id, ESTABLISHED));
        check(&[
            (
                Some((1, HALF_OPEN, 0)),
                Confirmed,
                Outcome::Confirmed,
                open(2),
            ),
            (
                Some((1, HALF_OPEN, 0)),
                Held,
                Outcome::Elsewhere,
                Some((1, HALF_OPEN)),
            ),
            (
                Some((1, ESTABLISHED, 0)),
                Confirmed,
                Outcome::Confirmed,
                open(2),
            ),
            (Some((1, ESTABLISHED, 0)), Held, Outcome::Elsewhere, open(1)),
            (Some((1, ESTABLISHED, 0)), Ended, Outcome::Unknown, open(1)),
            (
                Some((1, ESTABLISHED, flag::ADOPTED)),
                Held,
                Outcome::Confirmed,
                open(2),
            ),
            (Some((1, ENDED, 0)), Held, Outcome::Confirmed, open(2)),
            (
                Some((1, DOOMED, 0)),
                Held,
                Outcome::Elsewhere,
                Some((1, DOOMED)),
            ),
        ]);
    }

    #[test]
    fn load_counts_each_session_once_however_often_it_is_told() {
        use Change::{Confirmed, Ended, Held};
        let table = Table::new(Some(known(1, state::ESTABLISHED, 0)));
        for (change, expected) in [
            (Held, (1, 0)),
            (Confirmed, (0, 1)),
            (Confirmed, (0, 1)),
            (Held, (0, 1)),
            (Ended, (0, 0)),
            (Ended, (0, 0)),
            (Held, (0, 1)),
            (Ended, (0, 0)),
        ] {
            table.tell(change);
            assert_eq!((table.load(1), table.load(2)), expected, "{change:?}");
            let told = table.told.of(BackendId(2));
            assert_eq!(told.begun - told.ended, table.load(2), "{change:?}");
        }
    }

    #[test]
    fn a_session_that_needs_translation_begins_at_no_other_node() {
        let table = Table::new(None);
        let word = Word {
            change: Change::Confirmed,
            backend: None,
            from_peer: true,
        };
        let is_its = |id: BackendId| ITS.contains(&id.0);
        let outcome = take(&table.flows(), KEY, word, is_its, NOW, &table.told);
        assert_eq!(
            (outcome, table.flows().lookup(KEY)),
            (Outcome::Unknown, None)
        );
    }

    #[test]
    fn what_a_box_does_not_list_has_ended_and_nothing_else() {
        let table = Table::new(None);
        let key = |port| Key4 { port, ..KEY };
        for (port, backend, state) in [
            (1, 2, state::ESTABLISHED),
            (2, 2, state::ESTABLISHED),
            (3, 5, state::ESTABLISHED),
            (4, 1, state::ESTABLISHED),
            (5, 2, state::HALF_OPEN),
        ] {
            table
                .flows()
                .insert(key(port), known(backend, state, 0), BEFORE);
        }
        let ended = end_unlisted(
            &table.flows(),
            |id| ITS.contains(&id.0),
            |key: &Key4| key.port == 1,
            NOW,
            &table.told,
        );
        assert_eq!(ended, 2);
        let told = ITS.map(|id| table.told.of(BackendId(id)).ended);
        assert_eq!(told.iter().sum::<u64>(), ended);
        let states = [1, 2, 3, 4, 5].map(|port| table.flows().lookup(key(port)).unwrap().state);
        let (open, over, half) = (state::ESTABLISHED, state::ENDED, state::HALF_OPEN);
        assert_eq!(states, [open, over, over, open, half]);
        assert_eq!((table.load(1), table.load(2), table.load(5)), (1, 2, 0));
    }

    #[test]
    fn a_list_has_what_was_said_since_its_beginning() {
        let peer: IpAddr = [192, 0, 2, 12].into();
        let record = |port, change| FlowRecord {
            change,
            source: SocketAddr::new([198, 51, 100, 7].into(), port),
            vip: "192.0.2.25:25".parse().unwrap(),
            backend: crate::units::Endpoint::of_virtual(peer),
        };
        let mut listings = Listings::default();
        listings.note(peer, &record(1, Change::Held));
        assert_eq!(listings.complete(peer), None, "it has not begun");
        listings.begin(peer);
        for (port, change) in [
            (2, Change::Held),
            (3, Change::Held),
            (4, Change::Confirmed),
            (3, Change::Ended),
            (5, Change::Opened),
        ] {
            listings.note(peer, &record(port, change));
        }
        let listed = listings.complete(peer).unwrap();
        let mut ports: Vec<u16> = listed.iter().map(|(source, _)| source.port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, [2, 4]);
        assert_eq!(listings.complete(peer), None, "once");
    }
}
