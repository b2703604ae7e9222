//! What peers and this box's own kernel tell of flows, into the tables.
use std::net::{IpAddr, SocketAddr};

use super::Worker;
use crate::{
    channel::FlowRecord,
    daemon::{
        clock,
        cluster::channel::{
            Event,
            id_map::IdMap,
            learn::{PeerFlow, learn},
            word::{self, Word},
        },
    },
    dataplane::{FlowTables, seen},
    flows::{Key4, Key6},
};

/// Endpoints that the event loop is told of between two maps of ids.
const OTHER_WAYS: usize = 1024;

impl Worker {
    pub(super) fn learn(&mut self, peer: IpAddr, records: &[FlowRecord]) {
        let now_seen = seen(clock::monotonic_ns());
        let (v4, v6) = (self.tables.v4(), self.tables.v6());
        let mut other_ways = Vec::new();
        let from_peer = self.own_address != Some(peer);
        let mut elsewhere = Vec::new();
        for record in records {
            if record.change.is_by_backend() {
                self.listings.note(peer, record);
                let outcome = take_word(
                    &self.id_map,
                    &self.tables,
                    peer,
                    from_peer,
                    record,
                    now_seen,
                );
                match outcome {
                    Some(outcome) => *outcome.counter(&mut self.learned) += 1,
                    None => self.learned.sessions_not_its_own += 1,
                }
                continue;
            }
            // It was steered here, and its socket may be on another port.
            if self.own_address == Some(record.backend.address)
                && self.own.has_elsewhere(record.source)
            {
                elsewhere.push(record.source);
            }
            let Some((vip_id, backend)) = self.id_map.ids_of(record) else {
                self.learned.flows_unknown_target += 1;
                let other_way = self.id_map.other_way(record);
                let has_room = self.other_ways.len() < OTHER_WAYS;
                other_ways.extend(other_way.filter(|it| has_room && self.other_ways.insert(*it)));
                continue;
            };
            let told = PeerFlow {
                change: record.change,
                backend,
                by_backend: record.backend.address == peer,
            };
            let counters = &mut self.learned;
            match record.source {
                SocketAddr::V4(source) => {
                    let key = Key4::of(source, vip_id);
                    learn(&v4, key, told, now_seen, counters);
                }
                SocketAddr::V6(source) => {
                    let key = Key6::of(source, vip_id);
                    learn(&v6, key, told, now_seen, counters);
                }
            }
        }
        self.claim_elsewhere(&elsewhere, clock::boottime_ns());
        if other_ways.is_empty() {
            return;
        }
        let is_told = (self.tell)(Event::OtherWays(other_ways));
        if !is_told {
            // There is no room now: the next such session tells it again.
            self.other_ways.clear();
        }
        if let Some(on) = &mut self.on {
            on.awaits_ids |= is_told;
        }
    }
}

/// A box's word on its own session; `None` when it is another's.
fn take_word(
    id_map: &IdMap,
    tables: &FlowTables,
    peer: IpAddr,
    from_peer: bool,
    record: &FlowRecord,
    now_seen: u16,
) -> Option<word::Outcome> {
    if record.backend.address != peer {
        return None;
    }
    let Some(vip_id) = id_map.vip_id(record.vip) else {
        return Some(word::Outcome::Unknown);
    };
    let backend = id_map.backend_id(record.backend);
    let said = Word {
        change: record.change,
        backend: backend.filter(|_| !record.backend.is_translated()),
        from_peer,
    };
    let is_its = |backend| id_map.is_box(backend, peer);
    Some(match record.source {
        SocketAddr::V4(source) => {
            let key = Key4::of(source, vip_id);
            word::take(
                &tables.v4(),
                key,
                said,
                is_its,
                now_seen,
                tables.box_sessions(),
            )
        }
        SocketAddr::V6(source) => {
            let key = Key6::of(source, vip_id);
            word::take(
                &tables.v6(),
                key,
                said,
                is_its,
                now_seen,
                tables.box_sessions(),
            )
        }
    })
}
