//! `CONCERNS`: which frames the program looks at twice.
use std::net::IpAddr;

use lbd_common::{
    concerns::{Concerns, IPV4, IPV6, NODE},
    node::Node,
};

/// The section of the object that holds the variable; a pin's name may have no dot.
pub const SECTION: &str = ".bss.concerns";

/// The filter that lets frames to `addresses` and from `nodes` through, and with `nat` those to
/// everybody: a `nat` backend's replies are for its clients.
pub fn of(
    addresses: impl IntoIterator<Item = IpAddr>,
    nodes: impl IntoIterator<Item = Node>,
    nat: bool,
) -> Concerns {
    let everybody = if nat { IPV4 | IPV6 } else { 0 };
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
    Concerns { bits }
}

#[cfg(test)]
mod tests {
    use lbd_common::node::mac_to_u64;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_an_address_nothing_is_looked_at_and_with_nat_everything() {
        assert_eq!(of([], [], false).bits, [0; 256]);
        assert_eq!(of([], [], true).bits, [IPV4 | IPV6; 256]);
    }

    proptest! {
        #[test]
        fn every_address_is_let_through_and_no_other_last_byte(
            addresses in proptest::collection::vec(any::<IpAddr>(), 0..20),
            macs in proptest::collection::vec(any::<[u8; 6]>(), 0..20),
        ) {
            let nodes = macs.iter().map(|mac| Node { mac: mac_to_u64(*mac) });
            let filter = of(addresses.iter().copied(), nodes, false);
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
