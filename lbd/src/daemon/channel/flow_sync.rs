//! The conductor's side: from the program's events to records, and from records to the tables.
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use lbd_common::flow::state;

use super::{
    super::{
        clock,
        conductor::Conductor,
        status::{ChannelStatus, PeerStatus},
    },
    Event,
    learn::{Told, learn},
    task::Order,
};
use crate::{
    channel::{Change, Counters, FlowRecord, Part},
    daemon::advert::Command,
    dataplane::{EventKind, Events, seen},
    flows::{Flow, FlowKey, Key4, Key6},
    units::BackendId,
};

/// Events read in one tick; the rest waits for the next one.
const EVENTS: usize = 65_536;

/// The program's events, and what became of the flows of peers.
#[derive(Debug)]
pub(in crate::daemon) struct FlowSync {
    events: Option<Events>,
    counters: Counters,
}

impl FlowSync {
    pub(in crate::daemon) fn new(events: Option<Events>) -> Self {
        Self {
            events,
            counters: Counters::default(),
        }
    }
}

/// This node's ids as addresses, which is what nodes have in common.
struct Names {
    vips: HashMap<u16, SocketAddr>,
    backends: HashMap<BackendId, IpAddr>,
}

impl Names {
    fn record(
        &self,
        change: Change,
        source: SocketAddr,
        vip_id: u16,
        backend: BackendId,
    ) -> Option<FlowRecord> {
        Some(FlowRecord {
            change,
            source,
            vip: *self.vips.get(&vip_id)?,
            backend: *self.backends.get(&backend)?,
        })
    }

    fn opened<K: FlowKey>(&self, flow: &Flow<K>) -> Option<FlowRecord> {
        if flow.word.state != state::ESTABLISHED {
            return None;
        }
        let (key, backend) = (flow.key, BackendId(flow.word.backend));
        self.record(Change::Opened, key.source(), key.vip_id(), backend)
    }
}

impl Conductor {
    /// Reads what the program told since the last tick, and tells the peers. Without a channel it is
    /// read all the same, so that the program finds room.
    pub(in crate::daemon) fn tell_peers(&mut self) {
        let Some(events) = &mut self.flow_sync.events else {
            return;
        };
        let events: Vec<_> = events.take(EVENTS).collect();
        if events.is_empty() || !self.outlets.channel.is_on() {
            return;
        }
        let names = self.names();
        let records = events.iter().filter_map(|event| {
            let change = match event.kind {
                EventKind::Opened => Change::Opened,
                EventKind::Closed => Change::Closed,
            };
            names.record(change, event.source, event.vip_id, event.backend)
        });
        self.outlets.channel.order(Order::Flows(records.collect()));
    }

    /// Does what came over the channel.
    pub(in crate::daemon) fn channel(&mut self, event: Event) {
        match event {
            Event::Learn { part, records } => self.learn(part, &records),
            Event::TableWanted { peer } => {
                // What was told before the walk is in the table, what comes after it follows it.
                self.tell_peers();
                let records = self.live_flows();
                self.outlets.channel.order(Order::Table { peer, records });
            }
            Event::Joined => self.election.tell(Command::SyncDone),
        }
    }

    fn names(&self) -> Names {
        let services = self.plane.services().into_iter();
        let members = self.members.iter();
        Names {
            vips: services
                .map(|service| (service.id, service.address))
                .collect(),
            backends: members.map(|member| (member.id, member.address)).collect(),
        }
    }

    fn live_flows(&self) -> Vec<FlowRecord> {
        let (names, flows) = (self.names(), self.plane.flows());
        let (v4, v6) = (flows.v4(), flows.v6());
        let v4 = v4.iter().filter_map(|flow| names.opened(&flow));
        let v6 = v6.iter().filter_map(|flow| names.opened(&flow));
        v4.chain(v6).collect()
    }

    fn learn(&mut self, part: Part, records: &[FlowRecord]) {
        let services = self.plane.services();
        let vips: HashMap<SocketAddr, u16> = services
            .into_iter()
            .map(|service| (service.address, service.id))
            .collect();
        let flows = self.plane.flows();
        let now_seen = seen(clock::monotonic_ns());
        let counters = &mut self.flow_sync.counters;
        let of_table = part != Part::Stream;
        for record in records {
            let change = record.change;
            let backend = self.plane.backend_ids().get(record.backend);
            let (Some(&vip_id), Some(backend)) = (vips.get(&record.vip), backend) else {
                counters.flows_unknown_target += 1;
                continue;
            };
            let port = record.source.port();
            match record.source.ip() {
                IpAddr::V4(source) => {
                    let key = Key4 {
                        source,
                        port,
                        vip_id,
                    };
                    let told = Told {
                        key,
                        change,
                        backend,
                        of_table,
                    };
                    learn(&flows.v4(), &told, now_seen, counters);
                }
                IpAddr::V6(source) => {
                    let key = Key6 {
                        source,
                        port,
                        vip_id,
                    };
                    let told = Told {
                        key,
                        change,
                        backend,
                        of_table,
                    };
                    learn(&flows.v6(), &told, now_seen, counters);
                }
            }
        }
    }

    /// As `lbd status` shows it.
    pub(in crate::daemon) fn channel_status(&self, now_ns: u64) -> ChannelStatus {
        let looked = self.outlets.channel.look();
        let off = looked.as_ref().err().map(|why| (*why).to_owned());
        let snapshot = looked.unwrap_or_default();
        let own = self.flow_sync.counters.iter();
        let counters: BTreeMap<String, u64> = snapshot
            .counters
            .iter()
            .zip(own)
            .map(|((name, of_task, _), (_, ours, _))| (name.to_owned(), of_task + ours))
            .collect();
        let peers = snapshot.peers.into_iter().map(|peer| PeerStatus {
            name: peer.name,
            address: peer.address,
            heard_s: peer.heard_ns.map(|heard| {
                std::time::Duration::from_nanos(now_ns.saturating_sub(heard)).as_secs_f64()
            }),
            complete: peer.complete,
        });
        ChannelStatus {
            off,
            peers: peers.collect(),
            counters,
        }
    }
}
