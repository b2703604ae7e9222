//! `REPLIES`: the services before each address and port of a `nat` backend.
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use lbd_common::reply::{MAX_REPLY_SERVICES, Reply, ReplyKey, ReplyService};

use super::{address, call_map::CallMap, error::Result, spec::Service};
use crate::units::BackendId;

/// A backend whose replies pass this box.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NatBackend {
    /// Its id.
    pub id: BackendId,
    /// Its own address.
    pub address: IpAddr,
    /// The port on it; `None` keeps the service's.
    pub port: Option<u16>,
}

/// The map's entries; of two backends before one port the first has it. Services beyond
/// [`MAX_REPLY_SERVICES`] before one port are left out: the configuration has been refused before.
pub(super) fn entries(nat: &[NatBackend], services: &[Service]) -> BTreeMap<ReplyKey, Reply> {
    let mut entries: BTreeMap<ReplyKey, Reply> = BTreeMap::new();
    for backend in nat {
        let same_family =
            |service: &&Service| service.address.is_ipv4() == backend.address.is_ipv4();
        for service in services.iter().filter(same_family) {
            let port = backend.port.unwrap_or(service.address.port());
            let entry = entries.entry(key(SocketAddr::new(backend.address, port)));
            let reply = entry.or_insert_with(|| Reply {
                backend: u32::from(backend.id.0),
                ..Reply::default()
            });
            if reply.backend != u32::from(backend.id.0) {
                continue;
            }
            if let Some(free) = reply.services.iter_mut().find(|service| service.id == 0) {
                *free = ReplyService {
                    address: address::words(service.address.ip()),
                    port_be: service.address.port().to_be(),
                    id: service.id,
                };
            }
        }
    }
    const { assert!(MAX_REPLY_SERVICES == 8, "config/check.rs says so to people") };
    entries
}

fn key(from: SocketAddr) -> ReplyKey {
    ReplyKey {
        address: address::words(from.ip()),
        port_be: from.port().to_be(),
        family: if from.is_ipv4() { 4 } else { 6 },
    }
}

/// Makes the map hold `wanted` and nothing else. An entry that is found at all is found at every
/// moment.
pub(super) fn write(map: &CallMap, wanted: &BTreeMap<ReplyKey, Reply>) -> Result<()> {
    for (key, reply) in wanted {
        map.set(*key, reply)?;
    }
    remove(map, |key, _| !wanted.contains_key(key))
}

/// Takes out what belongs to a backend.
pub(super) fn forget(map: &CallMap, gone: BackendId) -> Result<()> {
    remove(map, |_, id| id == gone)
}

fn remove(map: &CallMap, goes: impl Fn(&ReplyKey, BackendId) -> bool) -> Result<()> {
    for key in map.keys::<ReplyKey>()? {
        let reply: Reply = map.get(key)?;
        let id = BackendId(u16::try_from(reply.backend).unwrap_or(u16::MAX));
        if goes(&key, id) {
            map.remove(key)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(address: &str, id: u16) -> Service {
        Service {
            address: address.parse().unwrap(),
            id,
        }
    }

    fn nat(id: u16, address: &str, port: Option<u16>) -> NatBackend {
        NatBackend {
            id: BackendId(id),
            address: address.parse().unwrap(),
            port,
        }
    }

    #[test]
    fn each_backend_answers_for_the_services_of_its_family() {
        let services = [
            service("192.0.2.25:25", 1),
            service("192.0.2.25:587", 2),
            service("[2001:db8::25]:25", 3),
            service("192.0.2.26:25", 4),
        ];
        let backends = [
            nat(7, "10.0.0.7", None),
            nat(8, "10.0.0.8", Some(2525)),
            nat(9, "fd00::9", None),
        ];
        let entries = entries(&backends, &services);
        let told: Vec<(String, u32, Vec<u16>)> = entries
            .iter()
            .map(|(key, reply)| {
                let address = address::from_words(u32::from(key.family), key.address).unwrap();
                let from = SocketAddr::new(address, u16::from_be(key.port_be)).to_string();
                let ids = reply.services.iter().map(|service| service.id);
                (from, reply.backend, ids.filter(|id| *id != 0).collect())
            })
            .collect();
        let expected = [
            ("10.0.0.7:25", 7, vec![1, 4]),
            ("10.0.0.7:587", 7, vec![2]),
            ("10.0.0.8:2525", 8, vec![1, 2, 4]),
            ("[fd00::9]:25", 9, vec![3]),
        ];
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (from, backend, ids) in expected {
            assert!(
                told.contains(&(from.to_owned(), backend, ids)),
                "{from}: {told:?}"
            );
        }
        let reply = entries[&key("10.0.0.8:2525".parse().unwrap())];
        assert_eq!(reply.services[1].port_be, 587_u16.to_be());
    }

    #[test]
    fn one_port_has_one_backend() {
        let services = [service("192.0.2.25:25", 1), service("192.0.2.26:25", 2)];
        let backends = [
            nat(7, "10.0.0.7", None),
            nat(8, "10.0.0.7", Some(25)),
            nat(9, "10.0.0.7", Some(2525)),
        ];
        let entries = entries(&backends, &services);
        for (port, backend) in [(25, 7), (2525, 9)] {
            let reply = entries[&key(SocketAddr::new([10, 0, 0, 7].into(), port))];
            assert_eq!(reply.backend, backend);
            assert_eq!(reply.services.map(|it| it.id)[..3], [1, 2, 0]);
        }
    }

    #[test]
    fn services_beyond_the_last_place_are_left_out() {
        let services: Vec<Service> = (1..=9)
            .map(|n| service(&format!("192.0.2.{n}:25"), n))
            .collect();
        let entries = entries(&[nat(1, "10.0.0.1", None)], &services);
        let reply = entries.values().next().unwrap();
        assert_eq!(
            reply.services.map(|service| service.id),
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
    }
}
