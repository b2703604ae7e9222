//! `lbd trace`, frame by frame: what is told of what the program does, and that it does the same.
use std::net::{IpAddr, Ipv4Addr};

use lbd::{
    config::Network,
    dataplane::{TraceFilter, Traces},
    trace::{BackendName, Names, frame, line},
};
use lbd_common::{
    backend::state::{DEAD, UNRESOLVED},
    director::{flag, role},
    flow::{flag::COUNTED, state::ESTABLISHED},
    trace::{TRACE_SCRATCH, TRACES},
};
use lbd_tests::xdp::{
    icmp::{icmp4, icmp6, reply4},
    packet::{ACK, CLIENT4, CLIENT6, NODE_MAC, PORT, PSH, RST, SYN, Segment, VIP4, marked, v4, v6},
    tunnel::in4,
    world::{A, B, FAR, LOCAL, List, TUNNEL4, VIP_IDS, World, verdict},
};

const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const ALL: TraceFilter = TraceFilter {
    clients: None,
    port: None,
    vip: None,
};

fn names() -> Names {
    let ids = [
        (A, "a"),
        (B, "b"),
        (FAR, "far"),
        (LOCAL, "here"),
        (TUNNEL4, "tunnel"),
    ];
    let backends = ids.map(|(id, name)| {
        let backend = BackendName {
            name: name.to_owned(),
            is_local: id == LOCAL,
        };
        (id, backend)
    });
    Names {
        backends: backends.into(),
        interfaces: [(1, "eth0".to_owned())].into(),
        denied: [Network::of(CLIENT4.into(), 24)].into(),
        booted_unix_ns: 0,
    }
}

/// What is told of a frame, without the time and the ends.
fn told(world: &mut World, traces: &mut Traces, packet: &[u8]) -> String {
    world.run(packet).unwrap();
    let record = traces.next().expect("the frame is told");
    assert_eq!(traces.next(), None, "one record a frame");
    let line = line(&frame(&record, &names()).unwrap());
    line.split_once(": ").unwrap().1.to_owned()
}

type Case = (&'static str, Vec<u8>, fn(&mut World), &'static str);

fn nothing(_: &mut World) {}

fn open_on_a(world: &mut World) {
    world.flow(A, ESTABLISHED, COUNTED, 0).unwrap();
}

#[expect(clippy::too_many_lines, reason = "a table, a case after the other")]
fn cases() -> Vec<Case> {
    let case =
        |name, segment: Segment, given: fn(&mut World), told| (name, segment.bytes(), given, told);
    vec![
        case(
            "new",
            v4(SYN),
            nothing,
            "no session; allowed; candidates a with 0 of 1 and b with 0 of 1; takes a; ",
        ),
        case(
            "new6",
            v6(SYN),
            nothing,
            "no session; allowed; candidates a with 0 of 1 and b with 0 of 1; takes a; ",
        ),
        case(
            "lighter",
            v4(SYN),
            |world| world.set_load(A, 12).unwrap(),
            "candidates a with 12 of 1 and b with 0 of 1; takes b; MAC 02:00:00:00:b0:02; sent out of eth0",
        ),
        case(
            "open",
            v4(ACK | PSH),
            open_on_a,
            "established session with a; ",
        ),
        case(
            "drained",
            v4(ACK | PSH),
            |world| {
                open_on_a(world);
                world.weight(A, 0).unwrap();
            },
            "established session with a, which takes no new ones; ",
        ),
        case(
            "drained, new",
            v4(SYN),
            |world| world.weight(A, 0).unwrap(),
            "takes b",
        ),
        case(
            "denied",
            v4(SYN),
            |world| {
                world.list(List::Deny, CLIENT4.into(), 24).unwrap();
                world.director(|it| it.flags |= flag::LISTS).unwrap();
            },
            "no session; denied by 198.51.100.0/24; dropped",
        ),
        case(
            "denied, told",
            v4(SYN),
            |world| {
                world.list(List::Deny, CLIENT4.into(), 24).unwrap();
                world
                    .director(|director| director.flags |= flag::LISTS | flag::RESET_DENIED)
                    .unwrap();
            },
            "no session; denied by 198.51.100.0/24; ",
        ),
        case(
            "no MAC yet",
            v4(SYN),
            |world| {
                for id in [A, B] {
                    world
                        .change_backend(id, |backend| backend.state = UNRESOLVED)
                        .unwrap();
                }
                world.all_slots_alternate(A, B).unwrap();
            },
            "candidates b, whose MAC is not known yet and a, whose MAC is not known yet; the backend's MAC is not known yet; dropped",
        ),
        case(
            "no MAC yet, in another's place",
            v4(SYN),
            |world| {
                world
                    .change_backend(B, |backend| backend.state = UNRESOLVED)
                    .unwrap();
                world.weight(A, 0).unwrap();
                world.all_slots_alternate(A, B).unwrap();
            },
            "b, whose MAC is not known yet (a takes no new sessions)",
        ),
        case(
            "open, no MAC",
            v4(ACK | PSH),
            |world| {
                open_on_a(world);
                world
                    .change_backend(A, |backend| backend.state = UNRESOLVED)
                    .unwrap();
            },
            "established session with a; the MAC of a is not known yet; dropped",
        ),
        case(
            "dead",
            v4(ACK | PSH),
            |world| {
                open_on_a(world);
                world
                    .change_backend(A, |backend| backend.state = DEAD)
                    .unwrap();
            },
            "established session with a; a is dead: reset; ",
        ),
        case(
            "backup",
            v4(SYN),
            |world| world.director(|it| it.role = role::BACKUP).unwrap(),
            "no session; this box is not the master; dropped",
        ),
        case(
            "no lease",
            v4(SYN),
            |world| world.director(|it| it.lease_until_ns = 1).unwrap(),
            "this box is the master, but its lease has run out; dropped",
        ),
        case(
            "other port",
            v4(SYN).to_port(26),
            nothing,
            "not for us: no such service here; passed up",
        ),
        case(
            "rate",
            v4(SYN),
            |world| {
                world.director(|it| it.new_per_second = 1).unwrap();
                for port in 1..=3 {
                    world.run(&v4(SYN).from_port(port).bytes()).unwrap();
                }
            },
            "above the rate that a source may open; dropped",
        ),
        case(
            "flood",
            v4(SYN),
            |world| world.flood(|_| ()).unwrap(),
            "a SYN flood lasts: by the ring alone; to a; ",
        ),
        case(
            "mid-flow",
            v4(ACK | PSH),
            nothing,
            "no session; allowed; candidates a with 0 of 1 and b with 0 of 1; in mid-session, by the ring alone; to a; ",
        ),
        case(
            "adopted",
            v4(ACK | PSH),
            |world| world.director(|it| it.adopt_per_second = 9).unwrap(),
            "adopted in mid-session; to a; now unproven; ",
        ),
        case(
            "own",
            v4(SYN),
            |world| world.candidates(LOCAL, LOCAL).unwrap(),
            "takes here; passed up",
        ),
        case(
            "tunnel",
            v4(SYN),
            |world| world.candidates(TUNNEL4, TUNNEL4).unwrap(),
            "takes tunnel; MAC 02:00:00:00:b0:06; in a tunnel from ",
        ),
        case(
            "nat",
            v4(SYN),
            |world| {
                world
                    .nat(
                        B,
                        SERVER4.into(),
                        Some(2525),
                        &[(std::net::SocketAddr::new(VIP4.into(), PORT), VIP_IDS[0])],
                    )
                    .unwrap();
                world.candidates(B, B).unwrap();
            },
            "takes b; MAC 02:00:00:00:b0:02; destination 10.0.0.11:2525; sent out of eth0",
        ),
        case(
            "handed, new",
            v4(SYN).from_mac(NODE_MAC),
            |world| world.director(|it| it.role = role::BACKUP).unwrap(),
            "from another box of the cluster; no session; ",
        ),
        case(
            "second chance",
            v4(ACK | PSH).from_mac(NODE_MAC),
            |world| {
                world
                    .own_socket_seen(Some(std::time::Duration::ZERO))
                    .unwrap();
                world.candidates(LOCAL, B).unwrap();
            },
            "from another box of the cluster; no session; candidates here with 0 of 1 and b with 0 of 1; no socket of it here: handed on to the other candidate; to b; ",
        ),
        (
            "handed on",
            marked(v4(ACK | PSH).from_mac(NODE_MAC).bytes()),
            |world| {
                world
                    .own_socket_seen(Some(std::time::Duration::ZERO))
                    .unwrap();
            },
            "from another box of the cluster, marked; no session; no box has the session; ",
        ),
        (
            "tunnelled",
            in4(v4(ACK | PSH).packet()).bytes(),
            nothing,
            "in another box's tunnel; no session; ",
        ),
        (
            "error",
            icmp4(3, 4).about(&reply4(), 28).bytes(),
            open_on_a,
            "an ICMP error about the session; established session with a; goes where the session is; ",
        ),
        (
            "ping",
            icmp4(8, 0).bytes(),
            nothing,
            "no whole TCP segment, IP protocol 1; not for us: no such service here; passed up",
        ),
        (
            "ping6",
            icmp6(128, 0).bytes(),
            nothing,
            "no whole TCP segment, IP protocol 58; ",
        ),
        case(
            "nat reply",
            v4(ACK | PSH).back(),
            |world| {
                world
                    .nat(
                        B,
                        VIP4.into(),
                        None,
                        &[(std::net::SocketAddr::new(VIP4.into(), PORT), VIP_IDS[0])],
                    )
                    .unwrap();
                world.flow(B, ESTABLISHED, COUNTED, 0).unwrap();
            },
            "a backend's reply; established session with b; ",
        ),
    ]
}

#[test]
fn each_stage_says_its_word() {
    let Some((mut world, mut traces)) = World::traced("each_stage_says_its_word", &ALL, u64::MAX)
    else {
        return;
    };
    let mut wrong = Vec::new();
    for (name, packet, given, wanted) in cases() {
        world.reset().unwrap();
        given(&mut world);
        traces.by_ref().for_each(drop);
        let told = told(&mut world, &mut traces, &packet);
        if !told.contains(wanted) {
            wrong.push(format!("{name}: {told}\n  instead of {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_traced_frame_is_decided_as_without_a_trace() {
    let test = "a_traced_frame_is_decided_as_without_a_trace";
    let Some((mut traced, _traces)) = World::traced(test, &ALL, u64::MAX) else {
        return;
    };
    let mut plain = World::load(test).unwrap();
    for (name, packet, given, _) in cases() {
        let [traced, plain] = [&mut traced, &mut plain].map(|world| {
            world.reset().unwrap();
            given(world);
            let done = world.run(&packet).unwrap();
            (
                done,
                world.counters().unwrap(),
                world.stats(A).unwrap(),
                world.client_flows(4).unwrap().len(),
            )
        });
        assert_eq!(traced, plain, "{name}");
    }
}

#[test]
fn the_ordinary_program_has_nothing_of_a_trace() {
    let test = "the_ordinary_program_has_nothing_of_a_trace";
    let (Some(plain), Some((traced, _))) = (World::load(test), World::traced(test, &ALL, u64::MAX))
    else {
        return;
    };
    let of_trace = |world: &World| {
        let names = world.map_names().unwrap();
        [TRACES, TRACE_SCRATCH].map(|map| names.iter().any(|name| name == map))
    };
    assert_eq!(of_trace(&plain), [false; 2]);
    assert_eq!(of_trace(&traced), [true; 2]);
    let verified = |world: &World| world.info().unwrap().verified_instruction_count();
    eprintln!(
        "verified: {:?}, traced {:?}",
        verified(&plain),
        verified(&traced)
    );
    // The verifier gives up at a million (BPF_COMPLEXITY_LIMIT_INSNS, include/linux/bpf.h). Kernel 6.1
    // examines twice what 6.18 does; a quarter is left for kernels that examine more.
    for world in [&plain, &traced] {
        assert!(verified(world).unwrap_or(0) < 750_000);
    }
}

#[test]
fn nothing_of_a_payload_is_in_a_record() {
    let test = "nothing_of_a_payload_is_in_a_record";
    let Some((mut world, mut traces)) = World::traced(test, &ALL, u64::MAX) else {
        return;
    };
    let packet = v4(ACK | PSH).payload(200).bytes();
    world.run(&packet).unwrap();
    let record = traces.next().expect("the frame is told");
    // SAFETY: a record consists of integers only, without padding, and outlives the slice.
    let bytes = unsafe {
        std::slice::from_raw_parts((&raw const record).cast::<u8>(), size_of_val(&record))
    };
    let parts = packet[54..].windows(4);
    let told: Vec<&[u8]> = parts
        .filter(|part| bytes.windows(4).any(|bytes| bytes == *part))
        .collect();
    assert!(told.is_empty(), "{told:?} of the payload in {bytes:?}");
    // The search finds what is there.
    let client = CLIENT4.octets();
    assert!(bytes.windows(4).any(|bytes| bytes == client));
}

fn is_told(filter: &TraceFilter, until_ns: u64, packet: &Segment) -> Option<bool> {
    let (mut world, mut traces) = World::traced("filters", filter, until_ns)?;
    world.run(&packet.bytes()).unwrap();
    Some(traces.next().is_some())
}

#[test]
fn only_what_is_asked_for_is_told() {
    let of = |address: IpAddr, bits| TraceFilter {
        clients: Some(Network::of(address, bits)),
        ..ALL
    };
    let port = |port| TraceFilter {
        port: Some(port),
        ..ALL
    };
    let vip = |vip: IpAddr| TraceFilter {
        vip: Some(vip),
        ..ALL
    };
    let other = IpAddr::from([198, 51, 101, 7]);
    for (filter, packet, wanted) in [
        (of(CLIENT4.into(), 32), v4(SYN), true),
        (of(CLIENT4.into(), 24), v4(SYN), true),
        (of(other, 24), v4(SYN), false),
        (of(CLIENT4.into(), 0), v6(SYN), false),
        (of(CLIENT6.into(), 64), v6(SYN), true),
        (port(25), v4(SYN), true),
        (port(40_000), v4(SYN), true),
        (port(26), v4(SYN), false),
        (vip(VIP4.into()), v4(SYN), true),
        (vip(other), v4(SYN), false),
        (vip(VIP4.into()), v6(SYN), false),
    ] {
        let Some(told) = is_told(&filter, u64::MAX, &packet) else {
            return;
        };
        assert_eq!(told, wanted, "{filter:?}");
    }
    // After its end it tells nothing, though the program still runs.
    assert_eq!(is_told(&ALL, 1, &v4(RST)), Some(false));
}

#[test]
fn what_is_above_the_limit_is_counted() {
    const FRAMES: u64 = 3000;
    let Some((mut world, mut traces)) =
        World::traced("what_is_above_the_limit_is_counted", &ALL, u64::MAX)
    else {
        return;
    };
    let packet = v4(ACK).bytes();
    for _ in 0..FRAMES {
        assert_eq!(world.run(&packet).unwrap().0, verdict::TX);
    }
    let told = traces.by_ref().count() as u64;
    // The ring buffer alone has no room for more than some 1,300.
    assert!(told > 100 && told < 2000, "{told}");
    assert_eq!(told + traces.left_out(), FRAMES);
}
