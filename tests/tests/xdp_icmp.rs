//! ICMP and `ICMPv6` for a VIP, packet by packet: errors follow the session that they are about.
use std::net::{Ipv4Addr, Ipv6Addr};

use lbd_common::{
    backend::state::{DEAD, UNRESOLVED},
    counters::Reason as C,
};
use lbd_tests::xdp::{
    icmp::{ROUTER4, ROUTER6, icmp4, icmp6, reply4, reply6},
    packet::{NODE_MAC, OUR_MAC, VIP4, VIP6, v4, v6},
    row::{Flow, Given, Out, check, closing, half, open, row},
    world::{A, B, FAR, LOCAL, World},
};

const OTHER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);

fn on(flow: Flow) -> Given {
    Given::Flow(flow)
}

#[test]
fn an_error_goes_to_the_backend_of_its_session() {
    let Some(mut world) = World::load("an_error_goes_to_the_backend_of_its_session") else {
        return;
    };
    let options = reply4().options(40);
    let extended = [
        &reply6().packet()[..6],
        &[60, 64],
        &reply6().packet()[8..40],
        &[6, 0, 1, 4, 0, 0, 0, 0],
        &reply6().packet()[40..],
    ]
    .concat();
    let fragment = [
        &reply6().packet()[..6],
        &[44, 64],
        &reply6().packet()[8..40],
        &[6, 0, 0, 1, 0, 0, 0, 7],
        &reply6().packet()[40..],
    ]
    .concat();
    #[rustfmt::skip]
    let rows = [
        row("network unreachable", icmp4(3, 0), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("host unreachable", icmp4(3, 1), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("fragmentation needed", icmp4(3, 4).rest(1400), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("administratively prohibited", icmp4(3, 13), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("time exceeded", icmp4(11, 0), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("parameter problem", icmp4(12, 0), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("IPv6 unreachable", icmp6(1, 0), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("IPv6 packet too big", icmp6(2, 0).rest(1400), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("IPv6 time exceeded", icmp6(3, 0), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("IPv6 parameter problem", icmp6(4, 1), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("a half-open session stays half-open", icmp4(3, 4), [on(half(B))], Out::To(B), [C::IcmpSteered], half(B)),
        row("a session that ended", icmp6(1, 0), [on(closing(B))], Out::To(B), [C::IcmpSteered], closing(B)),
        row("a session of this box", icmp4(3, 4), [on(open(LOCAL))], Out::Local(LOCAL), [C::IcmpSteered], open(LOCAL)),
        row("a session of this box, IPv6", icmp6(2, 0), [on(open(LOCAL))], Out::Local(LOCAL), [C::IcmpSteered], open(LOCAL)),
        row("a session on another interface", icmp6(2, 0), [on(open(FAR))], Out::Far(FAR), [C::IcmpSteered], open(FAR)),
        row("on a backup", icmp4(3, 4), [on(open(B)), Given::Backup], Out::To(B), [C::IcmpSteered], open(B)),
        row("behind two tags", icmp4(3, 4).tagged(&[7, 8]), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("IPv6 behind a tag", icmp6(2, 0).tagged(&[7]), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("quoting more than 8 bytes", icmp4(3, 4).about(&reply4(), 140), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("quoting 40 bytes of options", icmp4(3, 4).about(&options, 68), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("quoting the first fragment", icmp4(3, 4).edit(48, &[0x20, 0]), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("quoting just 8 bytes, IPv6", icmp6(1, 0).about(&reply6(), 48), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("quoting an IPv6 extension", icmp6(2, 0).body(extended), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("quoting the first IPv6 fragment", icmp6(2, 0).body(fragment), [on(open(B))], Out::To(B), [C::IcmpSteered], open(B)),
        row("without a flow: the ring, and none is made", icmp4(3, 4), [], Out::To(A), [C::IcmpSteered], None),
        row("without a flow, IPv6", icmp6(2, 0), [Given::Director(|director| director.adopt_per_second = 9)], Out::To(A), [C::IcmpSteered], None),
        row("without a flow, and the first candidate died", icmp4(3, 4), [Given::Is(A, DEAD)], Out::To(B), [C::IcmpSteered], None),
        row("its backend has no MAC any more", icmp4(3, 4), [on(open(B)), Given::Is(B, UNRESOLVED)], Out::Drop, [C::DropUnresolved], open(B)),
    ];
    check(&mut world, rows);
}

#[test]
fn what_names_no_session_goes_up_as_it_came() {
    let Some(mut world) = World::load("what_names_no_session_goes_up_as_it_came") else {
        return;
    };
    let (udp4, udp6) = (icmp4(3, 3).edit(51, &[17]), icmp6(1, 4).edit(68, &[17]));
    #[rustfmt::skip]
    let rows = [
        row("a ping", icmp4(8, 0).body([7; 40]), [], Out::Pass, [C::PassOtherService], None),
        row("the answer to a ping", icmp4(0, 0).body([7; 40]), [], Out::Pass, [C::PassOtherService], None),
        row("source quench (RFC 6633)", icmp4(4, 0), [on(open(B))], Out::Pass, [C::PassOtherService], open(B)),
        row("a redirect", icmp4(5, 1), [on(open(B))], Out::Pass, [C::PassOtherService], open(B)),
        row("an IPv6 ping", icmp6(128, 0).body([7; 40]), [], Out::Pass, [C::PassOtherService], None),
        row("an unknown IPv6 error", icmp6(100, 0), [on(open(B))], Out::Pass, [C::PassOtherService], open(B)),
        row("half an ICMP header", icmp4(3, 4).body([]).edit(16, &[0, 24]).cut(38), [], Out::Pass, [C::PassOtherService], None),
        row("of a node of the cluster: steered already", icmp4(3, 4).from_mac(NODE_MAC), [on(open(B))], Out::Pass, [C::PassFromNode], open(B)),
        row("of a node of the cluster, IPv6", icmp6(2, 0).from_mac(NODE_MAC), [on(open(B))], Out::Pass, [C::PassFromNode], open(B)),
        row("without a flow on a backup", icmp4(3, 4), [Given::Backup], Out::Pass, [C::PassIcmpUnknown], None),
        row("without a flow and a lease", icmp6(2, 0), [Given::LeaseOver], Out::Pass, [C::PassIcmpUnknown], None),
        row("without a flow and a backend", icmp4(3, 4), [Given::Is(A, DEAD), Given::Is(B, DEAD)], Out::Pass, [C::PassIcmpUnknown], None),
        row("its backend died", icmp4(3, 4), [on(open(B)), Given::Is(B, DEAD)], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about another sender's packet", icmp4(3, 4).about(&reply4().from4(OTHER4), 28), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about another sender's packet, IPv6", icmp6(2, 0).about(&reply6().from6(OTHER6), 60), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about the client's own packet", icmp4(3, 4).about(&v4(16), 28), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about the client's own packet, IPv6", icmp6(1, 0).about(&v6(16), 60), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about another port of the VIP", icmp4(3, 4).about(&reply4().from_port(80), 28), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about port 0", icmp6(2, 0).about(&reply6().from_port(0), 60), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about UDP", udp4, [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about UDP, IPv6", udp6, [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting 7 bytes of TCP", icmp4(3, 4).about(&reply4(), 27), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting 8 bytes, the last in the padding", icmp4(3, 4).edit(16, &[0, 55]), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting half an IP header", icmp4(3, 4).about(&reply4(), 15), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting half an IPv6 header", icmp6(2, 0).about(&reply6(), 30), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting nothing", icmp4(3, 4).body([]), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting an IPv4 header of 16 bytes", icmp4(3, 4).edit(42, &[0x44]), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting options beyond the packet", icmp4(3, 4).edit(42, &[0x4f]), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting a later fragment", icmp4(3, 4).edit(48, &[0, 9]), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting IP version 6 in ICMP", icmp4(3, 4).edit(42, &[0x65]), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("quoting IP version 4 in ICMPv6", icmp6(2, 0).edit(62, &[0x45]), [on(open(B))], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("a part of an ICMP error", icmp4(3, 4).edit(20, &[0x20, 0]), [on(open(B))], Out::Pass, [C::PassOtherService], open(B)),
        row("an ICMP error longer than its frame", icmp4(3, 4).edit(16, &[1, 0]), [on(open(B))], Out::Drop, [C::DropMalformed], open(B)),
        row("for another address", icmp4(3, 4).to(OTHER4, OTHER6), [on(open(B))], Out::Pass, [], open(B)),
        row("for another address, IPv6", icmp6(2, 0).to(OTHER4, OTHER6), [on(open(B))], Out::Pass, [], open(B)),
        row("for the VIP from the VIP", icmp4(3, 4).answer().to_mac(OUR_MAC).to(VIP4, VIP6).about(&reply4().to4(ROUTER4), 28), [on(open(B)), Given::Backup], Out::Pass, [C::PassIcmpUnknown], open(B)),
        row("about another client's session", icmp6(2, 0).about(&reply6().to6(ROUTER6), 60), [on(open(B)), Given::Backup], Out::Pass, [C::PassIcmpUnknown], open(B)),
    ];
    check(&mut world, rows);
}
