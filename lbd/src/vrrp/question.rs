//! Frames that ask a box whether it is there.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::announce::{
    ARP_HEAD, ARP_REQUEST, BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV6, NEXT_HEADER_ICMPV6, ethernet,
};
use super::checksum::Sum;
use crate::units::Mac;

const NEIGHBOR_SOLICITATION: u8 = 135;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;

/// An ARP request or a neighbour solicitation for `address`, from `own` at `mac`. `None` when the
/// two are not of one family.
///
/// The kernel of the box that has the address answers it, regardless of its daemons, and
/// [`super::announce::parse_claim`] reads the answer.
#[must_use]
pub fn question(address: IpAddr, own: IpAddr, mac: Mac) -> Option<Vec<u8>> {
    match (address, own) {
        (IpAddr::V4(address), IpAddr::V4(own)) => Some(arp_request(address, own, mac)),
        (IpAddr::V6(address), IpAddr::V6(own)) => Some(solicitation(address, own, mac)),
        _ => None,
    }
}

fn arp_request(address: Ipv4Addr, own: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    ethernet(&mut frame, BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend(ARP_HEAD);
    frame.extend(ARP_REQUEST);
    frame.extend(mac.0);
    frame.extend(own.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// To the solicited-node group (RFC 4291, 2.7.1), whose link-layer address ends as the group does
/// (RFC 2464, section 7).
fn solicitation(address: Ipv6Addr, own: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&[a, b, c]);
    let group = Ipv6Addr::from(group);
    let mut icmp = Vec::with_capacity(32);
    icmp.extend([NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
    icmp.extend(address.octets());
    icmp.extend([OPTION_SOURCE_LINK_LAYER, 1]);
    icmp.extend(mac.0);
    let checksum = Sum::default()
        .add(&icmp)
        .add_pseudo(own.into(), group.into(), NEXT_HEADER_ICMPV6, icmp.len())
        .complement();
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Vec::with_capacity(86);
    ethernet(
        &mut frame,
        Mac([0x33, 0x33, 0xff, a, b, c]),
        mac,
        ETHERTYPE_IPV6,
    );
    frame.extend([0x60, 0, 0, 0, 0, 32, NEXT_HEADER_ICMPV6, 255]);
    frame.extend(own.octets());
    frame.extend(group.octets());
    frame.extend(icmp);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::announce::parse_claim;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    #[test]
    fn an_arp_request_claims_the_askers_own_address_and_no_other() {
        let frame = question([192, 0, 2, 11].into(), [192, 0, 2, 12].into(), MAC).unwrap();
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[38..], [192, 0, 2, 11]);
        let claim = parse_claim(&frame).unwrap();
        assert_eq!(claim.address, IpAddr::from([192, 0, 2, 12]));
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_the_address_with_a_good_checksum() {
        let address: Ipv6Addr = "fe80::1:2:3:4455".parse().unwrap();
        let own: Ipv6Addr = "fe80::12".parse().unwrap();
        let frame = question(address.into(), own.into(), MAC).unwrap();
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 3, 0x44, 0x55]);
        let (header, icmp) = frame[14..].split_at(40);
        let group: Ipv6Addr = "ff02::1:ff03:4455".parse().unwrap();
        assert_eq!(header[7], 255, "the hop limit");
        assert_eq!(header[8..24], own.octets());
        assert_eq!(header[24..], group.octets());
        assert_eq!(icmp[0], NEIGHBOR_SOLICITATION);
        assert_eq!(icmp[8..24], address.octets());
        let proof = Sum::default()
            .add(icmp)
            .add_pseudo(own.into(), group.into(), NEXT_HEADER_ICMPV6, icmp.len())
            .complement();
        assert_eq!(proof, 0);
    }

    #[test]
    fn a_family_that_this_box_has_not_is_not_asked() {
        assert_eq!(
            question([192, 0, 2, 11].into(), Ipv6Addr::LOCALHOST.into(), MAC),
            None
        );
    }
}
