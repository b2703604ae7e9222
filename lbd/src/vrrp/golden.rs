//! What keepalived 2.2.7 sent, byte for byte: VRID 51, priority 150, then 0 as it stopped.
use std::net::IpAddr;

use proptest::prelude::*;

use super::advert::fill_checksum;
use super::announce::{announcement, parse_claim};
use super::{Addresses, Advert, ChecksumForm, GROUP_V4, GROUP_V6, Interval, Parsed, Received};
use crate::units::{Mac, Priority};

const V4: &[u8] = include_bytes!("testdata/keepalived-v4.pcap");
const V6: &[u8] = include_bytes!("testdata/keepalived-v6.pcap");
const MAC: Mac = Mac([2, 0x99, 0, 0, 0, 1]);

/// The frames of a little-endian pcap file of Ethernet.
fn frames(pcap: &[u8]) -> Vec<&[u8]> {
    let word = |at: usize| u32::from_le_bytes(*pcap[at..].first_chunk().unwrap()) as usize;
    assert_eq!(word(0), 0xa1b2_c3d4, "a pcap file");
    assert_eq!(word(20), 1, "Ethernet");
    let mut frames = Vec::new();
    let mut at = 24;
    while at < pcap.len() {
        let length = word(at + 8);
        frames.push(&pcap[at + 16..][..length]);
        at += 16 + length;
    }
    frames
}

fn received(frame: &[u8]) -> Option<Received<'_>> {
    let ip = &frame[14..];
    match [frame[12], frame[13]] {
        [0x08, 0x00] if ip[9] == super::PROTOCOL => Some(Received {
            source: IpAddr::from(*ip[12..].first_chunk::<4>()?),
            destination: IpAddr::from(*ip[16..].first_chunk::<4>()?),
            ttl: ip[8],
            payload: &ip[20..],
        }),
        [0x86, 0xdd] if ip[6] == super::PROTOCOL => Some(Received {
            source: IpAddr::from(*ip[8..].first_chunk::<16>()?),
            destination: IpAddr::from(*ip[24..].first_chunk::<16>()?),
            ttl: ip[7],
            payload: &ip[40..],
        }),
        _ => None,
    }
}

/// Reads every advert of a capture, emits it again and compares; returns the priorities.
fn adverts(pcap: &[u8], group: IpAddr, source: IpAddr, addresses: &Addresses) -> Vec<u8> {
    let mut priorities = Vec::new();
    for packet in frames(pcap).into_iter().filter_map(received) {
        assert_eq!(packet.destination, group);
        assert_eq!(packet.source, source);
        let Parsed {
            advert,
            checksum,
            trailer,
        } = Advert::parse(&packet, 51).unwrap();
        assert_eq!(checksum, ChecksumForm::WithPseudoHeader);
        assert_eq!(trailer, None);
        assert_eq!(advert.interval, Interval::DEFAULT);
        assert_eq!(advert.addresses, *addresses);
        let mut bytes = Vec::new();
        advert.emit(&mut bytes);
        fill_checksum(&mut bytes, advert.emitted_bytes(), source, group, checksum);
        assert_eq!(bytes, packet.payload);
        priorities.push(advert.priority);
    }
    assert_eq!(priorities.last(), Some(&Priority::STOPPING));
    priorities.into_iter().map(|p| p.0).collect()
}

#[test]
fn adverts_of_keepalived_are_read_and_written_as_it_does() {
    let v4 = Addresses::V4(vec!["10.99.0.50".parse().unwrap()]);
    let priorities = adverts(V4, GROUP_V4.into(), "10.99.0.1".parse().unwrap(), &v4);
    assert_eq!(priorities, [150, 150, 150, 150, 0]);
    let v6 = Addresses::V6(vec![
        "fe80::50".parse().unwrap(),
        "fd99::50".parse().unwrap(),
    ]);
    let source = "fe80::99:ff:fe00:1".parse().unwrap();
    let priorities = adverts(V6, GROUP_V6.into(), source, &v6);
    assert_eq!(priorities, [150, 150, 150, 150, 0]);
}

#[test]
fn announcements_are_those_of_keepalived() {
    let mut seen = Vec::new();
    for frame in [V4, V6].into_iter().flat_map(frames) {
        if let Some(claim) = parse_claim(frame) {
            assert_eq!(claim.mac, MAC);
            assert_eq!(announcement(claim.address, MAC), frame);
            seen.push(claim.address.to_string());
        }
    }
    assert_eq!(seen[..5], ["10.99.0.50"; 5]);
    assert_eq!(seen[5..], ["fe80::50", "fd99::50"].repeat(5));
}

proptest! {
    /// Changed in one byte, cut or lengthened: none is taken for an advert, save by the one chance in
    /// 65,535 that the other form of the checksum fits; and nothing panics.
    #[test]
    fn a_damaged_advert_of_keepalived_is_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        cut in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let frames: Vec<&[u8]> = [V4, V6].into_iter().flat_map(frames).collect();
        let packets: Vec<Received<'_>> = frames.iter().filter_map(|frame| received(frame)).collect();
        let packet = which.get(&packets);
        let mut flipped = packet.payload.to_vec();
        flipped[at.index(packet.payload.len())] ^= flip;
        let parsed = Advert::parse(&Received { payload: &flipped, ..*packet }, 51);
        prop_assert!(parsed.is_err() || parsed.unwrap().checksum == ChecksumForm::MessageOnly);

        let short = &packet.payload[..cut.index(packet.payload.len())];
        let parsed = Advert::parse(&Received { payload: short, ..*packet }, 51);
        prop_assert!(parsed.is_err(), "cut to {} bytes", short.len());
        let long = [packet.payload, &more].concat();
        let parsed = Advert::parse(&Received { payload: &long, ..*packet }, 51);
        prop_assert!(parsed.is_err() || parsed.unwrap().trailer.is_some());

        let mut claim = which.get(&frames).to_vec();
        let index = at.index(claim.len());
        claim[index] ^= flip;
        let _ = parse_claim(&claim);
    }
}
