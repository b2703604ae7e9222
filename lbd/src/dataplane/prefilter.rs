//! `PREFILTER`: which frames the program looks at twice.
use std::{collections::BTreeSet, net::IpAddr};

use lbd_common::{
    hash::MAX_PROBE,
    node::{Node, mac_to_u64},
    prefilter::{IPV4, IPV6, MAC_SLOTS, NODE, Prefilter, arrival, mac_slot},
};

use crate::units::Mac;

/// The section of the object that holds the variable; a pin's name may have no dot.
pub const SECTION: &str = ".bss.prefilter";

/// The filter that lets frames to `addresses` and from `nodes` through, and with `everything` those to
/// everybody: a `nat` backend's replies are for its clients. `macs` are [`own_macs`].
pub fn of(
    addresses: impl IntoIterator<Item = IpAddr>,
    nodes: impl IntoIterator<Item = Node>,
    everything: bool,
    macs: [u64; MAC_SLOTS as usize],
) -> Prefilter {
    let everybody = if everything { IPV4 | IPV6 } else { 0 };
    let mut bits = [everybody; 256];
    for address in addresses {
        let (last, family) = match address {
            IpAddr::V4(address) => (address.octets()[3], IPV4),
            IpAddr::V6(address) => (address.octets()[15], IPV6),
        };
        bits[usize::from(last)] |= family;
    }
    for node in nodes {
        bits[usize::from(node.mac.to_le_bytes()[5])] |= NODE;
    }
    Prefilter { bits, macs }
}

/// The slots of the MACs that frames for this box are addressed to, by the number of the interface that
/// they come in by. An interface's first one is compared first. What finds no slot is left out with all
/// of its interface, which then accepts every frame, as if there were no filter.
pub fn own_macs(own: &[(u32, Mac)]) -> [u64; MAC_SLOTS as usize] {
    let mut slots = [0; MAC_SLOTS as usize];
    let mut left_out = Vec::new();
    for (ifindex, mac) in own {
        let word = arrival(mac_to_u64(mac.0), *ifindex);
        let slot = (0..MAX_PROBE)
            .map(|distance| mac_slot(ifindex.wrapping_add(distance)) as usize)
            .find(|slot| [0, word].contains(&slots[*slot]));
        match slot {
            Some(slot) => slots[slot] = word,
            None => left_out.push(word >> 48),
        }
    }
    if left_out.is_empty() {
        return slots;
    }
    let kept: Vec<(u32, Mac)> = own
        .iter()
        .filter(|(ifindex, _)| !left_out.contains(&(arrival(0, *ifindex) >> 48)))
        .copied()
        .collect();
    own_macs(&kept)
}

/// `own` with an entry that no frame has before those of each interface: the program compares the first
/// one at once, and takes the chain for frames to the others.
pub fn behind_the_first(own: &[(u32, Mac)]) -> Vec<(u32, Mac)> {
    let interfaces: BTreeSet<u32> = own.iter().map(|(ifindex, _)| *ifindex).collect();
    let none = Mac([0; 6]);
    let firsts = interfaces.into_iter().map(|ifindex| (ifindex, none));
    firsts.chain(own.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_MACS: [u64; MAC_SLOTS as usize] = [0; MAC_SLOTS as usize];

    /// As the program looks: `None` for an interface that accepts every frame.
    fn is_own(slots: &[u64], ifindex: u32, mac: Mac) -> Option<bool> {
        let wanted = arrival(mac_to_u64(mac.0), ifindex);
        let found: Vec<u64> = (0..MAX_PROBE)
            .map(|distance| slots[mac_slot(ifindex + distance) as usize])
            .take_while(|word| *word != 0)
            .filter(|word| word >> 48 == wanted >> 48)
            .collect();
        (!found.is_empty()).then(|| found.contains(&wanted))
    }

    #[test]
    fn an_interfaces_own_mac_is_in_its_home_slot() {
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        let slots = own_macs(&[(3, mac(1)), (3, mac(2)), (67, mac(1)), (4, mac(3))]);
        assert_eq!(slots[3], arrival(mac_to_u64(mac(1).0), 3));
        for (ifindex, last, expected) in [
            (3, 1, Some(true)),
            (3, 2, Some(true)),
            (3, 3, Some(false)),
            (67, 1, Some(true)),
            (67, 2, Some(false)),
            (4, 3, Some(true)),
            (9, 1, None),
        ] {
            assert_eq!(
                is_own(&slots, ifindex, mac(last)),
                expected,
                "{ifindex} {last}"
            );
        }
    }

    #[test]
    fn behind_the_first_no_frame_is_known_at_once_and_each_as_before() {
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        let own = [(3, mac(1)), (3, mac(2)), (4, mac(3))];
        let slots = own_macs(&behind_the_first(&own));
        for (ifindex, mac) in own {
            let word = arrival(mac_to_u64(mac.0), ifindex);
            assert_ne!(slots[mac_slot(ifindex) as usize], word);
            assert_eq!(is_own(&slots, ifindex, mac), Some(true));
        }
        assert_eq!(is_own(&slots, 3, mac(3)), Some(false));
        assert_eq!(is_own(&slots, 9, mac(1)), None);
    }

    #[test]
    fn without_an_address_nothing_is_looked_at_and_with_nat_everything() {
        assert_eq!(of([], [], false, NO_MACS).bits, [0; 256]);
        assert_eq!(of([], [], true, NO_MACS).bits, [IPV4 | IPV6; 256]);
    }

    proptest! {
        #[test]
        fn no_frame_for_this_box_is_taken_for_anothers(
            own in proptest::collection::vec((1..300_u32, any::<[u8; 6]>()), 0..100),
        ) {
            let own: Vec<(u32, Mac)> = own.into_iter().map(|(index, mac)| (index, Mac(mac))).collect();
            let slots = own_macs(&own);
            for (ifindex, mac) in &own {
                prop_assert_ne!(is_own(&slots, *ifindex, *mac), Some(false));
            }
            if own.len() < 8 {
                prop_assert!(own.iter().all(|(ifindex, mac)| is_own(&slots, *ifindex, *mac).is_some()));
            }
        }

        #[test]
        fn every_address_is_let_through_and_no_other_last_byte(
            addresses in proptest::collection::vec(any::<IpAddr>(), 0..20),
            macs in proptest::collection::vec(any::<[u8; 6]>(), 0..20),
        ) {
            let nodes = macs.iter().map(|mac| Node { mac: mac_to_u64(*mac) });
            let filter = of(addresses.iter().copied(), nodes, false, NO_MACS);
            for last in 0..=u8::MAX {
                let from_node = macs.iter().any(|mac| mac[5] == last);
                let start = if from_node { NODE } else { 0 };
                let expected = addresses.iter().fold(start, |bits, address| match address {
                    IpAddr::V4(address) if address.octets()[3] == last => bits | IPV4,
                    IpAddr::V6(address) if address.octets()[15] == last => bits | IPV6,
                    _ => bits,
                });
                prop_assert_eq!(filter.bits[usize::from(last)], expected);
            }
        }
    }
}
