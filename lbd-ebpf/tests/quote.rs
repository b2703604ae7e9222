//! What ICMP errors quote and what headers are written, on the host: any bytes, and agreement with
//! another library.
use etherparse::{IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Header, PacketBuilder};
use lbd_ebpf::wire::{
    checksum::Sum,
    header::{Header, put_ipv4, put_ipv6},
    parse::{Transport, protocol},
    quote::{kind, quoted4, quoted6},
};
use proptest::prelude::*;

/// An ICMP message that begins with the frame.
fn icmp(frame: &[u8], family: u8) -> Transport {
    Transport {
        protocol: if family == 4 {
            protocol::ICMP
        } else {
            protocol::ICMPV6
        },
        offset: 0,
        end: frame.len(),
        is_part: false,
    }
}

fn words(octets: [u8; 16]) -> [u32; 4] {
    std::array::from_fn(|i| u32::from_ne_bytes(std::array::from_fn(|j| octets[4 * i + j])))
}

proptest! {
    #[test]
    fn what_is_quoted_lies_inside_the_message(
        first in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()],
        next in prop_oneof![Just(6_u8), Just(0), Just(44), Just(60), any::<u8>()],
        mut bytes in prop::collection::vec(any::<u8>(), 0..160),
        padding in 0_usize..20,
    ) {
        if bytes.len() > 17 {
            bytes[8] = first;
            (bytes[14], bytes[17]) = (next, next);
        }
        let end = bytes.len();
        bytes.extend(vec![0; padding]);
        let frame = &bytes[..];
        let message = Transport { end, ..icmp(frame, 4) };
        prop_assert_eq!(kind(frame, &message).is_some(), end >= 8);
        if let Some(quoted) = quoted4(frame, &message) {
            prop_assert!(quoted.network == 8 && quoted.transport >= 28 && quoted.transport + 8 <= end);
        }
        if let Some(quoted) = quoted6(frame, &message) {
            prop_assert!(quoted.network == 8 && quoted.transport >= 48 && quoted.transport + 8 <= end);
        }
    }

    #[test]
    fn eight_bytes_of_tcp_name_the_session_and_seven_do_not(
        from in any::<[u8; 4]>(), to in any::<[u8; 4]>(), ports in any::<[u16; 2]>(),
        options in 0_usize..=10,
    ) {
        let mut packet = Vec::new();
        PacketBuilder::ip(etherparse::IpHeaders::Ipv4(
            {
                let mut ip = Ipv4Header::new(0, 9, IpNumber::TCP, from, to).unwrap();
                ip.options = vec![1; 4 * options].as_slice().try_into().unwrap();
                ip
            },
            Ipv4Extensions::default(),
        ))
        .tcp(ports[0], ports[1], 1, 2)
        .write(&mut packet, &[])
        .unwrap();
        let quote = 20 + 4 * options + 8;
        let message = [&[3, 4, 0, 0, 0, 0, 0, 0], &packet[..quote]].concat();
        let quoted = quoted4(&message[..], &icmp(&message, 4)).unwrap();
        prop_assert_eq!(quoted.source, u32::from_ne_bytes(from));
        prop_assert_eq!(quoted.destination, u32::from_ne_bytes(to));
        let found = [quoted.source_port_be, quoted.destination_port_be];
        prop_assert_eq!(found, ports.map(u16::to_be));
        let short = &message[..message.len() - 1];
        prop_assert_eq!(quoted4(short, &icmp(short, 4)), None);
    }

    #[test]
    fn eight_bytes_of_tcp_in_ipv6_do_too(
        from in any::<[u8; 16]>(), to in any::<[u8; 16]>(), ports in any::<[u16; 2]>(),
    ) {
        let mut packet = Vec::new();
        PacketBuilder::ipv6(from, to, 9)
            .tcp(ports[0], ports[1], 1, 2)
            .write(&mut packet, &[])
            .unwrap();
        let message = [&[2, 0, 0, 0, 0, 0, 5, 0], &packet[..48]].concat();
        let quoted = quoted6(&message[..], &icmp(&message, 6)).unwrap();
        prop_assert_eq!((quoted.source, quoted.destination), (words(from), words(to)));
        let found = [quoted.source_port_be, quoted.destination_port_be];
        prop_assert_eq!(found, ports.map(u16::to_be));
        let short = &message[..message.len() - 1];
        prop_assert_eq!(quoted6(short, &icmp(short, 6)), None);
    }

    #[test]
    fn a_sum_goes_on_where_it_was_handed_over(words in prop::collection::vec(
        prop_oneof![Just(u32::MAX), Just(0), any::<u32>()], 0..40,
    ), cut in 0_usize..40) {
        let cut = cut.min(words.len());
        let add = |sum: Sum, words: &[u32]| words.iter().fold(sum, |sum, word| sum.add_u32(*word));
        let handed_over = Sum::from_partial(add(Sum::new(), &words[..cut]).partial());
        let whole = add(Sum::new(), &words).finish();
        prop_assert_eq!(add(handed_over, &words[cut..]).finish(), whole);
    }

    #[test]
    fn headers_are_read_by_etherparse_as_they_were_meant(
        from in any::<[u8; 16]>(), to in any::<[u8; 16]>(),
        class in any::<u8>(), payload in 0_u16..65_000, next in any::<u8>(), label in 0_u32..1 << 20,
    ) {
        let mut head = [0xff; 20];
        let [source, ..] = words(from);
        let [destination, ..] = words(to);
        put_ipv4(&mut head, &Header { class, payload, protocol: next, source, destination });
        let (ip, rest) = Ipv4Header::from_slice(&head).unwrap();
        prop_assert!(rest.is_empty() && ip.dont_fragment && !ip.more_fragments);
        prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        prop_assert_eq!((ip.dscp.value() << 2) | ip.ecn.value(), class);
        prop_assert_eq!((ip.total_len, ip.time_to_live), (payload + 20, 64));
        prop_assert_eq!((ip.protocol, ip.identification), (IpNumber(next), 0));
        prop_assert_eq!((&ip.source[..], &ip.destination[..]), (&from[..4], &to[..4]));

        let mut head = [0xff; 40];
        let header = Header { class, payload, protocol: next, source: words(from), destination: words(to) };
        put_ipv6(&mut head, &header, label);
        let (ip, _) = Ipv6Header::from_slice(&head).unwrap();
        prop_assert_eq!((ip.traffic_class, ip.flow_label.value()), (class, label));
        prop_assert_eq!((ip.payload_length, ip.hop_limit), (payload, 64));
        prop_assert_eq!((ip.next_header, ip.source, ip.destination), (IpNumber(next), from, to));
    }
}
