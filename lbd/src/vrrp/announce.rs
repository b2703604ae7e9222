//! Frames that move an address to its new master, and what a rival's look like.
//!
//! Whole Ethernet frames without padding, as a packet socket takes and gives them.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use crate::units::Mac;

pub(super) const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
pub(super) const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
pub(super) const BROADCAST: Mac = Mac([0xff; 6]);
/// `ff02::1` as a link-layer address (RFC 2464, section 7).
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Ethernet, IPv4, their lengths: the start of every ARP packet here (RFC 826).
pub(super) const ARP_HEAD: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];
pub(super) const ARP_REQUEST: [u8; 2] = [0, 1];

pub(super) const NEXT_HEADER_ICMPV6: u8 = 58;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Override: replace what the cache holds (RFC 4861, 4.4).
const FLAG_OVERRIDE: u8 = 0x20;
const OPTION_TARGET_LINK_LAYER: u8 = 2;

const ETHERNET_BYTES: usize = 14;
const IPV6_BYTES: usize = 40;

/// Says that `address` is at `mac`: a gratuitous ARP request or an unsolicited neighbour
/// advertisement with the override flag (RFC 9568, 6.4.1).
#[must_use]
pub fn announcement(address: IpAddr, mac: Mac) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(address, mac),
        IpAddr::V6(address) => unsolicited_na(address, mac),
    }
}

/// The same in a frame of another box, which has yielded the address to the one at `mac`: the switch
/// must not learn that MAC at its port.
#[must_use]
pub fn announcement_by(address: IpAddr, mac: Mac, sender: Mac) -> Vec<u8> {
    let mut frame = announcement(address, mac);
    frame[6..12].copy_from_slice(&sender.0);
    frame
}

/// A gratuitous ARP request in keepalived's form: the target's MAC is all ones.
#[must_use]
pub fn gratuitous_arp(address: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    ethernet(&mut frame, BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend(ARP_HEAD);
    frame.extend(ARP_REQUEST);
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend(BROADCAST.0);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement to all nodes, with the override flag.
#[must_use]
pub fn unsolicited_na(address: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let mut icmp = Vec::with_capacity(32);
    icmp.extend([NEIGHBOR_ADVERTISEMENT, 0, 0, 0, FLAG_OVERRIDE, 0, 0, 0]);
    icmp.extend(address.octets());
    icmp.extend([OPTION_TARGET_LINK_LAYER, 1]);
    icmp.extend(mac.0);
    let checksum = Sum::default()
        .add(&icmp)
        .add_pseudo(
            address.into(),
            ALL_NODES.into(),
            NEXT_HEADER_ICMPV6,
            icmp.len(),
        )
        .complement();
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Vec::with_capacity(ETHERNET_BYTES + IPV6_BYTES + icmp.len());
    ethernet(&mut frame, ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, 32, NEXT_HEADER_ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(icmp);
    frame
}

pub(super) fn ethernet(frame: &mut Vec<u8>, destination: Mac, source: Mac, ethertype: [u8; 2]) {
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(ethertype);
}

/// A host's claim, heard on the wire, that it has an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddressClaim {
    /// The claimed address.
    pub address: IpAddr,
    /// Who has it, they say.
    pub mac: Mac,
}

/// Reads a claim from an Ethernet frame without VLAN tag (the kernel takes it off): the sender of
/// any ARP packet, the target of a neighbour advertisement. Anything else, and anything broken, is
/// `None`; ARP probes (RFC 5227) claim nothing.
#[must_use]
pub fn parse_claim(frame: &[u8]) -> Option<AddressClaim> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET_BYTES)?;
    match [ethernet[12], ethernet[13]] {
        ETHERTYPE_ARP => parse_arp(packet),
        ETHERTYPE_IPV6 => parse_na(packet, Mac(*ethernet[6..].first_chunk()?)),
        _ => None,
    }
}

fn parse_arp(packet: &[u8]) -> Option<AddressClaim> {
    let packet: &[u8; 28] = packet.first_chunk()?;
    if packet[..6] != ARP_HEAD {
        return None;
    }
    let mac = Mac(*packet[8..].first_chunk()?);
    let address = Ipv4Addr::from(*packet[14..].first_chunk::<4>()?);
    if address.is_unspecified() {
        return None;
    }
    Some(AddressClaim {
        address: address.into(),
        mac,
    })
}

fn parse_na(packet: &[u8], sender: Mac) -> Option<AddressClaim> {
    let (header, rest) = packet.split_first_chunk::<IPV6_BYTES>()?;
    // Hop limit 255: it comes from this link (RFC 4861, 7.1.2).
    if header[0] >> 4 != 6 || header[6] != NEXT_HEADER_ICMPV6 || header[7] != 255 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let icmp = rest.get(..length)?;
    if icmp.len() < 24 || icmp[0] != NEIGHBOR_ADVERTISEMENT || icmp[1] != 0 {
        return None;
    }
    let source = Ipv6Addr::from(*header[8..].first_chunk::<16>()?);
    let destination = Ipv6Addr::from(*header[24..].first_chunk::<16>()?);
    let proof = Sum::default()
        .add(icmp)
        .add_pseudo(
            source.into(),
            destination.into(),
            NEXT_HEADER_ICMPV6,
            length,
        )
        .complement();
    if proof != 0 {
        return None;
    }
    let address = Ipv6Addr::from(*icmp[8..].first_chunk::<16>()?);
    let mac = target_link_layer(&icmp[24..]).unwrap_or(sender);
    Some(AddressClaim {
        address: address.into(),
        mac,
    })
}

/// The target link-layer address option of RFC 4861 4.6.1.
fn target_link_layer(mut options: &[u8]) -> Option<Mac> {
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        // A length of 0 is no option and would never end (RFC 4861, 4.6).
        if option.is_empty() {
            return None;
        }
        if kind == OPTION_TARGET_LINK_LAYER {
            return option.get(2..)?.first_chunk().map(|mac| Mac(*mac));
        }
        options = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = Mac([2, 0x99, 0, 0, 0, 1]);

    fn addresses() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (1..=u32::MAX).prop_map(|a| IpAddr::V4(a.into())),
            any::<u128>().prop_map(|a| IpAddr::V6(a.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_announced_reads_as_a_claim(address in addresses(), mac in any::<[u8; 6]>()) {
            let mac = Mac(mac);
            let claim = parse_claim(&announcement(address, mac));
            prop_assert_eq!(claim, Some(AddressClaim { address, mac }));
        }

        #[test]
        fn no_frame_panics(frame in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse_claim(&frame);
        }

        #[test]
        fn no_damaged_announcement_panics_or_names_another_address(
            address in addresses(), at in 0usize..86, bit in 0u8..8, cut in 0usize..87,
        ) {
            let mut frame = announcement(address, MAC);
            let at = at % frame.len();
            frame[at] ^= 1 << bit;
            frame.truncate(cut);
            if let Some(claim) = parse_claim(&frame) && address.is_ipv6() {
                prop_assert_eq!(claim.address, address);
            }
        }
    }

    #[test]
    fn what_a_loser_announces_names_the_winner_in_a_frame_of_its_own() {
        let (winner, loser) = (MAC, Mac([2, 0x99, 0, 0, 0, 2]));
        for address in [
            IpAddr::from([192, 0, 2, 25]),
            "2001:db8::25".parse().unwrap(),
        ] {
            let frame = announcement_by(address, winner, loser);
            assert_eq!(frame[6..12], loser.0);
            let claim = parse_claim(&frame);
            assert_eq!(
                claim,
                Some(AddressClaim {
                    address,
                    mac: winner
                })
            );
        }
    }

    #[test]
    fn a_probe_claims_nothing() {
        let probe = gratuitous_arp(Ipv4Addr::UNSPECIFIED, MAC);
        assert_eq!(parse_claim(&probe), None);
    }

    #[test]
    fn an_advertisement_that_crossed_a_router_claims_nothing() {
        let mut frame = unsolicited_na("fe80::50".parse().unwrap(), MAC);
        frame[ETHERNET_BYTES + 7] = 254;
        assert_eq!(parse_claim(&frame), None);
    }

    #[test]
    fn an_option_of_length_zero_ends_the_search() {
        assert_eq!(target_link_layer(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            target_link_layer(&[1, 1, 0, 0, 0, 0, 0, 0, 2, 1, 1, 2, 3, 4, 5, 6]),
            Some(Mac([1, 2, 3, 4, 5, 6]))
        );
    }
}
