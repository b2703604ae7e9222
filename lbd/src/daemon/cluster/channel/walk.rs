//! Reads the flow tables for peers: a datagram's worth of a full table at a time, and what flows that a
//! peer has missed are by now.
use std::net::SocketAddr;

use super::{id_map::IdMap, own::Own};
use crate::{
    channel::{Change, Content, FlowRecord, Place, SenderId, Table},
    dataplane::FlowTables,
    flows::{Flow, FlowKey, Flows, Key4, Key6},
};

/// Flows after which a datagram has no room for those of one more bucket: of IPv4, and of IPv6.
const ENOUGH4: usize = 65;
const ENOUGH6: usize = 20;
/// Buckets looked at in one step: an empty table must not hold the thread up.
const BUCKETS: usize = 8192;

/// On its way through both tables for a peer, and then through the sessions of this box's own kernel: a
/// flow whose end its peer does not know comes before the word that it has ended.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) peer: SenderId,
    of: Table,
    at: usize,
    has_begun: bool,
}

/// What a step found.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) place: Place,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    pub(super) records: Vec<FlowRecord>,
}

impl Walk {
    pub(super) fn new(peer: SenderId) -> Self {
        Self {
            peer,
            of: Table::Flows4,
            at: 0,
            has_begun: false,
        }
    }

    /// Goes on. `None`: there was nothing here, there may be more behind.
    pub(super) fn step(
        &mut self,
        tables: &FlowTables,
        own: &Own,
        id_map: &IdMap,
        now_seen: u16,
    ) -> Option<Step> {
        let (of, from) = (self.of, self.at);
        let (to, records, is_end) = match of {
            Table::Flows4 => some(&tables.v4(), from, ENOUGH4, |flow| {
                id_map.of_flow(flow, now_seen)
            }),
            Table::Flows6 => some(&tables.v6(), from, ENOUGH6, |flow| {
                id_map.of_flow(flow, now_seen)
            }),
            Table::Sessions => {
                let (to, is_end) = own.step(from);
                (to, own.in_places(from, to), is_end)
            }
        };
        let is_last = is_end && of == Table::Sessions;
        if is_end {
            let next = match of {
                Table::Flows4 => Table::Flows6,
                Table::Flows6 | Table::Sessions => Table::Sessions,
            };
            (self.of, self.at) = (next, 0);
        } else {
            self.at = to;
        }
        if records.is_empty() && !is_last {
            return None;
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        Some(Step {
            place: Place { of, from, to },
            is_first,
            is_last,
            records,
        })
    }
}

/// The flows from a bucket on that a datagram takes, the bucket behind them, and whether that is the
/// table's end.
fn some<K: FlowKey>(
    flows: &Flows<'_, K>,
    from: usize,
    enough: usize,
    tell: impl Fn(&Flow<K>) -> Option<FlowRecord>,
) -> (usize, Vec<FlowRecord>, bool) {
    let end = flows.bucket_count();
    let stop = end.min(from + BUCKETS);
    let (mut bucket, mut records) = (from, Vec::with_capacity(enough + 4));
    while bucket < stop && records.len() <= enough {
        records.extend(
            flows
                .in_buckets(bucket, bucket + 1)
                .filter_map(|flow| tell(&flow)),
        );
        bucket += 1;
    }
    (bucket, records, bucket >= end)
}

/// What the flows of a datagram that was lost are by now: those that are gone have ended.
pub(super) fn again(
    kept: &Content,
    tables: &FlowTables,
    own: &Own,
    id_map: &IdMap,
    now_seen: u16,
) -> Vec<FlowRecord> {
    match kept {
        Content::Word => Vec::new(),
        Content::Stream(records) => records
            .iter()
            .map(|record| {
                if record.change.is_by_backend() {
                    own.present(record)
                } else {
                    present(record, tables, id_map, now_seen)
                }
            })
            .collect(),
        Content::Table(_, place) => match place.of {
            Table::Flows4 => tables
                .v4()
                .in_buckets(place.from, place.to)
                .filter_map(|flow| id_map.of_flow(&flow, now_seen))
                .collect(),
            Table::Flows6 => tables
                .v6()
                .in_buckets(place.from, place.to)
                .filter_map(|flow| id_map.of_flow(&flow, now_seen))
                .collect(),
            Table::Sessions => own.in_places(place.from, place.to),
        },
    }
}

fn present(record: &FlowRecord, tables: &FlowTables, id_map: &IdMap, now_seen: u16) -> FlowRecord {
    let ended = FlowRecord {
        change: Change::Closed,
        ..*record
    };
    let Some((vip_id, _)) = id_map.ids_of(record) else {
        return ended;
    };
    let found = match record.source {
        SocketAddr::V4(source) => {
            let key = Key4::of(source, vip_id);
            let word = tables.v4().lookup(key);
            word.and_then(|word| id_map.of_flow(&Flow { key, word }, now_seen))
        }
        SocketAddr::V6(source) => {
            let key = Key6::of(source, vip_id);
            let word = tables.v6().lookup(key);
            word.and_then(|word| id_map.of_flow(&Flow { key, word }, now_seen))
        }
    };
    match (found, record.change) {
        // That it was opened is more than that it is: see what becomes of a guess, in `learn`.
        (
            Some(
                now @ FlowRecord {
                    change: Change::Alive { .. },
                    ..
                },
            ),
            Change::Opened,
        ) => FlowRecord {
            change: Change::Opened,
            ..now
        },
        (Some(now), _) => now,
        (None, _) => ended,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::SocketAddr};

    use lbd_common::flow::{flag, state};

    use super::{
        Change::{Alive, Closed, Opened, Opening},
        *,
    };
    use crate::{
        dataplane::{BackendIds, Service},
        flows::{Insert, NewFlow},
        units::Endpoint,
    };

    const VIP: &str = "192.0.2.25:25";

    fn id_map() -> IdMap {
        let mut ids = BackendIds::default();
        let backend = Endpoint::of_virtual([192, 0, 2, 11].into());
        ids.allocate(backend, |_| false).unwrap();
        let service = |id, address: &str| Service {
            id,
            address: address.parse().unwrap(),
        };
        IdMap::new(&[service(3, VIP), service(4, "[2001:db8::25]:25")], &ids)
    }

    fn open(state: u8) -> NewFlow {
        NewFlow {
            backend: 0,
            state,
            flags: flag::COUNTED,
        }
    }

    fn key4(port: u16) -> Key4 {
        Key4 {
            source: [198, 51, 100, 7].into(),
            port,
            vip_id: 3,
        }
    }

    #[test]
    fn a_walk_tells_every_flow_once_with_one_beginning_and_one_end() {
        let tables = FlowTables::anonymous(16_384, 16_384).unwrap();
        let mut expected: BTreeSet<SocketAddr> = BTreeSet::new();
        for port in 1..2000 {
            let key6 = Key6 {
                source: "2001:db8::7".parse().unwrap(),
                port,
                vip_id: 4,
            };
            let inserted = tables.v4().insert(key4(port), open(state::ESTABLISHED), 9);
            assert_eq!(inserted, Insert::Inserted);
            let inserted = tables.v6().insert(key6, open(state::ESTABLISHED), 9);
            assert_eq!(inserted, Insert::Inserted);
            expected.insert(SocketAddr::new([198, 51, 100, 7].into(), port));
            expected.insert(SocketAddr::new(key6.source.into(), port));
        }
        {
            let mut walk = Walk::new(SenderId(1));
            let (mut told, mut firsts) = (Vec::new(), 0);
            loop {
                let Some(step) = walk.step(&tables, &Own::default(), &id_map(), 9) else {
                    continue;
                };
                firsts += u32::from(step.is_first);
                let again = again(
                    &Content::Table(crate::channel::Part::Stream, step.place),
                    &tables,
                    &Own::default(),
                    &id_map(),
                    9,
                );
                assert_eq!(again, step.records, "the same place has the same flows");
                told.extend(step.records.iter().map(|record| record.source));
                if step.is_last {
                    break;
                }
            }
            assert_eq!((firsts, told.len()), (1, expected.len()));
            assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }

    #[test]
    fn what_is_told_again_is_what_is_so_now() {
        let tables = FlowTables::anonymous(1024, 1024).unwrap();
        let (opened, closed) = (state::ESTABLISHED, state::CLOSING);
        for (port, state) in [(1, opened), (2, closed), (3, state::HALF_OPEN), (5, opened)] {
            tables.v4().insert(key4(port), open(state), 9);
        }
        let record = |port, change| FlowRecord {
            change,
            source: SocketAddr::new([198, 51, 100, 7].into(), port),
            vip: VIP.parse().unwrap(),
            backend: Endpoint::of_virtual([192, 0, 2, 11].into()),
        };
        let lost = [
            record(1, Closed),
            record(2, Opened),
            record(3, Opening),
            record(4, Opened),
            record(5, Opened),
        ];
        let told = again(
            &Content::Stream(lost.to_vec()),
            &tables,
            &Own::default(),
            &id_map(),
            11,
        );
        let expected = [
            record(1, Alive { age: 2 }),
            record(2, Closed),
            record(3, Opening),
            record(4, Closed),
            record(5, Opened),
        ];
        assert_eq!(told, expected);
    }
}
