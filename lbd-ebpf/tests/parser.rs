//! The parser, on the host: any bytes, and agreement with another parser.
use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use lbd_ebpf::wire::{
    checksum::Sum,
    frame::Frame,
    parse::{Arp, Ipv4, Ipv6, Tcp, Transport, Unusable, ethertype, link, solicited},
};
use proptest::prelude::*;

/// What the program does with a frame, as far as parsing goes.
fn transport(frame: &[u8]) -> Option<Result<Transport, Unusable>> {
    let link = link(frame)?;
    match link.ethertype {
        ethertype::IPV4 => {
            Ipv4::at(frame, link.network).map(|ip| ip.transport(frame, link.network))
        }
        ethertype::IPV6 => {
            Ipv6::at(frame, link.network).map(|ip| ip.transport(frame, link.network))
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn what_is_found_lies_inside_the_frame(
        kind in prop_oneof![Just([8, 0]), Just([0x86, 0xdd]), Just([0x81, 0]), any::<[u8; 2]>()],
        first in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()],
        mut bytes in prop::collection::vec(any::<u8>(), 15..200),
    ) {
        bytes[12..14].copy_from_slice(&kind);
        bytes[14] = first;
        let frame = &bytes[..];
        if let Some(Ok(found)) = transport(frame) {
            prop_assert!(found.offset <= found.end && found.end <= frame.len());
            if let Some(tcp) = Tcp::at(frame, &found) {
                prop_assert!(tcp.header_length() >= 20);
                prop_assert!(found.offset + tcp.header_length() <= found.end);
            }
        }
        // These only have to come back.
        let _ = (Arp::at(frame, 14), solicited(frame, 14));
    }

    #[test]
    fn an_ipv4_segment_is_read_as_etherparse_reads_it(
        from in any::<[u8; 4]>(), to in any::<[u8; 4]>(),
        ports in any::<[u16; 2]>(), sequence in any::<u32>(),
        vlan in any::<bool>(), payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut frame = Vec::new();
        if vlan {
            let tagged = ethernet.single_vlan(7.try_into().unwrap());
            tagged.ipv4(from, to, 9).tcp(ports[0], ports[1], sequence, 9).syn()
                .write(&mut frame, &payload).unwrap();
        } else {
            ethernet.ipv4(from, to, 9).tcp(ports[0], ports[1], sequence, 9).syn()
                .write(&mut frame, &payload).unwrap();
        }
        let frame = &frame[..];
        let link = link(frame).unwrap();
        let ip = Ipv4::at(frame, link.network).unwrap();
        prop_assert_eq!(ip.source(), u32::from_ne_bytes(from));
        prop_assert_eq!(ip.destination(), u32::from_ne_bytes(to));
        let found = ip.transport(frame, link.network).unwrap();
        prop_assert_eq!(found.end, frame.len());
        let tcp = Tcp::at(frame, &found).unwrap();
        prop_assert_eq!([tcp.source_port_be(), tcp.destination_port_be()], ports.map(u16::to_be));
        prop_assert_eq!((tcp.sequence(), tcp.flags()), (sequence, 2));
    }

    #[test]
    fn sums_are_those_of_etherparse(
        from in any::<[u8; 4]>(), to in any::<[u8; 4]>(), ttl in any::<u8>(),
    ) {
        let mut frame = Vec::new();
        PacketBuilder::ipv4(from, to, ttl).tcp(1, 2, 3, 4).write(&mut frame, &[]).unwrap();
        let headers = PacketHeaders::from_ip_slice(&frame).unwrap();
        let Some(NetHeaders::Ipv4(ip, _)) = headers.net else {
            return Err(TestCaseError::fail("not IPv4"));
        };
        let mut sum = Sum::default();
        for at in (0..20).step_by(4).filter(|at| *at != 8) {
            sum = sum.add_u32(u32::from_ne_bytes(frame[at..at + 4].try_into().unwrap()));
        }
        sum = sum.add_u16(u16::from_ne_bytes([frame[8], frame[9]]));
        prop_assert_eq!(sum.finish(), ip.header_checksum.to_be());
        prop_assert!(matches!(headers.transport, Some(TransportHeader::Tcp(_))));
    }
}

#[test]
fn a_window_never_reaches_beyond_the_frame() {
    let frame = [0_u8; 20];
    assert!(frame[..].window::<20>(0).is_some());
    assert!(frame[..].window::<20>(1).is_none());
    assert!(frame[..].window::<4>(usize::MAX).is_none());
    assert!(!frame[..].is_empty() && Frame::len(&frame[..]) == 20);
}
