//! This node's ids and the addresses that all nodes have in common.
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use lbd_common::{flow::state, sign::service_bit};

use crate::{
    channel::{Change, FlowRecord},
    dataplane::{BackendIds, Event, EventKind, Service},
    flows::{Flow, FlowKey, age},
    units::{BackendId, Endpoint},
};

/// Both ways.
#[derive(Debug, Default)]
pub(in crate::daemon) struct IdMap {
    vips: HashMap<u16, SocketAddr>,
    vip_ids: HashMap<SocketAddr, u16>,
    backends: HashMap<BackendId, Endpoint>,
    backend_ids: HashMap<Endpoint, BackendId>,
    /// The boxes that have at least one of them.
    boxes: HashSet<IpAddr>,
}

impl IdMap {
    pub(in crate::daemon) fn new(services: &[Service], backends: &BackendIds) -> Self {
        let vips = || services.iter().map(|service| (service.id, service.address));
        Self {
            vips: vips().collect(),
            vip_ids: vips().map(|(id, address)| (address, id)).collect(),
            backends: backends
                .iter()
                .map(|(endpoint, id)| (id, endpoint))
                .collect(),
            backend_ids: backends.iter().collect(),
            boxes: backends
                .iter()
                .map(|(endpoint, _)| endpoint.address)
                .collect(),
        }
    }

    /// The endpoint of a peer's open session, if this node knows its box and not the endpoint.
    pub(super) fn other_way(&self, record: &FlowRecord) -> Option<Endpoint> {
        let endpoint = record.backend;
        let is_other = !matches!(record.change, Change::Closed | Change::Ended)
            && self.vip_ids.contains_key(&record.vip)
            && self.boxes.contains(&endpoint.address)
            && !self.backend_ids.contains_key(&endpoint);
        is_other.then_some(endpoint)
    }

    /// The ids of a peer's virtual address and backend; `None` when this node lacks one of them.
    pub(super) fn ids_of(&self, record: &FlowRecord) -> Option<(u16, BackendId)> {
        let vip_id = self.vip_ids.get(&record.vip)?;
        Some((*vip_id, *self.backend_ids.get(&record.backend)?))
    }

    /// Whether a backend of this node is the box with that address.
    pub(super) fn is_box(&self, backend: BackendId, address: IpAddr) -> bool {
        let endpoint = self.backends.get(&backend);
        endpoint.is_some_and(|endpoint| endpoint.address == address)
    }

    /// Every backend's id.
    pub(super) fn ids(&self) -> impl Iterator<Item = BackendId> {
        self.backends.keys().copied()
    }

    /// The ids of the ways to a box.
    pub(super) fn ids_of_box(&self, address: IpAddr) -> impl Iterator<Item = BackendId> {
        let backends = self.backends.iter();
        backends.filter_map(move |(id, endpoint)| (endpoint.address == address).then_some(*id))
    }

    /// The id of a virtual address and port.
    pub(super) fn vip_id(&self, vip: SocketAddr) -> Option<u16> {
        self.vip_ids.get(&vip).copied()
    }

    /// The virtual address and port of an id.
    pub(super) fn vip(&self, id: u16) -> Option<SocketAddr> {
        self.vips.get(&id).copied()
    }

    /// The id of an endpoint.
    pub(super) fn backend_id(&self, endpoint: Endpoint) -> Option<BackendId> {
        self.backend_ids.get(&endpoint).copied()
    }

    /// The [`service_bit`]s of services; a bit that other services share only if they are all among these.
    pub(super) fn service_bits(&self, services: &[SocketAddr]) -> u64 {
        let bits = |among: bool| {
            let ids = self.vip_ids.iter();
            let ids = ids.filter(move |(service, _)| services.contains(service) == among);
            ids.fold(0, |bits, (_, id)| bits | service_bit(*id))
        };
        bits(true) & !bits(false)
    }

    /// Every virtual address and port.
    pub(super) fn services(&self) -> impl Iterator<Item = SocketAddr> {
        self.vip_ids.keys().copied()
    }

    /// What peers are told of an event.
    pub(super) fn of_event(&self, event: &Event) -> Option<FlowRecord> {
        let change = match event.kind {
            EventKind::Opening => Change::Opening,
            EventKind::Opened => Change::Opened,
            EventKind::Proven => Change::Alive { age: 0 },
            EventKind::Closed => Change::Closed,
            EventKind::NoNeighbour | EventKind::Denied | EventKind::RateLimited => return None,
        };
        self.record(change, event.source, event.vip_id, event.backend)
    }

    /// What peers are told of a flow that is in the table.
    pub(super) fn of_flow<K: FlowKey>(&self, flow: &Flow<K>, now_seen: u16) -> Option<FlowRecord> {
        let change = match flow.word.state {
            // Its client's next frame makes it unproven there too.
            state::HALF_OPEN | state::UNPROVEN => Change::Opening,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Sockets;

    #[test]
    fn a_bit_that_services_share_stands_for_all_of_them() {
        let service = |id: u16| Service {
            address: SocketAddr::new([192, 0, 2, 25].into(), id),
            id,
        };
        let map = IdMap::new(&[1, 2, 65].map(service), &BackendIds::default());
        let bits = |ids: &[u16]| {
            let services: Vec<SocketAddr> = ids.iter().map(|id| service(*id).address).collect();
            map.service_bits(&services)
        };
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[2]), service_bit(2));
        assert_eq!(bits(&[1, 2]), service_bit(2), "65 has a listener");
        assert_eq!(bits(&[1, 65]), service_bit(1));
        assert_eq!(bits(&[3]), 0, "none of ours");
    }

    #[test]
    fn sessions_of_one_box_are_told_apart_by_their_endpoint() {
        let address: IpAddr = [192, 0, 2, 13].into();
        let vip: SocketAddr = "192.0.2.25:25".parse().unwrap();
        let old = Endpoint::of_virtual(address);
        let new = Endpoint {
            address,
            sockets: Sockets::Own { port: None },
        };
        let mut ids = BackendIds::default();
        ids.allocate(old, |_| false).unwrap();
        let services = [Service {
            address: vip,
            id: 3,
        }];
        let before = IdMap::new(&services, &ids);
        ids.allocate(new, |_| false).unwrap();
        let after = IdMap::new(&services, &ids);
        let record = |backend| FlowRecord {
            change: Change::Opened,
            source: "198.51.100.7:4000".parse().unwrap(),
            vip,
            backend,
        };
        assert_eq!(before.ids_of(&record(old)), Some((3, BackendId(0))));
        assert_eq!(before.ids_of(&record(new)), None);
        assert_eq!(after.ids_of(&record(new)), Some((3, BackendId(1))));
        assert_eq!(before.other_way(&record(new)), Some(new));
        assert_eq!(after.other_way(&record(new)), None);
        let elsewhere = Endpoint::of_virtual([192, 0, 2, 14].into());
        assert_eq!(before.other_way(&record(elsewhere)), None, "another box");
        let closed = FlowRecord {
            change: Change::Closed,
            ..record(new)
        };
        assert_eq!(before.other_way(&closed), None, "it has ended");
    }
}
