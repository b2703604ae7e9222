//! `forwarding: ipip`, packet by packet: into the tunnel, too long for it, and out of it.
use std::collections::BTreeSet;

use lbd_common::{backend::state::UNRESOLVED, counters::Reason as C, director::flag};
use lbd_tests::xdp::{
    icmp::{Icmp, icmp4, icmp6},
    packet::{ACK, CLIENT4, CLIENT6, FIN, NODE_MAC, PSH, SYN, Segment, VIP6, v4, v6},
    row::{Flow, Given, Out, check, closing, half, open, row, unproven},
    tunnel::{OWN4, OWN6, PEER4, PEER6, in4, in6},
    world::{List, OTHER_INTERFACE, TUNNEL4, TUNNEL6, World, verdict},
};

fn on(flow: Flow) -> Given {
    Given::Flow(flow)
}

fn all_to(id: u16) -> Given {
    Given::Candidates(id, id)
}

/// Its next hop is on the other interface.
fn elsewhere(world: &mut World) -> anyhow::Result<()> {
    for id in [TUNNEL4, TUNNEL6] {
        world.change_backend(id, |backend| backend.ifindex = OTHER_INTERFACE)?;
    }
    Ok(())
}

#[test]
fn a_session_goes_into_the_tunnel_as_the_client_sent_it() {
    let Some(mut world) = World::load("a_session_goes_into_the_tunnel_as_the_client_sent_it")
    else {
        return;
    };
    let data = |bytes| v4(ACK | PSH).payload(bytes);
    let data6 = |bytes| v6(ACK | PSH).payload(bytes);
    #[rustfmt::skip]
    let rows = [
        row("a SYN, 4 in 4", v4(SYN), [all_to(TUNNEL4)], Out::Tunnel(TUNNEL4), [], half(TUNNEL4)),
        row("a SYN, 4 in 6", v4(SYN), [all_to(TUNNEL6)], Out::Tunnel(TUNNEL6), [], half(TUNNEL6)),
        row("a SYN, 6 in 4", v6(SYN), [all_to(TUNNEL4)], Out::Tunnel(TUNNEL4), [], half(TUNNEL4)),
        row("a SYN, 6 in 6", v6(SYN), [all_to(TUNNEL6)], Out::Tunnel(TUNNEL6), [], half(TUNNEL6)),
        row("data, 4 in 4", data(500), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("data, 4 in 6", data(500), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("data, 6 in 4", data6(501), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("data, 6 in 6", data6(501), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("a FIN", v4(FIN | ACK), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [C::FlowClosed], closing(TUNNEL4)),
        row("the client's first ACK", v6(ACK), [on(half(TUNNEL6))], Out::Tunnel(TUNNEL6), [C::FlowOpened], unproven(TUNNEL6)),
        row("4 in 4 behind a tag, which stays", data(9).tagged(&[7]), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("4 in 6 behind two tags", data(9).tagged(&[7, 8]), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("6 in 4 behind two tags", data6(9).tagged(&[7, 8]), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("6 in 6 behind a tag", data6(9).tagged(&[7]), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("on another interface", data(9), [on(open(TUNNEL4)), Given::Do(elsewhere)], Out::FarTunnel(TUNNEL4), [], open(TUNNEL4)),
        row("on another interface the tag goes", data(9).tagged(&[7]), [on(open(TUNNEL4)), Given::Do(elsewhere)], Out::FarTunnel(TUNNEL4), [], open(TUNNEL4)),
        row("on another interface both tags go, 6 in 6", data6(9).tagged(&[7, 8]), [on(open(TUNNEL6)), Given::Do(elsewhere)], Out::FarTunnel(TUNNEL6), [], open(TUNNEL6)),
        row("40 bytes of options stay inside", data(9).options(40), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("Ethernet padding stays outside", v4(ACK).padding(6), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("Ethernet padding, 4 in 6", v4(ACK).padding(6), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("class and ECN are copied, 4 in 6", v4(ACK).class(0xb9), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("class and ECN are copied, 6 in 4", v6(ACK).class(0xb9), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("class and ECN are copied, 6 in 6", v6(ACK).class(0xb9), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("just what fits, 4 in 4", data(1440), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [], open(TUNNEL4)),
        row("just what fits, 6 in 6", data6(1400), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [], open(TUNNEL6)),
        row("an ICMP error", icmp4(3, 4), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [C::IcmpSteered], open(TUNNEL4)),
        row("an ICMPv6 error, 6 in 4", icmp6(2, 0).tagged(&[7]), [on(open(TUNNEL4))], Out::Tunnel(TUNNEL4), [C::IcmpSteered], open(TUNNEL4)),
        row("an ICMP error, 4 in 6", icmp4(11, 0), [on(open(TUNNEL6))], Out::Tunnel(TUNNEL6), [C::IcmpSteered], open(TUNNEL6)),
        row("no MAC of the next hop yet", v4(ACK), [on(open(TUNNEL4)), Given::Is(TUNNEL4, UNRESOLVED)], Out::Drop, [C::DropUnresolved], open(TUNNEL4)),
    ];
    check(&mut world, rows);
}

#[test]
fn what_does_not_fit_is_told_to_the_client() {
    let Some(mut world) = World::load("what_does_not_fit_is_told_to_the_client") else {
        return;
    };
    let data = |bytes| v4(ACK | PSH).payload(bytes);
    let data6 = |bytes| v6(ACK | PSH).payload(bytes);
    // 576 and 1280 bytes of answer.
    let too_big = |mtu: u32, segment: &Segment| {
        Out::Tx(icmp4(3, 4).answer().rest(mtu).about(segment, 548).bytes())
    };
    let too_big6 = |mtu: u32, segment: &Segment, tags: &[u16]| {
        let answer: Icmp = icmp6(2, 0).answer().rest(mtu).about(segment, 1232);
        Out::Tx(answer.tagged(tags).bytes())
    };
    let small = Given::Do(|world| world.change_backend(TUNNEL4, |backend| backend.mtu = 1000));
    #[rustfmt::skip]
    let rows = [
        row("one byte too many, 4 in 4", data(1441), [on(open(TUNNEL4))], too_big(1480, &data(1441)), [C::IcmpTooBig], open(TUNNEL4)),
        row("one byte too many, 4 in 6", data(1421), [on(open(TUNNEL6))], too_big(1460, &data(1421)), [C::IcmpTooBig], open(TUNNEL6)),
        row("one byte too many, 6 in 4", data6(1421), [on(open(TUNNEL4))], too_big6(1480, &data6(1421), &[]), [C::IcmpTooBig], open(TUNNEL4)),
        row("one byte too many, 6 in 6", data6(1401), [on(open(TUNNEL6))], too_big6(1460, &data6(1401), &[]), [C::IcmpTooBig], open(TUNNEL6)),
        row("without \"don't fragment\": likewise", data(1441).dont_fragment(false), [on(open(TUNNEL4))], too_big(1480, &data(1441).dont_fragment(false)), [C::IcmpTooBig], open(TUNNEL4)),
        row("with options", data(1421).options(20), [on(open(TUNNEL4))], too_big(1480, &data(1421).options(20)), [C::IcmpTooBig], open(TUNNEL4)),
        row("an odd number of bytes in the middle of the quote", data(1451).options(4), [on(open(TUNNEL6))], too_big(1460, &data(1451).options(4)), [C::IcmpTooBig], open(TUNNEL6)),
        row("behind two tags, IPv6", data6(1421).tagged(&[7, 8]), [on(open(TUNNEL4))], too_big6(1480, &data6(1421), &[7, 8]), [C::IcmpTooBig], open(TUNNEL4)),
        row("through a smaller tunnel", data(961), [on(open(TUNNEL4)), small], too_big(1000, &data(961)), [C::IcmpTooBig], open(TUNNEL4)),
        row("a session without a flow", data(1441), [all_to(TUNNEL4)], too_big(1480, &data(1441)), [C::StatelessMidFlow, C::IcmpTooBig], None),
        row("an ICMP error is not answered with another", icmp4(3, 4).body([&data(1441).back().packet()[..], &[0; 40]].concat()), [on(open(TUNNEL4))], Out::Drop, [C::IcmpSteered, C::DropTooBig], open(TUNNEL4)),
    ];
    check(&mut world, rows);
}

#[test]
fn answers_have_a_rate() {
    let Some(mut world) = World::load("answers_have_a_rate") else {
        return;
    };
    world.reset().unwrap();
    let flow = open(TUNNEL4);
    world.flow(flow.backend, flow.state, flow.flags, 0).unwrap();
    let frame = v4(ACK).payload(1441).bytes();
    let begun = std::time::Instant::now();
    let frames = 50_000;
    for _ in 0..frames {
        let (action, _) = world.run(&frame).unwrap();
        assert!(action == verdict::TX || action == verdict::DROP);
    }
    // A unit of the program's clock is a little more than a second; one has begun, and one may begin
    // with each that passes.
    let units = 2 + begun.elapsed().as_secs();
    let cpus = u64::try_from(aya::util::nr_cpus().unwrap()).unwrap();
    let answered = world.counter(C::IcmpTooBig).unwrap();
    let held_back = world.counter(C::DropTooBig).unwrap();
    assert!(answered >= 1000, "{answered}");
    assert!(answered <= 1000 * units * cpus, "{answered} in {units}");
    assert_eq!(answered + held_back, frames);
}

#[test]
fn a_flow_label_is_a_sessions_own() {
    let Some(mut world) = World::load("a_flow_label_is_a_sessions_own") else {
        return;
    };
    world.reset().unwrap();
    world.candidates(TUNNEL6, TUNNEL6).unwrap();
    world.all_slots_alternate(TUNNEL6, TUNNEL6).unwrap();
    let mut labels = BTreeSet::new();
    for port in 1000..1100 {
        let mut label = |segment: Segment| {
            let (action, out) = world.run(&segment.from_port(port).bytes()).unwrap();
            assert_eq!(action, verdict::TX);
            [out[15] & 0xf, out[16], out[17]]
        };
        let first = label(v4(SYN));
        assert_eq!(first, label(v4(ACK).payload(50)));
        labels.insert(first);
    }
    assert!(labels.len() > 90, "{} labels of 100 sessions", labels.len());
}

#[test]
fn what_a_node_put_into_a_tunnel_is_taken_out() {
    let Some(mut world) = World::load("what_a_node_put_into_a_tunnel_is_taken_out") else {
        return;
    };
    let (syn, syn6) = (v4(SYN), v6(SYN));
    let out = |segment: &Segment| Out::PassChanged(segment.bytes());
    let tagged = |segment: Segment| Out::PassChanged(segment.tagged(&[7, 8]).bytes());
    let error = |icmp: Icmp| Out::PassChanged(icmp.bytes());
    let taken = [C::Decapsulated];
    #[rustfmt::skip]
    let rows = [
        row("4 in 4", in4(syn.packet()), [], out(&syn), taken, None),
        row("4 in 6", in6(syn.packet()), [], out(&syn), taken, None),
        row("6 in 4", in4(syn6.packet()), [], out(&syn6), taken, None),
        row("6 in 6", in6(syn6.packet()), [], out(&syn6), taken, None),
        row("data", in4(v4(ACK | PSH).payload(1400).packet()), [], out(&v4(ACK | PSH).payload(1400)), taken, None),
        row("behind two tags, which stay", in4(syn.packet()).tagged(&[7, 8]), [], tagged(v4(SYN)), taken, None),
        row("6 in 6 behind two tags", in6(syn6.packet()).tagged(&[7, 8]), [], tagged(v6(SYN)), taken, None),
        row("with inner options", in6(v4(ACK).options(40).packet()), [], out(&v4(ACK).options(40)), taken, None),
        row("it is not steered again, not by a flow", in4(v4(ACK).packet()), [on(open(1))], out(&v4(ACK)), taken, open(1)),
        row("on a backup, as everywhere", in4(syn.packet()), [Given::Backup], out(&syn), taken, None),
        row("from a node on the segment", in4(syn.packet()).between(NODE_MAC, [2, 0, 0, 0, 0, 0xd1]), [], out(&v4(SYN).from_mac(NODE_MAC)), taken, None),
        row("an ICMP error", in4(icmp4(3, 4).packet()), [], error(icmp4(3, 4)), taken, None),
        row("an ICMPv6 error, 6 in 4", in4(icmp6(2, 0).packet()), [], error(icmp6(2, 0)), taken, None),
        row("an ICMP error, 4 in 6", in6(icmp4(3, 4).packet()), [], error(icmp4(3, 4)), taken, None),
    ];
    check(&mut world, rows);
}

#[test]
fn nothing_else_is_taken_out_of_a_tunnel() {
    let Some(mut world) = World::load("nothing_else_is_taken_out_of_a_tunnel") else {
        return;
    };
    let (syn, syn6) = (v4(SYN).packet(), v6(SYN).packet());
    let other4 = v4(SYN).to4([192, 0, 2, 99].into()).packet();
    let other6 = v6(SYN).to6(OWN6).packet();
    let nested = in4(syn.clone()).to(lbd_tests::xdp::packet::VIP4).bytes()[14..].to_vec();
    let padded = [&syn[..], &[0; 8]].concat();
    #[rustfmt::skip]
    let rows = [
        row("a stranger's", in4(syn.clone()).from([203, 0, 113, 66]), [], Out::Drop, [C::DropTunnelStranger], None),
        row("a stranger's, IPv6", in6(syn6.clone()).from(lbd_tests::xdp::packet::CLIENT6), [], Out::Drop, [C::DropTunnelStranger], None),
        row("from this box's own address", in4(syn.clone()).from(OWN4), [], Out::Drop, [C::DropTunnelStranger], None),
        row("from the client", in6(syn.clone()).from(lbd_tests::xdp::packet::CLIENT6), [], Out::Drop, [C::DropTunnelStranger], None),
        row("for another box", in4(syn.clone()).to([192, 0, 2, 12]), [], Out::Pass, [], None),
        row("for another box, IPv6", in6(syn.clone()).to(PEER6), [], Out::Pass, [], None),
        row("for a peer", in4(syn.clone()).to(PEER4), [], Out::Pass, [], None),
        row("not for a VIP inside: the operator's own tunnel", in4(other4), [], Out::Pass, [], None),
        row("not for a VIP inside, IPv6", in6(other6), [], Out::Pass, [], None),
        row("another port of the VIP", in4(v4(SYN).to_port(80).packet()), [], Out::Pass, [C::PassOtherService], None),
        row("UDP inside", in6(v6(SYN).packet()).edit(60, &[17]), [], Out::Pass, [C::PassOtherService], None),
        row("a ping inside", in4(icmp4(8, 0).packet()), [], Out::Pass, [C::PassOtherService], None),
        row("a tunnel in the tunnel", in4(nested), [], Out::Pass, [C::PassOtherService], None),
        row("IPv6 said to be IPv4", in4(syn6.clone()).protocol(4), [], Out::Pass, [], None),
        row("IPv4 said to be IPv6", in6(syn.clone()).protocol(41), [], Out::Pass, [], None),
        row("another protocol", in4(syn.clone()).protocol(47), [], Out::Pass, [], None),
        row("a part of the outer packet", in4(syn.clone()).edit(20, &[0x20, 0]), [], Out::Pass, [], None),
        row("a later part of the outer packet", in4(syn.clone()).edit(20, &[0, 9]), [], Out::Pass, [], None),
        row("an outer length beyond the frame", in4(syn.clone()).edit(16, &[1, 0]), [], Out::Pass, [], None),
        row("an outer IPv6 length beyond the frame", in6(syn.clone()).edit(18, &[1, 0]), [], Out::Pass, [], None),
        row("half an inner IPv4 header", in4(syn.clone()).edit(16, &[0, 30]).cut(44), [], Out::Pass, [], None),
        row("half an inner IPv6 header", in4(syn6.clone()).edit(16, &[0, 50]).cut(64), [], Out::Pass, [], None),
        row("an outer packet that ends amid the inner one", in4(syn.clone()).edit(16, &[0, 50]), [], Out::Drop, [C::DropMalformed], None),
        row("half an inner TCP header", in4(syn.clone()).edit(16, &[0, 50]).cut(64), [], Out::Drop, [C::DropMalformed], None),
        row("an inner packet that ends in the padding", in6(padded).edit(56, &[0, 48]), [], Out::Drop, [C::DropMalformed], None),
        row("an inner TCP header of 16 bytes", in4(syn.clone()).edit(66, &[0x40]), [], Out::Drop, [C::DropMalformed], None),
        row("an inner IPv4 header of 16 bytes", in4(syn.clone()).edit(34, &[0x44]), [], Out::Drop, [C::DropMalformed], None),
        row("a part of an inner packet", in4(syn.clone()).edit(40, &[0x20, 0]), [], Out::Drop, [C::DropFragment], None),
        row("half an inner IPv6 fragment header", in6(syn6).edit(60, &[44]).edit(58, &[0, 4]).cut(98), [], Out::Pass, [], None),
    ];
    check(&mut world, rows);
}

#[test]
fn the_lists_are_for_what_comes_out_of_a_tunnel_too() {
    let Some(mut world) = World::load("the_lists_are_for_what_comes_out_of_a_tunnel_too") else {
        return;
    };
    let listed = Given::Director(|director| {
        director.role = 0;
        director.flags = flag::LISTS;
    });
    let deny = Given::Do(|world| {
        world.list(List::Deny, CLIENT4.into(), 24)?;
        world.list(List::Deny, CLIENT6.into(), 48)
    });
    let allow = Given::Do(|world| world.list(List::Allow, CLIENT4.into(), 32));
    let out = [C::Decapsulated];
    let denied = [C::Decapsulated, C::DropDenied];
    let odd = [C::Decapsulated, C::DropOddSource];
    #[rustfmt::skip]
    let rows = [
        row("a denied source, 4 in 4", in4(v4(SYN).packet()), [listed, deny], Out::Drop, denied, None),
        row("a denied source, 6 in 6", in6(v6(SYN).packet()), [listed, deny], Out::Drop, denied, None),
        row("allowed within what is denied", in4(v4(SYN).packet()), [listed, deny, allow], Out::PassChanged(v4(SYN).bytes()), out, None),
        row("not listed", in4(v4(SYN).packet()), [listed], Out::PassChanged(v4(SYN).bytes()), out, None),
        row("in mid-session the lists are not asked", in4(v4(ACK).packet()), [listed, deny], Out::PassChanged(v4(ACK).bytes()), out, None),
        row("an odd source", in4(v4(SYN).from4([127, 0, 0, 1].into()).packet()), [listed], Out::Drop, odd, None),
        row("an odd source, 6 in 4", in4(v6(SYN).from6(VIP6).packet()), [listed], Out::Drop, odd, None),
    ];
    check(&mut world, rows);
}
