//! `forwarding: nat`, packet by packet: to the backend, and back to the client.
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use lbd_common::{
    counters::Reason as C,
    director::{flag, role},
    event::kind,
    flow::{flag::ADOPTED, hash4, state::ESTABLISHED},
    ring::candidates,
};
use lbd_tests::{
    lab::{Host, INTERFACE, Lab, Spec},
    xdp::{
        icmp::{Icmp, ROUTER4, ROUTER6, icmp4, icmp6},
        packet::{
            ACK, CLIENT_PORT, CLIENT4, CLIENT6, FIN, OUR_MAC, PORT, PSH, ROUTER_MAC, RST, SYN,
            Segment, VIP4, VIP6, v4, v6,
        },
        row::{Flow, Given, Out, Row, check, closing, ended, half, open, row, unproven},
        world::{A, B, VIP_IDS, World, backend_mac},
    },
};

const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11);
const SERVER_PORT: u16 = 2525;
/// Of a second service before the same backend.
const OTHER_ID: u16 = 9;
const OTHER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 26);

/// Tags, bytes of IPv4 options, of payload and of padding.
const SHAPES: [(usize, usize, usize, usize); 7] = [
    (0, 0, 0, 6),
    (0, 0, 1, 0),
    (1, 0, 7, 0),
    (2, 0, 1400, 0),
    (0, 4, 0, 0),
    (1, 40, 33, 3),
    (2, 12, 500, 0),
];

const SERVICES4: [(SocketAddr, u16); 1] = [(service4(VIP4), VIP_IDS[0])];

const fn service4(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(address), PORT)
}

const fn service6() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V6(VIP6), PORT)
}

fn to_b4(world: &mut World) -> Result<()> {
    world.nat(B, SERVER4.into(), None, &SERVICES4)
}

fn to_b4_port(world: &mut World) -> Result<()> {
    world.nat(B, SERVER4.into(), Some(SERVER_PORT), &SERVICES4)
}

fn to_b6(world: &mut World) -> Result<()> {
    world.nat(B, SERVER6.into(), None, &[(service6(), VIP_IDS[1])])
}

fn to_b6_port(world: &mut World) -> Result<()> {
    let services = [(service6(), VIP_IDS[1])];
    world.nat(B, SERVER6.into(), Some(SERVER_PORT), &services)
}

/// Two services before the same port of the backend; the client's session is with the first.
fn two_to_b4(world: &mut World) -> Result<()> {
    let services = [(service4(OTHER4), OTHER_ID), SERVICES4[0]];
    world.serve(OTHER4.into(), &[(PORT, OTHER_ID)])?;
    world.nat(B, SERVER4.into(), None, &services)
}

/// As the backend gets it.
fn at_server(segment: Segment) -> Segment {
    let segment = segment.from_mac(OUR_MAC).to_mac(backend_mac(B));
    segment.to4(SERVER4).to6(SERVER6)
}

fn tx(segment: &Segment) -> Out {
    Out::Tx(segment.bytes())
}

#[test]
fn the_vip_and_its_port_become_the_backends() {
    let Some(mut world) = World::load("the_vip_and_its_port_become_the_backends") else {
        return;
    };
    let (nat4, nat6) = (Given::Do(to_b4), Given::Do(to_b6));
    let (port4, port6) = (Given::Do(to_b4_port), Given::Do(to_b6_port));
    let only_b = Given::Candidates(B, B);
    let flood = Given::Do(|world| world.flood(|director| director.flags = flag::NAT));
    let adopt = Given::Director(|director| {
        director.flags = flag::NAT;
        director.adopt_per_second = 9;
    });
    let ported = |segment| at_server(segment).to_port(SERVER_PORT);
    let adopted = Flow {
        flags: ADOPTED,
        ..unproven(B)
    };
    #[rustfmt::skip]
    let mut rows = vec![
        row("a SYN", v4(SYN), [nat4, only_b], tx(&at_server(v4(SYN))), [], half(B)),
        row("a SYN, IPv6", v6(SYN), [nat6, only_b], tx(&at_server(v6(SYN))), [], half(B)),
        row("a SYN to another port", v4(SYN), [port4, only_b], tx(&ported(v4(SYN))), [], half(B)),
        row("a SYN to another port, IPv6", v6(SYN), [port6, only_b], tx(&ported(v6(SYN))), [], half(B)),
        row("the first ACK", v4(ACK), [nat4, on(half(B))], tx(&at_server(v4(ACK))), [C::FlowOpened], unproven(B)),
        row("a FIN", v4(FIN | ACK), [nat4, on(open(B))], tx(&at_server(v4(FIN | ACK))), [C::FlowClosed], closing(B)),
        row("a RST", v6(RST), [port6, on(open(B))], tx(&ported(v6(RST))), [C::FlowClosed], closing(B)),
        row("a SYN on an open session of a server that takes no new ones: its end would be heard", v4(SYN), [nat4, on(open(B)), Given::Weight(B, 0)], tx(&at_server(v4(SYN))), [], open(B)),
        row("likewise after a RST, IPv6", v6(SYN), [nat6, on(closing(B)), Given::Weight(B, 0)], tx(&at_server(v6(SYN))), [], closing(B)),
        row("in a flood: with a flow all the same", v4(SYN), [nat4, only_b, flood], tx(&at_server(v4(SYN))), [C::StatelessFlood], half(B)),
        row("mid-session without a flow: adopted", v4(ACK), [nat4, only_b, adopt], tx(&at_server(v4(ACK))), [C::FlowAdopted], adopted),
        row("mid-session without a flow, not adopted: no reply could be translated", v4(ACK), [nat4, only_b], Out::Drop, [C::DropNatNoFlow], None),
        row("a RST without a flow has no reply", v4(RST), [nat4, only_b], tx(&at_server(v4(RST))), [C::StatelessMidFlow], None),
        row("no room for a flow", v4(SYN), [nat4, only_b, Given::FullOf(ESTABLISHED)], Out::Drop, [C::FlowNoRoom, C::DropNatNoFlow], None),
        row("a backend of the other family", v6(SYN), [nat4, only_b], Out::Drop, [C::DropRewriteFailed], half(B)),
        row("the other candidate is no nat", v4(SYN), [nat4, Given::Load(B, 9)], Out::To(A), [], half(A)),
    ];
    // Every shape of an open session's frame.
    for (tags, options, payload, padding) in SHAPES {
        let shape = |segment: Segment| {
            let tags = &[7, 8][..tags];
            segment.tagged(tags).payload(payload).padding(padding)
        };
        let old = shape(v4(ACK | PSH).options(options));
        let name = "an open session's frame";
        let given = [nat4, on(open(B))];
        rows.push(row(
            name,
            old.clone(),
            given,
            tx(&at_server(old.clone())),
            [],
            open(B),
        ));
        let given = [port4, on(open(B))];
        rows.push(row(name, old.clone(), given, tx(&ported(old)), [], open(B)));
        let old = shape(v6(ACK | PSH));
        let given = [nat6, on(open(B))];
        rows.push(row(
            name,
            old.clone(),
            given,
            tx(&at_server(old.clone())),
            [],
            open(B),
        ));
        let given = [port6, on(open(B))];
        rows.push(row(name, old.clone(), given, tx(&ported(old)), [], open(B)));
    }
    check(&mut world, rows);
}

#[test]
fn one_client_port_is_one_session_at_a_backend() {
    let Some(mut world) = World::load("one_client_port_is_one_session_at_a_backend") else {
        return;
    };
    let session = Given::Flow(open(B));
    let two = Given::Do(two_to_b4);
    // The client's second SYN, from the same port to the other service.
    let syn = v4(SYN).to4(OTHER4);
    let only_b = Given::Do(|world| world.all_slots_alternate(B, B));
    #[rustfmt::skip]
    let rows = [
        row("there is no other candidate", syn.clone(), [two, session, only_b], Out::Drop, [C::DropNatTwin], open(B)),
        row("another client port is another session", syn.clone().from_port(CLIENT_PORT + 1), [two, session, only_b], tx(&at_server(v4(SYN).from_port(CLIENT_PORT + 1))), [], open(B)),
        row("its own SYN again", v4(SYN), [two, Given::Flow(half(B))], tx(&at_server(v4(SYN))), [], half(B)),
    ];
    check(&mut world, rows);

    // The other candidate takes it, however loaded that one is.
    world.reset().unwrap();
    two_to_b4(&mut world).unwrap();
    world.flow(B, ESTABLISHED, 0, 0).unwrap();
    let source = u32::from_ne_bytes(CLIENT4.octets());
    let (one, two) = candidates(hash4(source, CLIENT_PORT.to_be(), OTHER_ID));
    world.ring_slot(one, B).unwrap();
    world.ring_slot(two, A).unwrap();
    world.set_load(A, 5).unwrap();
    let (_, out) = world.run(&syn.bytes()).unwrap();
    assert_eq!(out[..6], backend_mac(A));
}

#[test]
fn errors_follow_the_session_translated() {
    let Some(mut world) = World::load("errors_follow_the_session_translated") else {
        return;
    };
    // What the backend had sent, as the world saw it and as the backend knows it.
    let (seen4, seen6) = (v4(ACK).back().payload(100), v6(ACK).back().payload(100));
    let (sent4, sent6) = (seen4.clone().from4(SERVER4), seen6.clone().from6(SERVER6));
    let ported4 = sent4.clone().from_port(SERVER_PORT);
    let at_server = |icmp: Icmp| {
        let icmp = icmp.from_mac(OUR_MAC).to_mac(backend_mac(B));
        icmp.to(SERVER4, SERVER6)
    };
    let out = |icmp: Icmp| Out::Tx(at_server(icmp).bytes());
    let on = Given::Flow(open(B));
    let (nat4, nat6) = (Given::Do(to_b4), Given::Do(to_b6));
    let (port4, port6) = (Given::Do(to_b4_port), Given::Do(to_b6_port));
    // The quoted TCP checksum is not touched: quote what ends before it.
    let ported6 = sent6.clone().from_port(SERVER_PORT);
    #[rustfmt::skip]
    let rows = [
        row("fragmentation needed", icmp4(3, 4).rest(1400).about(&seen4, 28), [nat4, on], out(icmp4(3, 4).rest(1400).about(&sent4, 28)), [C::IcmpSteered], open(B)),
        row("to another port", icmp4(3, 4).rest(1400).about(&seen4, 28), [port4, on], out(icmp4(3, 4).rest(1400).about(&ported4, 28)), [C::IcmpSteered], open(B)),
        row("IPv6 packet too big", icmp6(2, 0).rest(1400).about(&seen6, 48), [nat6, on], out(icmp6(2, 0).rest(1400).about(&sent6, 48)), [C::IcmpSteered], open(B)),
        row("IPv6, to another port", icmp6(2, 0).rest(1400).about(&seen6, 48), [port6, on], out(icmp6(2, 0).rest(1400).about(&ported6, 48)), [C::IcmpSteered], open(B)),
        row("behind two tags", icmp4(11, 0).about(&seen4, 28).tagged(&[7, 8]), [port4, on], out(icmp4(11, 0).about(&ported4, 28).tagged(&[7, 8])), [C::IcmpSteered], open(B)),
    ];
    check(&mut world, rows);
}

/// A box that routes: to the client by way of the router.
fn router() -> (Lab, u32) {
    let lab = Lab::new(&Spec {
        clients: 0,
        nodes: 1,
        sources: 1,
    })
    .unwrap();
    let host = &lab.nodes[0];
    host.set_sysctls(&[
        ("net.ipv4.conf.lo.forwarding", "1"),
        ("net.ipv6.conf.lo.forwarding", "1"),
        ("net.ipv4.conf.eth0.forwarding", "1"),
        ("net.ipv6.conf.eth0.forwarding", "1"),
    ])
    .unwrap();
    host.ip("route add 198.51.100.0/24 via 10.77.99.1 dev eth0")
        .unwrap();
    host.ip("route add 2001:db8:1::/64 via fd00:77::99 dev eth0")
        .unwrap();
    know_the_router(host);
    let name = std::ffi::CString::new(INTERFACE).unwrap();
    // SAFETY: the name ends with a zero.
    let ifindex = host
        .inside(|| unsafe { libc::if_nametoindex(name.as_ptr()) })
        .unwrap();
    (lab, ifindex)
}

fn know_the_router(host: &Host) {
    let mac = lbd::units::Mac(ROUTER_MAC);
    for address in ["10.77.99.1", "fd00:77::99"] {
        host.ip(&format!(
            "neigh replace {address} lladdr {mac} dev eth0 nud permanent"
        ))
        .unwrap();
    }
}

/// What the backend sends.
fn from_server(segment: Segment) -> Segment {
    let segment = segment.from_mac(backend_mac(B)).to_mac(OUR_MAC);
    segment.from4(SERVER4).from6(SERVER6)
}

/// What the backend sends from a port of its own.
fn from_port_of_server(segment: Segment) -> Segment {
    from_server(segment).from_port(SERVER_PORT)
}

/// What the client gets.
fn at_client(host: &Host, segment: Segment) -> Segment {
    segment.from_mac(host.mac.0).to_mac(ROUTER_MAC)
}

fn redirect(host: &Host, segment: Segment) -> Out {
    Out::Redirect(at_client(host, segment).bytes())
}

fn on(flow: Flow) -> Given {
    Given::Flow(flow)
}

fn back4(flags: u8) -> Segment {
    v4(flags).back()
}

fn back6(flags: u8) -> Segment {
    v6(flags).back()
}

/// Replies by what the flow table knows.
fn by_flow(host: &Host) -> Vec<Row> {
    let (nat4, nat6) = (Given::Do(to_b4), Given::Do(to_b6));
    let (port4, port6) = (Given::Do(to_b4_port), Given::Do(to_b6_port));
    let backup = Given::Director(|director| {
        director.role = role::BACKUP;
        director.flags = flag::NAT;
    });
    let to = |segment| redirect(host, segment);
    let stranger = SERVER6.to_bits().wrapping_add(1).into();
    let ported = from_port_of_server;
    #[rustfmt::skip]
    let rows = vec![
        row("a SYN and ACK", from_server(back4(SYN | ACK)), [nat4, on(half(B))], to(back4(SYN | ACK)), [C::NatReply], half(B)),
        row("a SYN and ACK, IPv6", from_server(back6(SYN | ACK)), [nat6, on(half(B))], to(back6(SYN | ACK)), [C::NatReply], half(B)),
        row("payload proves the session", from_server(back4(ACK).payload(9)), [nat4, on(unproven(B))], to(back4(ACK).payload(9)), [C::NatReply], open(B)),
        row("payload proves the session, IPv6", from_server(back6(ACK).payload(1)), [nat6, on(unproven(B))], to(back6(ACK).payload(1)), [C::NatReply], open(B)),
        row("and that it goes on, even if the client seems to have ended it", from_server(back4(ACK).payload(9)), [nat4, on(closing(B))], to(back4(ACK).payload(9)), [C::NatReply], open(B)),
        row("an ACK alone takes no mark away", from_server(back6(ACK)), [nat6, on(closing(B))], to(back6(ACK)), [C::NatReply], closing(B)),
        row("an ACK alone proves nothing", from_server(back4(ACK)), [nat4, on(unproven(B))], to(back4(ACK)), [C::NatReply], unproven(B)),
        row("nor does payload of a stranger with the backend's address", back4(ACK).payload(9).from4(SERVER4).to_mac(OUR_MAC), [nat4, on(unproven(B))], to(back4(ACK).payload(9)), [C::NatReply], unproven(B)),
        row("nor is its RST an end", back4(RST).from4(SERVER4).to_mac(OUR_MAC), [nat4, on(open(B))], to(back4(RST)), [C::NatReply], open(B)),
        row("a FIN is the end, behind which the client's frames follow", from_server(back4(FIN | ACK)), [nat4, on(open(B))], to(back4(FIN | ACK)), [C::NatReply, C::FlowClosed], ended(B)),
        row("a FIN after the client's", from_server(back4(FIN | ACK)), [nat4, on(closing(B))], to(back4(FIN | ACK)), [C::NatReply], ended(B)),
        row("a RST is the end", from_server(back4(RST)), [nat4, on(open(B))], to(back4(RST)), [C::NatReply, C::FlowClosed], ended(B)),
        row("a RST is the end, IPv6, of another port", ported(back6(RST | ACK)), [port6, on(open(B))], to(back6(RST | ACK)), [C::NatReply, C::FlowClosed], ended(B)),
        row("a refused session", from_server(back4(RST | ACK)), [nat4, on(half(B))], to(back4(RST | ACK)), [C::NatReply], ended(B)),
        row("after the client's FIN", from_server(back4(ACK)), [nat4, on(closing(B))], to(back4(ACK)), [C::NatReply], closing(B)),
        row("on a node that is not the master", from_server(back4(ACK)), [nat4, on(open(B)), backup], to(back4(ACK)), [C::NatReply], open(B)),
        row("the second of two services", from_server(back4(ACK)), [Given::Do(two_to_b4), on(open(B))], to(back4(ACK)), [C::NatReply], open(B)),
        row("without a flow: the backend's own mail", from_server(back4(ACK)), [nat4], Out::Pass, [], None),
        row("a session with another backend", from_server(back4(ACK)), [nat4, on(open(A))], Out::Pass, [], open(A)),
        row("from another port of the backend", from_server(back4(SYN)).from_port(40_001), [nat4, on(open(B))], Out::Pass, [], open(B)),
        row("from the VIP's port, where the backend has its own", from_server(back4(ACK)), [port4, on(open(B))], Out::Pass, [], open(B)),
        row("from another address", from_server(back6(ACK)).from6(stranger), [nat6, on(open(B))], Out::Pass, [], open(B)),
        row("to another port of the client", from_server(back4(ACK)).to_port(40_001), [nat4, on(open(B))], Out::Pass, [], open(B)),
        row("a broken header", from_server(back4(ACK)).edit(46, &[0x40]), [nat4, on(open(B))], Out::Pass, [], open(B)),
        row("no backend is nat", from_server(back4(ACK)), [nat4, on(open(B)), Given::Director(|_| ())], Out::Pass, [], open(B)),
    ];
    rows
}

/// Replies of every shape.
fn by_shape(host: &Host) -> Vec<Row> {
    let (nat4, nat6) = (Given::Do(to_b4), Given::Do(to_b6));
    let (port4, port6) = (Given::Do(to_b4_port), Given::Do(to_b6_port));
    let mut rows = Vec::new();
    for (tags, options, payload, padding) in SHAPES {
        let shape = |segment: Segment| {
            let tags = &[7, 8][..tags];
            segment.tagged(tags).payload(payload).padding(padding)
        };
        let name = "an open session's frame";
        let new4 = shape(back4(ACK | PSH).options(options));
        let new6 = shape(back6(ACK | PSH));
        for (new, plain, port) in [(new4, nat4, port4), (new6, nat6, port6)] {
            let out = redirect(host, new.clone());
            let (packet, given) = (from_server(new.clone()), [plain, on(open(B))]);
            rows.push(row(
                name,
                packet,
                given,
                out.clone(),
                [C::NatReply],
                open(B),
            ));
            let (packet, given) = (from_port_of_server(new), [port, on(open(B))]);
            rows.push(row(name, packet, given, out, [C::NatReply], open(B)));
        }
    }
    rows
}

/// Errors of the backend, and of a router before it, about what the client had sent.
fn errors(host: &Host) -> Vec<Row> {
    let (nat4, port6) = (Given::Do(to_b4), Given::Do(to_b6_port));
    let (sent4, sent6) = (v4(ACK).payload(100), v6(ACK).payload(100));
    let quoting = |icmp: Icmp, from: (Ipv4Addr, Ipv6Addr)| {
        let icmp = icmp.from(from.0, from.1).to(CLIENT4, CLIENT6);
        icmp.from_mac(backend_mac(B)).to_mac(OUR_MAC)
    };
    let seen = |icmp: Icmp| {
        let icmp = icmp.from(VIP4, VIP6).to(CLIENT4, CLIENT6);
        Out::Redirect(icmp.from_mac(host.mac.0).to_mac(ROUTER_MAC).bytes())
    };
    let (server, before) = ((SERVER4, SERVER6), (ROUTER4, ROUTER6));
    let at4 = sent4.clone().to4(SERVER4);
    let at6 = sent6.clone().to6(SERVER6).to_port(SERVER_PORT);
    #[rustfmt::skip]
    let rows = vec![
        row("port unreachable", quoting(icmp4(3, 3).about(&at4, 28), server), [nat4, on(open(B))], seen(icmp4(3, 3).about(&sent4, 28)), [C::NatReply], open(B)),
        row("a router before the backend", quoting(icmp4(3, 4).rest(1300).about(&at4, 28), before), [nat4, on(open(B))], seen(icmp4(3, 4).rest(1300).about(&sent4, 28)), [C::NatReply], open(B)),
        row("IPv6 packet too big, of another port", quoting(icmp6(2, 0).rest(1300).about(&at6, 48), before), [port6, on(open(B))], seen(icmp6(2, 0).rest(1300).about(&sent6, 48)), [C::NatReply], open(B)),
        row("about no session", quoting(icmp4(3, 3).about(&at4, 28), server), [nat4], Out::Pass, [], None),
        row("about no TCP", quoting(icmp4(3, 3).body(vec![0; 28]), server), [nat4, on(open(B))], Out::Pass, [], open(B)),
    ];
    rows
}

#[test]
fn replies_go_to_the_client_as_the_vips() {
    if !lbd_tests::root_or_skip("replies_go_to_the_client_as_the_vips") {
        return;
    }
    let (lab, ifindex) = router();
    let host = &lab.nodes[0];
    let (nat4, port6) = (Given::Do(to_b4), Given::Do(to_b6_port));
    let rows = [by_flow(host), by_shape(host), errors(host)].concat();
    let same4 = Out::Tx(at_client(host, back4(ACK)).bytes());
    let same6 = Out::Tx(at_client(host, back6(ACK).tagged(&[7])).bytes());
    let tagged = from_port_of_server(back6(ACK).tagged(&[7]));
    let work = || {
        let mut world = World::load("replies_go_to_the_client_as_the_vips").unwrap();
        #[rustfmt::skip]
        check(&mut world, [
            row("on no known interface", from_server(back4(ACK)), [nat4, on(open(B))], Out::Drop, [C::DropNoDevice], open(B)),
        ]);
        world.device(ifindex).unwrap();
        check(&mut world, rows);
        world.come_in_by(ifindex);
        #[rustfmt::skip]
        check(&mut world, [
            row("back on the same interface", from_server(back4(ACK)), [nat4, on(open(B))], same4, [C::NatReply], open(B)),
            row("back on the same interface, IPv6, tagged", tagged, [port6, on(open(B))], same6, [C::NatReply], open(B)),
        ]);
    };
    host.inside(work).unwrap();
}

#[test]
fn a_reply_without_a_way_is_dropped_and_told() {
    if !lbd_tests::root_or_skip("a_reply_without_a_way_is_dropped_and_told") {
        return;
    }
    let (lab, _) = router();
    let host = &lab.nodes[0];
    let families = [
        (from_server(back4(ACK)), Given::Do(to_b4), 4),
        (from_server(back6(ACK)), Given::Do(to_b6), 6),
    ];
    let no_way = |reply: &Segment, nat, why| {
        let given = [nat, on(open(B))];
        row("no way", reply.clone(), given, Out::Drop, [why], open(B))
    };
    let work = || {
        let mut world = World::load("a_reply_without_a_way_is_dropped_and_told").unwrap();
        host.ip("neigh del 10.77.99.1 dev eth0").unwrap();
        host.ip("neigh del fd00:77::99 dev eth0").unwrap();
        for (reply, nat, family) in &families {
            check(&mut world, [no_way(reply, *nat, C::DropNatNoNeighbour)]);
            let events = world.events().unwrap();
            assert_eq!(events.len(), 1);
            assert_eq!(
                (events[0].kind, events[0].family),
                (kind::NO_NEIGHBOUR, *family)
            );
            // A flood of replies does not become one of events.
            for _ in 0..1000 {
                world.run(&reply.bytes()).unwrap();
            }
            let events = world.events().unwrap();
            assert!(events.len() < 200, "{} events", events.len());
        }
        host.ip("route replace unreachable 198.51.100.0/24")
            .unwrap();
        host.ip("route replace blackhole 2001:db8:1::/64").unwrap();
        for (reply, nat, _) in &families {
            check(&mut world, [no_way(reply, *nat, C::DropNatUnrouted)]);
        }
        // The client is this box itself: a health check's answer, say.
        host.ip("addr add 198.51.100.7/32 dev lo").unwrap();
        let (reply, nat, _) = &families[0];
        let given = [*nat, on(open(B))];
        let up = row("for this box", reply.clone(), given, Out::Pass, [], open(B));
        check(&mut world, [up]);
    };
    host.inside(work).unwrap();
}
