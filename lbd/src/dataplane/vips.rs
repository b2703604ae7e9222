//! `VIPS`: the virtual addresses, their ports, and an id for each pair.
//!
//! An id is part of a flow's key and so of its ring candidates: it must be the same on every node,
//! or a session that no table knows would be sent elsewhere by the next master. So an id is the
//! hash of address and port, not the next free number. A service keeps the id it has; one whose
//! hash is taken gets the next number that no service and no flow has.
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use lbd_common::{
    hash::{MAX_PROBE, mix, slot_u32, slot_v6},
    maps::VIP_SLOTS,
    vip::{MAX_PORTS, Vip, VipPort},
};

use super::{
    address,
    error::{DataPlaneError, Result},
    mmap::{MmapArray, words_of},
    spec::{Service, VipSpec},
};
use crate::table::slots::{self, Slot, Step};

/// `Vip::family` in a slot whose address has gone.
const BURIED: u32 = u32::MAX;

/// The 8-byte word of a [`Vip`] that holds `family`.
const FAMILY_WORD: usize = std::mem::offset_of!(Vip, family) / 8;

/// The addresses in the map.
pub(super) fn addresses(map: &MmapArray<Vip>) -> impl Iterator<Item = IpAddr> {
    (0..map.len())
        .map(|slot| map.get(slot))
        .filter_map(|vip| address::from_words(vip.family, vip.address))
}

/// The services in the map.
pub(super) fn services(map: &MmapArray<Vip>) -> Vec<Service> {
    (0..map.len())
        .map(|slot| map.get(slot))
        .filter_map(|vip| Some((address::from_words(vip.family, vip.address)?, vip.ports)))
        .flat_map(|(address, ports)| {
            ports
                .into_iter()
                .take_while(|port| port.port_be != 0)
                .map(move |port| Service {
                    address: SocketAddr::new(address, u16::from_be(port.port_be)),
                    id: port.id,
                })
        })
        .collect()
}

/// The id that a service has on every node unless another one's hash is the same. Never 0.
pub fn preferred_id(service: SocketAddr) -> u16 {
    let [a, b, c, d] = address::words(service.ip()).map(|word| u64::from(u32::from_be(word)));
    let hash = mix(mix(a << 32 | b) ^ mix(mix(c << 32 | d) ^ u64::from(service.port())));
    // The top bits; 0 is no id.
    u16::try_from(hash >> 48).unwrap_or(1).max(1)
}

/// An id for each of `wanted`, in its order.
///
/// `current` services keep theirs. `taken(id, service)` tells whether flows of a service other than
/// this one may have the id.
pub fn assign_ids(
    current: &[Service],
    wanted: &[SocketAddr],
    taken: impl Fn(u16, SocketAddr) -> bool,
) -> Vec<u16> {
    let mut ids: BTreeMap<SocketAddr, u16> = current
        .iter()
        .filter(|service| wanted.contains(&service.address))
        .map(|service| (service.address, service.id))
        .collect();
    let mut used: Vec<u16> = current.iter().map(|service| service.id).collect();
    // In the order of addresses, not of the configuration: each node gives ids alike.
    let mut new: Vec<SocketAddr> = wanted
        .iter()
        .copied()
        .filter(|service| !ids.contains_key(service))
        .collect();
    new.sort_unstable();
    for service in new {
        let first = preferred_id(service);
        let id = (0..u16::MAX)
            .map(|distance| next_id(first, distance))
            .find(|&id| !used.contains(&id) && !taken(id, service))
            // Every number has a flow: the hash is no worse than another.
            .unwrap_or(first);
        used.push(id);
        ids.insert(service, id);
    }
    wanted.iter().map(|service| ids[service]).collect()
}

/// The id `distance` after `first`, skipping 0.
fn next_id(first: u16, distance: u16) -> u16 {
    let zero_based = (u32::from(first) - 1 + u32::from(distance)) % u32::from(u16::MAX);
    u16::try_from(zero_based + 1).unwrap_or(1)
}

/// Refuses what no slot could hold; nothing is written yet.
pub(super) fn check(vips: &[VipSpec]) -> Result<()> {
    for vip in vips {
        let count = vip.ports.len();
        if count > MAX_PORTS {
            return Err(DataPlaneError::Ports {
                address: vip.address,
                count,
                limit: MAX_PORTS,
            });
        }
    }
    Ok(())
}

/// Makes `map` hold exactly `vips`. A search finds every service that stays at every moment.
/// `ids` gives each service its id.
pub(super) fn write(
    map: &MmapArray<Vip>,
    vips: &[VipSpec],
    ids: impl Fn(SocketAddr) -> u16,
) -> Result<()> {
    check(vips)?;
    let current: Vec<Slot<IpAddr>> = (0..map.len())
        .map(|slot| {
            let vip = map.get(slot);
            match address::from_words(vip.family, vip.address) {
                Some(address) => Slot::Held(address),
                None if vip.family == 0 => Slot::Free,
                None => Slot::Buried,
            }
        })
        .collect();
    let wanted: Vec<IpAddr> = vips.iter().map(|vip| vip.address).collect();
    let steps =
        slots::steps(&current, &wanted, home, MAX_PROBE as usize).map_err(DataPlaneError::Vips)?;

    let ports_of = |vip: &VipSpec| -> Vec<VipPort> {
        vip.ports
            .iter()
            .map(|&port| VipPort {
                port_be: port.to_be(),
                id: ids(SocketAddr::new(vip.address, port)),
            })
            .collect()
    };
    for vip in vips {
        if let Some(slot) = current
            .iter()
            .position(|held| *held == Slot::Held(vip.address))
        {
            for ports in port_steps(map.get(slot).ports, &ports_of(vip)) {
                write_ports(map, slot, ports);
            }
        }
    }
    for step in steps {
        match step {
            Step::Hold { slot, key } => {
                let mut ports = [VipPort::default(); MAX_PORTS];
                let vip = vips.iter().find(|vip| vip.address == key);
                let wanted = vip.map(ports_of).unwrap_or_default();
                ports[..wanted.len()].copy_from_slice(&wanted);
                hold(map, slot, key, ports);
            }
            Step::Bury { slot } => set_family(map, slot, BURIED),
            Step::Free { slot } => set_family(map, slot, 0),
        }
    }
    Ok(())
}

/// The lists of ports, each a little different from the one before, that lead from `current` to
/// `wanted` (in some order). Every port that is in both is in all of them.
fn port_steps(current: [VipPort; MAX_PORTS], wanted: &[VipPort]) -> Vec<[VipPort; MAX_PORTS]> {
    let mut ports = current;
    let mut steps = Vec::new();
    let mut len = ports.iter().take_while(|port| port.port_be != 0).count();
    let mut at = 0;
    while at < len {
        if wanted.contains(&ports[at]) {
            at += 1;
            continue;
        }
        // The last one moves into the gap first, so that it is in the list throughout.
        ports[at] = ports[len - 1];
        steps.push(ports);
        len -= 1;
        ports[len] = VipPort::default();
        steps.push(ports);
    }
    for port in wanted {
        if !ports[..len].contains(port) {
            ports[len] = *port;
            steps.push(ports);
            len += 1;
        }
    }
    steps
}

fn home(address: IpAddr) -> usize {
    let words = address::words(address);
    let slot = match address {
        IpAddr::V4(_) => slot_u32(words[0], VIP_SLOTS),
        IpAddr::V6(_) => slot_v6(words, VIP_SLOTS),
    };
    slot as usize
}

/// Fills a slot that no search finds, then lets searches find it.
fn hold(map: &MmapArray<Vip>, slot: usize, address: IpAddr, ports: [VipPort; MAX_PORTS]) {
    let vip = Vip {
        address: address::words(address),
        family: u32::from(address::family(address)),
        reserved: [0; 3],
        ports,
    };
    let words = words_of(&vip);
    for (at, word) in words
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != FAMILY_WORD)
    {
        map.entry(slot)[at].store(*word, Ordering::Release);
    }
    map.entry(slot)[FAMILY_WORD].store(words[FAMILY_WORD], Ordering::Release);
}

fn set_family(map: &MmapArray<Vip>, slot: usize, family: u32) {
    map.field_u32(slot, std::mem::offset_of!(Vip, family))
        .store(family, Ordering::Release);
}

/// Writes the words that differ: a step of [`port_steps`] changes one port, which lies in one word.
fn write_ports(map: &MmapArray<Vip>, slot: usize, ports: [VipPort; MAX_PORTS]) {
    let vip = Vip {
        ports,
        ..map.get(slot)
    };
    for (to, word) in map.entry(slot).iter().zip(words_of(&vip)) {
        if to.load(Ordering::Relaxed) != word {
            to.store(word, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    fn service(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn empty() -> MmapArray<Vip> {
        MmapArray::anonymous(VIP_SLOTS as usize).unwrap()
    }

    fn sorted(map: &MmapArray<Vip>) -> Vec<SocketAddr> {
        let mut services: Vec<SocketAddr> = services(map)
            .iter()
            .map(|service| service.address)
            .collect();
        services.sort_unstable();
        services
    }

    #[test]
    fn what_is_written_is_read_back_with_its_ids() {
        let map = empty();
        let vips = [
            VipSpec {
                address: "192.0.2.25".parse().unwrap(),
                ports: vec![25, 587],
            },
            VipSpec {
                address: "2001:db8::25".parse().unwrap(),
                ports: vec![25],
            },
        ];
        write(&map, &vips, preferred_id).unwrap();
        let expected = ["192.0.2.25:25", "192.0.2.25:587", "[2001:db8::25]:25"].map(service);
        assert_eq!(sorted(&map), expected);
        for service in services(&map) {
            assert_eq!(service.id, preferred_id(service.address));
        }
    }

    #[test]
    fn a_removed_address_leaves_and_the_others_keep_slot_and_ids() {
        let map = empty();
        let vip = |last: u8| VipSpec {
            address: IpAddr::from([192, 0, 2, last]),
            ports: vec![25],
        };
        let all: Vec<VipSpec> = (1..=20).map(vip).collect();
        write(&map, &all, preferred_id).unwrap();
        let before = services(&map);
        write(&map, &all[5..], preferred_id).unwrap();
        let after = services(&map);
        assert_eq!(after.len(), 15);
        assert!(after.iter().all(|service| before.contains(service)));
    }

    #[test]
    fn nine_ports_are_refused_and_nothing_is_written() {
        let map = empty();
        let refused = write(
            &map,
            &[VipSpec {
                address: "192.0.2.25".parse().unwrap(),
                ports: (1..=9).collect(),
            }],
            preferred_id,
        );
        assert!(matches!(
            refused,
            Err(DataPlaneError::Ports { count: 9, .. })
        ));
        assert_eq!(services(&map), []);
    }

    #[test]
    fn ids_do_not_depend_on_order_or_history() {
        let [a, b, c] = ["192.0.2.25:25", "192.0.2.25:465", "[2001:db8::25]:25"].map(service);
        let free = |_, _| false;
        let forward = assign_ids(&[], &[a, b, c], free);
        let mut backward = assign_ids(&[], &[c, b, a], free);
        backward.reverse();
        assert_eq!(forward, backward);
        let one = [Service {
            address: b,
            id: forward[1],
        }];
        assert_eq!(assign_ids(&one, &[a, b, c], free), forward);
    }

    #[test]
    fn a_service_keeps_the_id_it_has() {
        let a = service("192.0.2.25:25");
        let current = [Service { address: a, id: 77 }];
        assert_eq!(assign_ids(&current, &[a], |_, _| true), [77]);
    }

    #[test]
    fn an_id_that_flows_of_another_have_is_passed_over() {
        let a = service("192.0.2.25:25");
        let hash = preferred_id(a);
        let ids = assign_ids(&[], &[a], |id, _| id == hash);
        assert_eq!(ids, [next_id(hash, 1)]);
    }

    #[test]
    fn ids_wrap_around_without_zero() {
        assert_eq!(next_id(65_535, 0), 65_535);
        assert_eq!(next_id(65_535, 1), 1);
        assert_eq!(next_id(1, 65_534), 65_535);
    }

    proptest! {
        #[test]
        fn ids_are_unique_and_never_zero(
            ports in btree_set(1_u16.., 1..200),
            kept in 0_usize..50,
        ) {
            let wanted: Vec<SocketAddr> = ports.into_iter().map(|port| ([192, 0, 2, 25], port).into()).collect();
            let current: Vec<Service> = wanted.iter().take(kept).zip(1..).map(|(&address, id)| Service { address, id }).collect();
            let mut ids = assign_ids(&current, &wanted, |_, _| false);
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), wanted.len());
            prop_assert!(ids[0] != 0);
        }

        #[test]
        fn ports_that_stay_are_in_every_step(
            before in btree_set(1_u16.., 0..=MAX_PORTS),
            after in btree_set(1_u16.., 0..=MAX_PORTS),
            shared in btree_set(1_u16..9, 0..4),
        ) {
            let list = |set: &std::collections::BTreeSet<u16>| -> Vec<VipPort> {
                shared.iter().chain(set).copied().collect::<std::collections::BTreeSet<u16>>()
                    .into_iter().take(MAX_PORTS).map(|port_be| VipPort { port_be, id: port_be }).collect()
            };
            let (before, after) = (list(&before), list(&after));
            let mut current = [VipPort::default(); MAX_PORTS];
            current[..before.len()].copy_from_slice(&before);
            let visible = |ports: &[VipPort; MAX_PORTS]| -> Vec<VipPort> {
                ports.iter().copied().take_while(|port| port.port_be != 0).collect()
            };
            let mut last = current;
            for step in port_steps(current, &after) {
                let differing = step.iter().zip(&last).filter(|(new, old)| new != old).count();
                prop_assert!(differing <= 1, "one port a step");
                for port in before.iter().filter(|port| after.contains(port)) {
                    prop_assert!(visible(&step).contains(port));
                }
                for port in visible(&step) {
                    prop_assert!(before.contains(&port) || after.contains(&port));
                }
                last = step;
            }
            let mut end = visible(&last);
            end.sort_by_key(|port| port.port_be);
            prop_assert_eq!(end, after);
        }
    }
}
