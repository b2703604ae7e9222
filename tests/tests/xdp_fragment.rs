//! Packets that were cut up on their way, part by part.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lbd_common::{counters::Reason, flow::state};
use lbd_tests::xdp::{
    packet::{ACK, NODE_MAC, OUR_MAC, PORT, PSH, SYN, Segment, VIP4, v4, v6},
    tunnel::in4,
    world::{A, B, LOCAL, TUNNEL4, VIP_IDS, World, backend_mac, verdict},
};

const MORE: u16 = 0x2000;

/// A part of an IPv4 packet: its identification, and flags with the offset in units of 8 bytes.
fn part4(segment: &Segment, identification: u16, field: u16) -> Vec<u8> {
    let mut frame = segment.bytes();
    frame[18..20].copy_from_slice(&identification.to_be_bytes());
    frame[20..22].copy_from_slice(&field.to_be_bytes());
    frame[24..26].fill(0);
    let sum: u32 = frame[14..34]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A part of an IPv6 packet: its identification, and the offset with the flag.
fn part6(segment: &Segment, identification: u32, field: u16) -> Vec<u8> {
    let mut frame = segment.bytes();
    let length = u16::from_be_bytes([frame[18], frame[19]]) + 8;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    let mut header = vec![frame[20], 0];
    header.extend(field.to_be_bytes());
    header.extend(identification.to_be_bytes());
    frame[20] = 44;
    frame.splice(54..54, header);
    frame
}

fn first4(identification: u16) -> Vec<u8> {
    part4(&v4(ACK | PSH).payload(1000), identification, MORE)
}

fn later4(identification: u16) -> Vec<u8> {
    part4(&v4(ACK | PSH).payload(400), identification, 128)
}

fn sent_to(mut frame: Vec<u8>, backend: u16) -> Vec<u8> {
    frame[..6].copy_from_slice(&backend_mac(backend));
    frame[6..12].copy_from_slice(&OUR_MAC);
    frame
}

fn with_flow(world: &mut World, backend: u16, flow: u8) {
    world.reset().unwrap();
    world.flow(backend, flow, 1, 0).unwrap();
}

fn counted(world: &mut World, reason: Reason) -> u64 {
    world.counter(reason).unwrap()
}

#[test]
fn later_parts_follow_the_first_of_a_proven_session() {
    let Some(mut world) = World::load("later_parts_follow_the_first_of_a_proven_session") else {
        return;
    };
    let v6_parts = |identification| {
        (
            part6(&v6(ACK | PSH).payload(1000), identification, 1),
            part6(&v6(ACK | PSH).payload(400), identification, 128 << 3),
        )
    };
    for backend in [A, B] {
        for flow in [state::ESTABLISHED, state::CLOSING] {
            for (first, later) in [(first4(7), later4(7)), v6_parts(0x0102_0304)] {
                with_flow(&mut world, backend, flow);
                let (action, out) = world.run(&first).unwrap();
                assert_eq!((action, out), (verdict::TX, sent_to(first, backend)));
                // Each of them, in any order.
                for _ in 0..2 {
                    let (action, out) = world.run(&later).unwrap();
                    assert_eq!(
                        (action, out),
                        (verdict::TX, sent_to(later.clone(), backend))
                    );
                }
                assert_eq!(counted(&mut world, Reason::FragmentFollowed), 2);
                assert_eq!(world.stats(backend).unwrap().packets, 3);
            }
        }
    }
    with_flow(&mut world, LOCAL, state::ESTABLISHED);
    for frame in [first4(8), later4(8)] {
        let (action, out) = world.run(&frame).unwrap();
        assert_eq!((action, out), (verdict::PASS, frame));
    }
}

#[test]
fn a_later_part_has_its_own_packets_first_part_alone() {
    let Some(mut world) = World::load("a_later_part_has_its_own_packets_first_part_alone") else {
        return;
    };
    with_flow(&mut world, B, state::ESTABLISHED);
    world.run(&first4(7)).unwrap();
    let stranger = v4(ACK | PSH)
        .from4(Ipv4Addr::new(198, 51, 100, 8))
        .payload(400);
    let over_the_header = part4(&v4(ACK | PSH).payload(400), 7, 1);
    for frame in [later4(9), part4(&stranger, 7, 128), over_the_header] {
        assert_eq!(world.run(&frame).unwrap().0, verdict::DROP);
    }
    assert_eq!(counted(&mut world, Reason::DropFragment), 3);
    assert_eq!(world.run(&later4(7)).unwrap().0, verdict::TX);
}

#[test]
fn only_proven_sessions_are_noted_so_spoofed_parts_push_none_out() {
    let name = "only_proven_sessions_are_noted_so_spoofed_parts_push_none_out";
    let Some(mut world) = World::load(name) else {
        return;
    };
    for flow in [
        None,
        Some(state::HALF_OPEN),
        Some(state::UNPROVEN),
        Some(state::ENDED),
    ] {
        world.reset().unwrap();
        if let Some(flow) = flow {
            world.flow(B, flow, 1, 0).unwrap();
        }
        // An id of its own: what an earlier test noted holds for some seconds.
        let identification = 100 + u16::from(flow.unwrap_or(0));
        world.run(&first4(identification)).unwrap();
        let (action, _) = world.run(&later4(identification)).unwrap();
        assert_eq!(action, verdict::DROP, "{flow:?}");
    }
    with_flow(&mut world, B, state::ESTABLISHED);
    world.run(&first4(7)).unwrap();
    for nth in 0..20_000_u32 {
        let [_, high, middle, low] = nth.to_be_bytes();
        let stranger = v4(ACK | PSH).from4(Ipv4Addr::new(203, 0, high ^ middle, low));
        let stranger = stranger.from_port(40_001).payload(64);
        world.run(&part4(&stranger, 7, MORE)).unwrap();
    }
    assert_eq!(world.run(&later4(7)).unwrap().0, verdict::TX);
}

#[test]
fn a_syn_in_parts_begins_nothing() {
    let Some(mut world) = World::load("a_syn_in_parts_begins_nothing") else {
        return;
    };
    world.reset().unwrap();
    let frames = [
        part4(&v4(SYN).payload(8), 7, MORE),
        part6(&v6(SYN).payload(8), 7, 1),
    ];
    for frame in frames {
        assert_eq!(world.run(&frame).unwrap().0, verdict::DROP);
    }
    assert_eq!(counted(&mut world, Reason::DropFragment), 2);
    assert!(world.client_flows(4).unwrap().is_empty());
    assert!(world.client_flows(6).unwrap().is_empty());
}

#[test]
fn what_is_no_part_of_tcp_goes_up() {
    let Some(mut world) = World::load("what_is_no_part_of_tcp_goes_up") else {
        return;
    };
    world.reset().unwrap();
    // A long ping and a long answer of a DNS server.
    for protocol in [1, 17] {
        let of = |field| {
            let mut frame = part4(&v4(ACK).payload(400), 7, field);
            frame[23] = protocol;
            frame
        };
        for frame in [of(MORE), of(128)] {
            let (action, out) = world.run(&frame).unwrap();
            assert_eq!((action, out), (verdict::PASS, frame), "protocol {protocol}");
        }
    }
    assert_eq!(counted(&mut world, Reason::PassOtherService), 4);
}

#[test]
fn what_another_box_steered_goes_up_in_parts_too() {
    let Some(mut world) = World::load("what_another_box_steered_goes_up_in_parts_too") else {
        return;
    };
    world.reset().unwrap();
    let part = v4(ACK | PSH).from_mac(NODE_MAC).payload(400);
    let frame = part4(&part, 7, 128);
    let (action, out) = world.run(&frame).unwrap();
    assert_eq!((action, out), (verdict::PASS, frame));
    assert_eq!(counted(&mut world, Reason::PassFromNode), 1);
    // Out of a tunnel.
    let part = part4(&v4(ACK | PSH).payload(400), 7, 128);
    let (action, out) = world.run(&in4(part[14..].to_vec()).bytes()).unwrap();
    assert_eq!(action, verdict::PASS);
    assert_eq!(out[14..], part[14..]);
    let part = part6(&v6(ACK | PSH).payload(400), 7, 128 << 3);
    let (action, out) = world.run(&in4(part[14..].to_vec()).bytes()).unwrap();
    assert_eq!(action, verdict::PASS);
    assert_eq!(out[14..], part[14..]);
    assert_eq!(counted(&mut world, Reason::Decapsulated), 2);
}

#[test]
fn parts_go_into_the_tunnel_of_their_first_one() {
    let Some(mut world) = World::load("parts_go_into_the_tunnel_of_their_first_one") else {
        return;
    };
    with_flow(&mut world, TUNNEL4, state::ESTABLISHED);
    for frame in [first4(7), later4(7)] {
        let (action, out) = world.run(&frame).unwrap();
        assert_eq!(action, verdict::TX);
        assert_eq!(out[34..], frame[14..], "as it came, behind 20 bytes more");
    }
}

#[test]
fn parts_are_translated_to_the_backend_of_their_first_one() {
    let Some(mut world) = World::load("parts_are_translated_to_the_backend_of_their_first_one")
    else {
        return;
    };
    with_flow(&mut world, B, state::ESTABLISHED);
    let address = Ipv4Addr::new(192, 0, 2, 77);
    let services = [(SocketAddr::new(IpAddr::from(VIP4), PORT), VIP_IDS[0])];
    world.nat(B, address.into(), None, &services).unwrap();
    for frame in [first4(7), later4(7)] {
        let (action, out) = world.run(&frame).unwrap();
        assert_eq!(action, verdict::TX);
        assert_eq!(out[30..34], address.octets());
        let words = out[14..34].chunks(2);
        let sum: u32 = words
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        assert_eq!(
            (sum & 0xffff) + (sum >> 16),
            0xffff,
            "the IP header's sum is right"
        );
        assert_eq!(out[54..], frame[54..]);
    }
}
