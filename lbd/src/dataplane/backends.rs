//! `BACKENDS`: entries from specs, and ids that stay with an endpoint.
use std::{collections::BTreeMap, num::NonZeroU16};

use lbd_common::{
    backend::{Backend, mode, state},
    maps::MAX_BACKENDS,
};

use super::{
    address,
    spec::{BackendSpec, Delivery},
};
use crate::units::{BackendId, Endpoint, Sockets};

/// The entry that a spec becomes.
pub fn encode(spec: &BackendSpec) -> Backend {
    let mut backend = Backend {
        state: state_of(spec),
        family: u16::from(address::family(spec.address)),
        address: address::words(spec.address),
        ..Backend::default()
    };
    if let Some(hop) = spec.next_hop {
        backend.mac = hop.mac.0;
        backend.source_mac = hop.source_mac.0;
        backend.ifindex = hop.ifindex;
    }
    match spec.delivery {
        Delivery::Dsr => backend.mode = mode::DSR,
        Delivery::Nat { port } => {
            backend.mode = mode::NAT;
            backend.port_be = port.unwrap_or(0).to_be();
        }
        Delivery::Ipip { source, mtu } => {
            backend.mode = mode::IPIP;
            backend.source_address = address::words(source);
            backend.mtu = mtu;
        }
        Delivery::Local => backend.mode = mode::LOCAL,
    }
    backend
}

fn state_of(spec: &BackendSpec) -> u8 {
    match (spec.alive, spec.delivery, spec.next_hop) {
        (false, _, _) => state::DEAD,
        (true, Delivery::Local, _) | (true, _, Some(_)) => state::UP,
        (true, _, None) => state::UNRESOLVED,
    }
}

/// The entries to write, in this order, to get from `current` to `new`.
///
/// The kernel copies an entry while the program reads it. What a frame needs to reach the right
/// place changes only while the state keeps frames from being sent: they are dropped for that
/// moment, and TCP sends them again.
pub fn transition(current: &Backend, new: &Backend) -> Vec<Backend> {
    if current == new {
        return Vec::new();
    }
    let only_state = Backend {
        state: new.state,
        ..*current
    };
    let held_back = |state: u8| state == state::UP || state == state::DEAD;
    if only_state == *new || !held_back(current.state) {
        return vec![*new];
    }
    let closed = Backend {
        state: state::UNRESOLVED,
        ..*current
    };
    let changed = Backend {
        state: state::UNRESOLVED,
        ..*new
    };
    vec![closed, changed, *new]
}

/// What an entry says of where sessions end; `None` of one that is not in use.
pub fn endpoint(entry: &Backend) -> Option<Endpoint> {
    let address = address::from_words(u32::from(entry.family), entry.address)?;
    let sockets = match entry.mode {
        mode::NAT => Sockets::Own {
            port: NonZeroU16::new(u16::from_be(entry.port_be)),
        },
        _ => Sockets::Virtual,
    };
    (entry.state != state::UNUSED).then_some(Endpoint { address, sockets })
}

/// The entry of another endpoint of the same box as `box_entry`: it is reached by the same hop, and
/// lives or dies with it.
pub fn reached_like(entry: &Backend, box_entry: &Backend) -> Backend {
    Backend {
        mac: box_entry.mac,
        source_mac: box_entry.source_mac,
        ifindex: box_entry.ifindex,
        state: box_entry.state,
        ..*entry
    }
}

/// Which id each endpoint has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendIds {
    by_endpoint: BTreeMap<Endpoint, BackendId>,
    by_id: BTreeMap<BackendId, Endpoint>,
}

impl BackendIds {
    /// The ids that the map's entries have, in the map's order.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = &'a Backend>) -> Self {
        let mut ids = Self::default();
        for (id, backend) in (0_u16..).zip(entries) {
            if let Some(endpoint) = endpoint(backend) {
                ids.insert(endpoint, BackendId(id));
            }
        }
        ids
    }

    fn insert(&mut self, endpoint: Endpoint, id: BackendId) {
        self.by_endpoint.insert(endpoint, id);
        self.by_id.insert(id, endpoint);
    }

    /// The endpoint's id.
    pub fn get(&self, endpoint: Endpoint) -> Option<BackendId> {
        self.by_endpoint.get(&endpoint).copied()
    }

    /// The id's endpoint.
    pub fn endpoint(&self, id: BackendId) -> Option<Endpoint> {
        self.by_id.get(&id).copied()
    }

    /// Each endpoint with its id.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, BackendId)> {
        self.by_endpoint
            .iter()
            .map(|(endpoint, id)| (*endpoint, *id))
    }

    /// The ids that endpoints have.
    pub fn ids(&self) -> impl Iterator<Item = BackendId> {
        self.by_endpoint.values().copied()
    }

    /// The endpoint's id, or the lowest that no endpoint and no flow has; `None` when there is none.
    ///
    /// `busy` tells whether flows of a removed backend still have the id.
    pub fn allocate(
        &mut self,
        endpoint: Endpoint,
        busy: impl Fn(BackendId) -> bool,
    ) -> Option<BackendId> {
        if let Some(id) = self.get(endpoint) {
            return Some(id);
        }
        let last = u16::try_from(MAX_BACKENDS - 1).unwrap_or(u16::MAX);
        let id = (0..=last)
            .map(BackendId)
            .find(|&id| self.endpoint(id).is_none() && !busy(id))?;
        self.insert(endpoint, id);
        Some(id)
    }

    /// Forgets the endpoint that has the id.
    pub fn release(&mut self, id: BackendId) {
        if let Some(endpoint) = self.by_id.remove(&id) {
            self.by_endpoint.remove(&endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dataplane::spec::NextHop, units::Mac};

    const HOP: NextHop = NextHop {
        mac: Mac([2, 0, 0, 0, 0, 1]),
        source_mac: Mac([2, 0, 0, 0, 0, 2]),
        ifindex: 7,
    };

    fn spec(address: &str, delivery: Delivery) -> BackendSpec {
        BackendSpec {
            address: address.parse().unwrap(),
            delivery,
            next_hop: Some(HOP),
            alive: true,
        }
    }

    #[test]
    fn specs_become_entries() {
        let v4 = [u32::from_ne_bytes([192, 0, 2, 12]), 0, 0, 0];
        let resolved = Backend {
            mac: HOP.mac.0,
            source_mac: HOP.source_mac.0,
            ifindex: 7,
            state: state::UP,
            family: 4,
            address: v4,
            ..Backend::default()
        };
        let unresolved = Backend {
            state: state::UNRESOLVED,
            family: 4,
            address: v4,
            ..Backend::default()
        };
        let dsr = spec("192.0.2.12", Delivery::Dsr);
        let table = [
            ("dsr", dsr, resolved),
            (
                "no neighbour yet",
                BackendSpec {
                    next_hop: None,
                    ..dsr
                },
                unresolved,
            ),
            (
                "dead",
                BackendSpec {
                    alive: false,
                    ..dsr
                },
                Backend {
                    state: state::DEAD,
                    ..resolved
                },
            ),
            (
                "nat to another port",
                spec("192.0.2.12", Delivery::Nat { port: Some(2525) }),
                Backend {
                    mode: mode::NAT,
                    port_be: 2525_u16.to_be(),
                    ..resolved
                },
            ),
            (
                "nat to the VIP's port",
                spec("192.0.2.12", Delivery::Nat { port: None }),
                Backend {
                    mode: mode::NAT,
                    ..resolved
                },
            ),
            (
                "ipip",
                spec(
                    "192.0.2.12",
                    Delivery::Ipip {
                        source: "192.0.2.11".parse().unwrap(),
                        mtu: 1480,
                    },
                ),
                Backend {
                    mode: mode::IPIP,
                    mtu: 1480,
                    source_address: [u32::from_ne_bytes([192, 0, 2, 11]), 0, 0, 0],
                    ..resolved
                },
            ),
            (
                "this box needs no neighbour",
                BackendSpec {
                    next_hop: None,
                    delivery: Delivery::Local,
                    ..dsr
                },
                Backend {
                    mode: mode::LOCAL,
                    state: state::UP,
                    ..unresolved
                },
            ),
        ];
        for (name, spec, expected) in table {
            assert_eq!(encode(&spec), expected, "{name}");
        }
    }

    #[test]
    fn no_frame_is_sent_while_its_way_changes() {
        let up = encode(&spec("192.0.2.12", Delivery::Dsr));
        let moved = Backend { mac: [9; 6], ..up };
        let dead = Backend {
            state: state::DEAD,
            ..up
        };
        let unresolved = Backend {
            state: state::UNRESOLVED,
            ..up
        };
        assert_eq!(transition(&up, &up), []);
        assert_eq!(transition(&up, &dead), [dead]);
        assert_eq!(transition(&unresolved, &moved), [moved]);
        assert_eq!(transition(&Backend::default(), &up), [up]);
        let steps = transition(&up, &moved);
        for pair in [up].iter().chain(&steps).collect::<Vec<_>>().windows(2) {
            let way = |backend: &Backend| Backend {
                state: 0,
                ..*backend
            };
            let sends = |backend: &Backend| backend.state == state::UP;
            assert!(way(pair[0]) == way(pair[1]) || !(sends(pair[0]) || sends(pair[1])));
        }
        assert_eq!(steps.last(), Some(&moved));
    }

    #[test]
    fn an_address_keeps_its_id_across_a_restart() {
        let mut ids = BackendIds::default();
        let [a, b] =
            ["192.0.2.11", "2001:db8::12"].map(|text| Endpoint::of_virtual(text.parse().unwrap()));
        assert_eq!(ids.allocate(a, |_| false), Some(BackendId(0)));
        assert_eq!(ids.allocate(b, |_| false), Some(BackendId(1)));
        ids.release(BackendId(0));
        let entries = [
            Backend::default(),
            encode(&spec("2001:db8::12", Delivery::Dsr)),
        ];
        assert_eq!(BackendIds::from_entries(&entries), ids);
        assert_eq!(ids.allocate(b, |_| false), Some(BackendId(1)));
    }

    #[test]
    fn a_backend_has_an_id_for_each_way_that_its_sockets_differ_by_and_finds_it_again() {
        let own = |port| Delivery::Nat { port };
        let tunnel = Delivery::Ipip {
            source: "192.0.2.11".parse().unwrap(),
            mtu: 1480,
        };
        let mut ids = BackendIds::default();
        let mut entries = Vec::new();
        // What it is changed to, one after the other, and the id that it then has.
        for (delivery, expected) in [
            (Delivery::Dsr, 0),
            (own(None), 1),
            (tunnel, 0),
            (own(Some(2525)), 2),
            (own(None), 1),
            (Delivery::Local, 0),
        ] {
            let entry = encode(&spec("192.0.2.12", delivery));
            let endpoint = endpoint(&entry).unwrap();
            let id = ids.allocate(endpoint, |_| false).unwrap();
            assert_eq!(id, BackendId(expected), "{delivery:?}");
            entries.resize(entries.len().max(usize::from(id.0) + 1), entry);
            entries[usize::from(id.0)] = entry;
            assert_eq!(BackendIds::from_entries(&entries), ids, "after a restart");
        }
        let unused = Backend {
            state: state::UNUSED,
            ..entries[1]
        };
        assert_eq!(endpoint(&unused), None);
    }

    #[test]
    fn the_endpoints_of_a_box_share_its_hop_and_its_death() {
        let own = encode(&spec("192.0.2.12", Delivery::Nat { port: Some(2525) }));
        let moved = Backend {
            mac: [9; 6],
            ifindex: 8,
            state: state::DEAD,
            ..encode(&spec("192.0.2.12", Delivery::Dsr))
        };
        let expected = Backend {
            mac: [9; 6],
            ifindex: 8,
            state: state::DEAD,
            ..own
        };
        assert_eq!(reached_like(&own, &moved), expected);
    }

    #[test]
    fn an_id_with_flows_is_not_given_away() {
        let mut ids = BackendIds::default();
        let a = Endpoint::of_virtual("192.0.2.11".parse().unwrap());
        assert_eq!(ids.allocate(a, |id| id.0 < 3), Some(BackendId(3)));
    }

    #[test]
    fn ids_run_out_at_the_end_of_the_map() {
        let mut ids = BackendIds::default();
        for i in 0..MAX_BACKENDS {
            let endpoint = Endpoint::of_virtual(std::net::Ipv4Addr::from(i).into());
            assert!(ids.allocate(endpoint, |_| false).is_some());
        }
        let beyond = Endpoint::of_virtual("2001:db8::1".parse().unwrap());
        assert_eq!(ids.allocate(beyond, |_| false), None);
    }
}
