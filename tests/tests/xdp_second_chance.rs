//! The second chance, packet by packet: what becomes of frames in mid-session whose session is, or is
//! not, this box's. The sockets are real ones, in the namespace that the program runs in.
use std::{
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::Result;
use lbd_common::{
    backend::state::{DEAD, UNRESOLVED},
    counters::Reason as C,
    director::flag::LISTS,
    event::kind,
    flow::{
        flag::{ADOPTED, COUNTED, FROM_PEER},
        state::{ENDED, UNPROVEN},
    },
    sign::flag::TAKES_MARK as TAKES,
};
use lbd_tests::{
    lab::{Lab, Spec},
    until,
    xdp::{
        icmp::{icmp4, icmp6},
        packet::{
            ACK, CLIENT_PORT, CLIENT4, CLIENT6, FIN, NODE_MAC, OUR_MAC, PORT, PSH, RST, SYN,
            Segment, VIP4, VIP6, marked, v4, v6,
        },
        row::{Flow, Given, Out, Row, check, half, open, row, unproven},
        tunnel::{in4, in6},
        world::{A, B, FAR, LOCAL, List, TUNNEL4, TUNNEL6, VIP_IDS, World, backend_mac, verdict},
    },
};
use socket2::{Domain, Protocol, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sessions of both services have had sockets here just now.
const TOLD: Given = Given::Do(|world| world.own_socket_seen(Some(Duration::ZERO)));
const TOLD_LONG_AGO: Given =
    Given::Do(|world| world.own_socket_seen(Some(Duration::from_hours(2))));
const ADOPTS: Given = Given::Director(|director| director.adopt_per_second = 10);

/// A box with the virtual addresses and the client's, which speak over its loopback.
fn lab() -> Lab {
    let lab = Lab::new(&Spec {
        clients: 0,
        nodes: 1,
        ..Spec::default()
    })
    .unwrap();
    let host = &lab.nodes[0];
    for address in [VIP4, CLIENT4] {
        host.ip(&format!("addr add {address}/32 dev lo")).unwrap();
    }
    for address in [VIP6, CLIENT6] {
        host.ip(&format!("addr add {address}/128 dev lo nodad"))
            .unwrap();
    }
    lab
}

fn handed4(flags: u8) -> Segment {
    v4(flags).from_mac(NODE_MAC)
}

fn handed6(flags: u8) -> Segment {
    v6(flags).from_mac(NODE_MAC)
}

/// The frame addressed to a backend, marked.
fn to(id: u16, segment: &Segment) -> Vec<u8> {
    let mut frame = marked(segment.bytes());
    frame[..6].copy_from_slice(&backend_mac(id));
    frame[6..12].copy_from_slice(&OUR_MAC);
    frame
}

fn on_to(id: u16, segment: &Segment) -> Out {
    Out::Tx(to(id, segment))
}

/// The IP packet of a frame without tags, as it is handed on.
fn marked_packet(segment: &Segment) -> Vec<u8> {
    marked(segment.bytes())[14..].to_vec()
}

fn self_and(id: u16) -> Given {
    Given::Candidates(LOCAL, id)
}

fn told(backend: u16) -> Flow {
    Flow {
        flags: COUNTED | FROM_PEER,
        ..open(backend)
    }
}

fn adopted(backend: u16) -> Flow {
    Flow {
        flags: ADOPTED,
        ..unproven(backend)
    }
}

fn service(v6: bool) -> SocketAddr {
    let vip: IpAddr = if v6 { VIP6.into() } else { VIP4.into() };
    SocketAddr::new(vip, PORT)
}

fn listeners() -> [TcpListener; 2] {
    // For all addresses, as mail servers do.
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.map(|address| {
        let socket =
            Socket::new(Domain::for_address((address, 0).into()), Type::STREAM, None).unwrap();
        if address.is_ipv6() {
            socket.set_only_v6(true).unwrap();
        }
        socket.set_reuse_address(true).unwrap();
        // A process that another test just forks has a former listener for a moment more.
        let to = SocketAddr::new(address, PORT).into();
        until("the port is free", || socket.bind(&to).is_ok());
        socket.listen(16).unwrap();
        socket.into()
    })
}

/// A session of the client's with each listener: the client's ends and the server's.
fn sessions(listeners: &[TcpListener; 2]) -> Vec<(TcpStream, TcpStream)> {
    let open = |(listener, v6): (&TcpListener, bool)| {
        let client: IpAddr = if v6 { CLIENT6.into() } else { CLIENT4.into() };
        let from = SocketAddr::new(client, CLIENT_PORT);
        let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&service(v6).into()).unwrap();
        (socket.into(), listener.accept().unwrap().0)
    };
    listeners.iter().zip([false, true]).map(open).collect()
}

fn second_chances() -> Vec<Row> {
    let (data4, data6) = (
        handed4(ACK | PSH).payload(99),
        handed6(ACK | PSH).payload(98),
    );
    let tagged = handed4(ACK).tagged(&[7, 8]).options(12).payload(3);
    let padded = handed4(ACK).padding(6);
    let far = to(FAR, &data4);
    let tunnelled4 = in4(marked_packet(&data4)).outwards();
    let tunnelled4 = tunnelled4.between(OUR_MAC, backend_mac(TUNNEL4)).bytes();
    let tunnelled6 = in4(marked_packet(&data6)).outwards();
    let tunnelled6 = tunnelled6.between(OUR_MAC, backend_mac(TUNNEL4)).bytes();
    let long = handed6(ACK).payload(1440);
    #[rustfmt::skip]
    let rows = vec![
        row("this box is the first candidate", data4.clone(), [TOLD, self_and(A)], on_to(A, &data4), [C::SecondChance], None),
        row("this box is the second candidate", data4.clone(), [TOLD, Given::Candidates(A, LOCAL)], on_to(A, &data4), [C::SecondChance], None),
        row("this box is neither", data4.clone(), [TOLD], on_to(A, &data4), [C::SecondChance], None),
        row("neither, and the first has died", data4.clone(), [TOLD, Given::Is(A, DEAD)], on_to(B, &data4), [C::SecondChance], None),
        row("IPv6", data6.clone(), [TOLD, self_and(A)], on_to(A, &data6), [C::SecondChance], None),
        row("without data, padded", padded.clone(), [TOLD, self_and(B)], on_to(B, &padded), [C::SecondChance], None),
        row("behind two tags, with IPv4 options", tagged.clone(), [TOLD, self_and(B)], on_to(B, &tagged), [C::SecondChance], None),
        row("a FIN", handed4(FIN | ACK), [TOLD, self_and(A)], on_to(A, &handed4(FIN | ACK)), [C::SecondChance], None),
        row("a RST", handed6(RST), [TOLD, self_and(A)], on_to(A, &handed6(RST)), [C::SecondChance], None),
        row("a flow that a peer told of says otherwise: no frame is steered twice", data4.clone(), [TOLD, self_and(A), Given::Flow(told(B))], on_to(A, &data4), [C::SecondChance], told(B)),
        row("a flow of this box's own says otherwise, and it is not the master", data4.clone(), [TOLD, self_and(A), Given::Flow(open(B)), Given::Backup], on_to(A, &data4), [C::SecondChance], open(B)),
        row("on another interface", data4.clone(), [TOLD, self_and(FAR)], Out::Redirect(far), [C::SecondChance], None),
        row("through a tunnel", data4.clone(), [TOLD, self_and(TUNNEL4)], Out::Tx(tunnelled4), [C::SecondChance], None),
        row("through a tunnel, 6 in 4", data6.clone(), [TOLD, self_and(TUNNEL4)], Out::Tx(tunnelled6), [C::SecondChance], None),
        row("too long for the tunnel: no client here to tell", long, [TOLD, self_and(TUNNEL6)], Out::Drop, [C::DropTooBig], None),
        row("out of a tunnel", in4(v4(ACK).packet()), [TOLD, self_and(A)], on_to(A, &v4(ACK)), [C::Decapsulated, C::SecondChance], None),
        row("out of a tunnel, 6 in 6", in6(v6(ACK).packet()), [TOLD, self_and(A)], on_to(A, &v6(ACK)), [C::Decapsulated, C::SecondChance], None),
        row("no MAC yet: TCP sends it again", data4.clone(), [TOLD, self_and(A), Given::Is(A, UNRESOLVED)], Out::Drop, [C::DropUnresolved], None),
        row("the other has died: no box has the session", data4.clone(), [TOLD, self_and(A), Given::Is(A, DEAD)], Out::Pass, [C::PassNoSession], None),
        row("the other is this box, too", data4.clone(), [TOLD, self_and(LOCAL)], Out::Pass, [C::PassNoSession], None),
        row("the other is behind NAT, where a session needs its flow", data4.clone(), [TOLD, self_and(B), Given::Do(|world| world.nat(B, "10.0.0.11".parse()?, None, &[]))], Out::Pass, [C::PassNoSession], None),
        row("a new session", handed4(SYN), [TOLD, self_and(A), Given::Backup], Out::Pass, [C::PassFromNode], half(LOCAL)),
        row("a SYN with an ACK, which no client sends", handed6(SYN | ACK), [TOLD, self_and(A)], Out::Pass, [C::PassFromNode], None),
        row("an ICMP error", icmp4(3, 4).from_mac(NODE_MAC), [TOLD, self_and(A)], Out::Pass, [C::PassFromNode], None),
        row("an ICMPv6 error", icmp6(2, 0).from_mac(NODE_MAC), [TOLD, self_and(A)], Out::Pass, [C::PassFromNode], None),
        row("the second chance was the last", marked(data4.bytes()), [TOLD, self_and(A)], Out::PassChanged(data4.bytes()), [C::PassNoSession], None),
        row("the last, IPv6, behind a tag", marked(data6.clone().tagged(&[7]).bytes()), [TOLD, self_and(A)], Out::PassChanged(data6.clone().tagged(&[7]).bytes()), [C::PassNoSession], None),
        row("the last, out of a tunnel", in4(marked_packet(&v4(ACK))), [TOLD, self_and(A)], Out::PassChanged(v4(ACK).bytes()), [C::Decapsulated, C::PassNoSession], None),
        row("no session of the service was ever seen here", data4.clone(), [self_and(A)], Out::Pass, [C::PassFromNode], None),
        row("none for long", data6.clone(), [TOLD_LONG_AGO, self_and(A)], Out::Pass, [C::PassFromNode], None),
        row("none, and out of a tunnel", in4(v4(ACK).packet()), [self_and(A)], Out::PassChanged(v4(ACK).bytes()), [C::Decapsulated], None),
        row("none, and it was the last", marked(data4.bytes()), [self_and(A)], Out::PassChanged(data4.bytes()), [C::PassFromNode], None),
    ];
    rows
}

/// The director itself, without a flow.
fn directed(is_here: bool) -> Vec<Row> {
    let (first, second) = (self_and(A), Given::Candidates(A, LOCAL));
    let (out, whose) = if is_here {
        (Out::Local(LOCAL), LOCAL)
    } else {
        (Out::To(A), A)
    };
    let (stateless, adopts) = ([C::StatelessMidFlow], [C::FlowAdopted]);
    #[rustfmt::skip]
    let rows = vec![
        row("the director is the first candidate", v4(ACK), [TOLD, first], out.clone(), stateless, None),
        row("the second", v4(FIN | ACK), [TOLD, second], out.clone(), stateless, None),
        row("the first, IPv6", v6(ACK), [TOLD, first], out.clone(), stateless, None),
        row("the second, IPv6", v6(RST), [TOLD, second], out.clone(), stateless, None),
        row("who has it is adopted", v4(ACK), [TOLD, first, ADOPTS], out.clone(), adopts, adopted(whose)),
        row("likewise as the second", v6(ACK), [TOLD, second, ADOPTS], out, adopts, adopted(whose)),
        row("the other has died", v4(ACK), [TOLD, second, Given::Is(A, DEAD)], Out::Local(LOCAL), stateless, None),
        row("the director is neither", v4(ACK), [TOLD], Out::To(A), stateless, None),
        row("a new session asks for no socket", v4(SYN), [TOLD, first], Out::Local(LOCAL), [], half(LOCAL)),
    ];
    rows
}

/// The session is this box's, in each state of its socket.
fn own(handed: &[Segment]) -> Vec<Row> {
    let mut rows = Vec::new();
    for segment in handed {
        let last = Out::PassChanged(segment.bytes());
        let claimed = segment.is(ACK).then_some(open(LOCAL));
        #[rustfmt::skip]
        rows.extend([
            row("the session is here", segment.clone(), [TOLD, self_and(A)], Out::Pass, [C::PassFromNode], None),
            row("here, and none was seen before", segment.clone(), [self_and(A)], Out::Pass, [C::PassFromNode], None),
            row("a second chance found it", marked(segment.bytes()), [TOLD, self_and(A)], last, [C::SecondChanceFound], claimed),
        ]);
    }
    rows
}

#[test]
fn a_session_that_is_elsewhere_gets_one_more_chance() {
    let name = "a_session_that_is_elsewhere_gets_one_more_chance";
    if !lbd_tests::root_or_skip(name) {
        return;
    }
    let lab = lab();
    let work = || {
        let mut world = World::load(name).unwrap();
        check(&mut world, second_chances());
        check(&mut world, directed(false));
        // A listener is no session.
        let listeners = listeners();
        check(&mut world, second_chances());
        check(&mut world, directed(false));
        drop(listeners);
    };
    lab.nodes[0].inside(work).unwrap();
}

#[test]
fn a_session_that_is_here_goes_up() {
    let name = "a_session_that_is_here_goes_up";
    if !lbd_tests::root_or_skip(name) {
        return;
    }
    let lab = lab();
    let frames = [
        handed4(ACK),
        handed4(ACK | PSH).payload(500).tagged(&[7]),
        handed4(FIN | ACK),
        handed4(RST),
        handed6(ACK),
        handed6(ACK | PSH).payload(500).tagged(&[7, 8]),
        handed6(FIN | ACK),
        handed6(RST),
    ];
    let work = || {
        let mut world = World::load(name).unwrap();
        let listeners = listeners();
        let sessions = sessions(&listeners);
        check(&mut world, own(&frames));
        check(&mut world, directed(true));
        // The server ends its side first, and waits for the last segments.
        for (mut client, server) in sessions {
            drop(server);
            assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
        }
        let port = format!(":{CLIENT_PORT}");
        until("both wait", || {
            let waiting = lab.nodes[0].output("ss", &["-tan", "state", "time-wait"]);
            waiting.unwrap().matches(&port).count() == 2
        });
        check(&mut world, own(&frames));
    };
    lab.nodes[0].inside(work).unwrap();
}

/// Sends a SYN of the client's, of which its own stack knows nothing, and returns the sequence number
/// of the answer.
fn half_open(v6: bool) -> u32 {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let answers = Socket::new(domain, Type::RAW, Some(Protocol::TCP)).unwrap();
    answers.set_read_timeout(Some(PATIENCE)).unwrap();
    let raw = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).unwrap();
    let syn = if v6 { handed6(SYN) } else { handed4(SYN) };
    let vip = SocketAddr::new(service(v6).ip(), 0);
    raw.send_to(&syn.packet(), &vip.into()).unwrap();
    let mut answers: std::fs::File = OwnedFd::from(answers).into();
    loop {
        let mut packet = [0; 200];
        let length = answers.read(&mut packet).expect("an answer");
        // IPv4 raw sockets give the IP header, IPv6 ones do not.
        let tcp = &packet[if v6 { 0 } else { 20 }..length];
        if tcp[..2] == PORT.to_be_bytes() && tcp[13] == SYN | ACK {
            return u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        }
    }
}

#[test]
fn a_handshake_that_is_here_goes_on_here() {
    let name = "a_handshake_that_is_here_goes_on_here";
    if !lbd_tests::root_or_skip(name) {
        return;
    }
    let lab = lab();
    let host = &lab.nodes[0];
    // The client's stack would reset what it has not begun.
    let quiet = "add table inet quiet; add chain inet quiet out { type filter hook output priority 0; }; \
                 add rule inet quiet out tcp flags & rst == rst drop";
    host.output("nft", &[quiet]).unwrap();
    let work = || {
        let mut world = World::load(name).unwrap();
        let old = listeners();
        for v6 in [false, true] {
            half_open(v6);
        }
        check(&mut world, own(&[handed4(ACK), handed6(ACK)]));
        check(&mut world, directed(true));
        drop(old);
        // In a flood the listener keeps no half-open sockets.
        host.set_sysctls(&[("net.ipv4.tcp_syncookies", "2")])
            .unwrap();
        let _listeners = listeners();
        for (v6, frame) in [(false, handed4(ACK)), (true, handed6(ACK))] {
            let cookie = half_open(v6);
            let answer = frame.clone().numbers(1001, cookie.wrapping_add(1));
            check(
                &mut world,
                own(&[answer.clone(), answer.clone().payload(30)]),
            );
            let wrong = frame.numbers(1001, cookie);
            let out = on_to(A, &wrong);
            #[rustfmt::skip]
            check(&mut world, [
                row("no answer to a cookie", wrong, [TOLD, self_and(A)], out, [C::SecondChance], None),
            ]);
        }
    };
    host.inside(work).unwrap();
}

#[test]
fn a_session_that_was_found_is_claimed_once() {
    let name = "a_session_that_was_found_is_claimed_once";
    if !lbd_tests::root_or_skip(name) {
        return;
    }
    let lab = lab();
    let told = |flags| Flow { flags, ..open(A) };
    let work = || -> Result<()> {
        let mut world = World::load(name).unwrap();
        let listeners = listeners();
        let _sessions = sessions(&listeners);
        let found = |world: &mut World, frame: &Segment| {
            let (action, _) = world.run(&marked(frame.bytes()))?;
            assert_eq!(action, verdict::PASS);
            world.events()
        };
        for (frame, family) in [(handed4(ACK), 4), (handed6(ACK), 6)] {
            for before in [
                None,
                Some(told(COUNTED | FROM_PEER)),
                Some(told(COUNTED | ADOPTED)),
            ] {
                world.reset()?;
                world.candidates(A, LOCAL)?;
                if let Some(before) = before {
                    world.flow(before.backend, before.state, before.flags, 0)?;
                    world.set_load(A, 1)?;
                }
                let events = found(&mut world, &frame)?;
                assert_eq!(events.len(), 1, "{before:?}");
                assert_eq!((events[0].kind, events[0].backend), (kind::OPENED, LOCAL));
                let words = world.client_flows(family)?;
                let words: Vec<_> = words
                    .iter()
                    .map(|word| (word.backend, word.flags))
                    .collect();
                assert_eq!(words, [(LOCAL, COUNTED)]);
                assert_eq!((world.load_of(A)?, world.load_of(LOCAL)?), (0, 1));
                assert_eq!(found(&mut world, &frame)?.len(), 0, "told already");
                assert_eq!((world.load_of(A)?, world.load_of(LOCAL)?), (0, 1));
            }
            // The ring does not name this box: its id is not known.
            world.reset()?;
            assert_eq!(found(&mut world, &frame)?.len(), 0);
            assert_eq!(world.client_flows(family)?, []);
        }
        Ok(())
    };
    lab.nodes[0].inside(work).unwrap().unwrap();
}

#[test]
fn a_director_keeps_in_mind_that_its_sessions_have_sockets() {
    let name = "a_director_keeps_in_mind_that_its_sessions_have_sockets";
    if !lbd_tests::root_or_skip(name) {
        return;
    }
    let lab = lab();
    let work = || -> Result<()> {
        let mut world = World::load(name).unwrap();
        let own_session = |world: &mut World| {
            world.reset()?;
            world.candidates(LOCAL, LOCAL)?;
            for segment in [v4(SYN), v4(ACK), v6(SYN), v6(ACK)] {
                world.run(&segment.bytes())?;
            }
            VIP_IDS
                .into_iter()
                .map(|id| world.has_seen_own_socket(id))
                .collect::<Result<Vec<_>>>()
        };
        let listeners = listeners();
        assert_eq!(
            own_session(&mut world)?,
            [false, false],
            "a listener is no session"
        );
        let _sessions = sessions(&listeners);
        assert_eq!(own_session(&mut world)?, [true, true]);
        Ok(())
    };
    lab.nodes[0].inside(work).unwrap().unwrap();
}

#[test]
fn a_session_that_began_here_stays_whether_or_not_it_has_a_socket() {
    let name = "a_session_that_began_here_stays_whether_or_not_it_has_a_socket";
    if !lbd_tests::root_or_skip(name) {
        return;
    }
    let lab = lab();
    let (syn4, syn6, data4, data6) = (handed4(SYN), handed6(SYN), handed4(ACK), handed6(ACK));
    let (backup, mine) = (Given::Backup, self_and(A));
    let began = |flow| Given::Flow(flow);
    let unproven = Flow {
        state: UNPROVEN,
        ..open(LOCAL)
    };
    let ended = Flow {
        state: ENDED,
        ..half(LOCAL)
    };
    let past = Out::PassChanged(data4.bytes());
    #[rustfmt::skip]
    let rows = vec![
        row("it begins", syn4.clone(), [backup, mine], Out::Pass, [C::PassFromNode], half(LOCAL)),
        row("it begins, IPv6, with the mark", marked(syn6.bytes()), [backup, mine], Out::PassChanged(syn6.bytes()), [C::PassFromNode], half(LOCAL)),
        row("it begins, out of a tunnel", in4(v4(SYN).packet()), [backup, mine], Out::PassChanged(v4(SYN).bytes()), [C::Decapsulated], half(LOCAL)),
        row("this box is no candidate: nothing to note", syn4.clone(), [backup], Out::Pass, [C::PassFromNode], None),
        row("in a flood nothing is noted", syn4.clone(), [mine, Given::Do(|world| world.flood(|director| director.role = 0))], Out::Pass, [C::PassFromNode], None),
        row("it goes on, and no socket of it is here", data4.clone(), [backup, TOLD, mine, began(half(LOCAL))], Out::Pass, [C::PassFromNode], unproven),
        row("it goes on, IPv6", data6.clone(), [backup, TOLD, mine, began(unproven)], Out::Pass, [C::PassFromNode], unproven),
        row("it goes on, out of a tunnel", in4(v4(ACK).packet()), [backup, TOLD, mine, began(open(LOCAL))], Out::PassChanged(v4(ACK).bytes()), [C::Decapsulated], open(LOCAL)),
        row("it goes on, after a second chance", marked(data4.bytes()), [backup, TOLD, mine, began(open(LOCAL))], past, [C::PassFromNode], open(LOCAL)),
        row("it ends", handed4(FIN | ACK), [backup, TOLD, mine, began(open(LOCAL))], Out::Pass, [C::PassFromNode], open(LOCAL)),
        row("it has ended", data4.clone(), [backup, TOLD, mine, began(ended)], on_to(A, &data4), [C::SecondChance], ended),
        row("a peer says that it is here: no evidence", data4.clone(), [backup, TOLD, mine, began(told(LOCAL))], on_to(A, &data4), [C::SecondChance], told(LOCAL)),
        row("the ring said that it is here: no evidence", data4.clone(), [backup, TOLD, mine, began(adopted(LOCAL))], on_to(A, &data4), [C::SecondChance], adopted(LOCAL)),
    ];
    let work = || check(&mut World::load(name).unwrap(), rows);
    lab.nodes[0].inside(work).unwrap();
}

/// A and B run lbd.
const TAKES_MARK: Given = Given::Do(|world| {
    for id in [A, B] {
        world.sign(id, None, TAKES)?;
    }
    Ok(())
});

#[test]
fn a_box_of_the_cluster_is_a_client_too() {
    let Some(mut world) = World::load("a_box_of_the_cluster_is_a_client_too") else {
        return;
    };
    let (syn4, syn6) = (handed4(SYN), handed6(SYN));
    let (data4, data6) = (handed4(ACK | PSH).payload(9), handed6(ACK));
    let to_tunnel = Given::Candidates(TUNNEL4, TUNNEL4);
    let nat = Given::Do(|world| world.nat(A, "10.0.0.11".parse()?, None, &[]));
    let tunnelled = in4(syn4.packet()).outwards();
    let tunnelled = tunnelled.between(OUR_MAC, backend_mac(TUNNEL4)).bytes();
    let deny = Given::Do(|world| {
        world.list(List::Deny, CLIENT4.into(), 24)?;
        world.director(|director| director.flags = LISTS)
    });
    let translated = |segment: Segment| {
        let server = segment.to4("10.0.0.11".parse().unwrap());
        Out::Tx(server.from_mac(OUR_MAC).to_mac(backend_mac(A)).bytes())
    };
    let on = |flow| Given::Flow(flow);
    #[rustfmt::skip]
    let rows = [
        row("it begins a session", syn4.clone(), [], on_to(A, &syn4), [], half(A)),
        row("it begins a session, IPv6, tagged", syn6.clone().tagged(&[7]), [], on_to(A, &syn6.clone().tagged(&[7])), [], half(A)),
        row("with a box that takes marks", syn4.clone(), [TAKES_MARK], on_to(A, &syn4), [], half(A)),
        row("with a box behind a tunnel, by which it is known to be steered", syn4.clone(), [to_tunnel], Out::Tx(tunnelled), [], half(TUNNEL4)),
        row("with the director", syn6.clone(), [Given::Candidates(LOCAL, LOCAL)], Out::Local(LOCAL), [], half(LOCAL)),
        row("with a box behind NAT, which steers nothing", syn4.clone(), [nat], translated(syn4.clone()), [], half(A)),
        row("the lists are for it too", syn4.clone(), [deny], Out::Drop, [C::DropDenied], None),
        row("its session goes on", data4.clone(), [on(open(B))], on_to(B, &data4), [], open(B)),
        row("its session goes on, and a socket of the service was seen here", data6.clone(), [TOLD, on(open(B))], on_to(B, &data6), [], open(B)),
        row("its session with the director goes on", data4.clone(), [on(open(LOCAL))], Out::Pass, [C::PassFromNode], open(LOCAL)),
        row("its SYN comes again", syn4.clone(), [on(half(B))], on_to(B, &syn4), [], half(B)),
        row("steered here by another that is the master too", marked(syn4.bytes()), [], Out::PassChanged(syn4.bytes()), [C::PassFromNode], None),
        row("steered here, although the flow names another", marked(data4.bytes()), [on(open(B))], Out::PassChanged(data4.bytes()), [C::PassFromNode], open(B)),
        row("on a box without the lease it was steered", syn4.clone(), [Given::LeaseOver], Out::Pass, [C::PassFromNode], None),
        row("a client's SYN to a box that takes marks", v4(SYN), [TAKES_MARK], on_to(A, &v4(SYN)), [], half(A)),
        row("a client's SYN to a box that takes marks, IPv6", v6(SYN), [TAKES_MARK], on_to(A, &v6(SYN)), [], half(A)),
        row("a client's SYN that is marked already", marked(v4(SYN).bytes()), [TAKES_MARK], on_to(A, &v4(SYN)), [], half(A)),
        row("a client's data to a box that takes marks", v4(ACK), [TAKES_MARK, on(open(A))], Out::To(A), [], open(A)),
        row("a client's SYN to another box", v4(SYN), [], Out::To(A), [], half(A)),
    ];
    check(&mut world, rows);
}
