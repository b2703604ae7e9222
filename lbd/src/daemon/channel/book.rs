//! This node's ids and the addresses that all nodes have in common.
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use lbd_common::flow::state;

use crate::{
    channel::{Change, FlowRecord},
    dataplane::{BackendIds, Event, EventKind, Service},
    flows::{Flow, FlowKey, age},
    units::BackendId,
};

/// Both ways.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Book {
    vips: HashMap<u16, SocketAddr>,
    vip_ids: HashMap<SocketAddr, u16>,
    backends: HashMap<BackendId, IpAddr>,
    backend_ids: HashMap<IpAddr, BackendId>,
}

impl Book {
    pub(in crate::daemon) fn new(services: &[Service], backends: &BackendIds) -> Self {
        let vips = || services.iter().map(|service| (service.id, service.address));
        Self {
            vips: vips().collect(),
            vip_ids: vips().map(|(id, address)| (address, id)).collect(),
            backends: backends.iter().map(|(address, id)| (id, address)).collect(),
            backend_ids: backends.iter().collect(),
        }
    }

    /// The ids of a peer's virtual address and backend; `None` when this node lacks one of them.
    pub(super) fn ids(&self, record: &FlowRecord) -> Option<(u16, BackendId)> {
        let vip_id = self.vip_ids.get(&record.vip)?;
        Some((*vip_id, *self.backend_ids.get(&record.backend)?))
    }

    /// What peers are told of an event.
    pub(super) fn of_event(&self, event: &Event) -> Option<FlowRecord> {
        let change = match event.kind {
            EventKind::Opening => Change::Opening,
            EventKind::Opened => Change::Opened,
            EventKind::Closed => Change::Closed,
            EventKind::NoNeighbour | EventKind::Denied | EventKind::RateLimited => return None,
        };
        self.record(change, event.source, event.vip_id, event.backend)
    }

    /// What peers are told of a flow that is in the table.
    pub(super) fn of_flow<K: FlowKey>(&self, flow: &Flow<K>, now_seen: u16) -> Option<FlowRecord> {
        let change = match flow.word.state {
            state::HALF_OPEN => Change::Opening,
            state::ESTABLISHED => Change::Alive {
                age: age(now_seen, flow.word.seen),
            },
            _ => return None,
        };
        let (source, vip_id) = (flow.key.source(), flow.key.vip_id());
        self.record(change, source, vip_id, BackendId(flow.word.backend))
    }

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
}
