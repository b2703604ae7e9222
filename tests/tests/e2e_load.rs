//! Open sessions under what should not touch them: a SYN flood, and rings that are swapped all the
//! time. Each is short in an ordinary run; `-- --ignored` runs it in full.
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Host, INTERFACE, Lab, Spec, addresses},
    rings::PinnedRings,
    smtp::{
        client::{self, Outcome, Session},
        held::{Held, survivors},
        server::Server,
    },
    xdp::packet::{SYN, v4},
};
use socket2::{Domain, Protocol, Socket, Type};

/// 10 a second: to write one takes most of that time.
const BETWEEN_SWAPS: Duration = Duration::from_millis(100);
/// Frames that are made beforehand: each another source and port.
const SPOOFED: u32 = 50_000;
/// The first of their sources: 198.18.0.0, which RFC 2544 keeps for tests.
const FIRST_SOURCE: u32 = 0xc612_0000;

#[test]
fn a_syn_flood_loses_no_session_for_two_seconds() {
    flood(
        "a_syn_flood_loses_no_session_for_two_seconds",
        Duration::from_secs(2),
    );
}

#[test]
#[ignore = "the same for ten seconds"]
fn a_syn_flood_loses_no_session_for_ten_seconds() {
    flood(
        "a_syn_flood_loses_no_session_for_ten_seconds",
        Duration::from_secs(10),
    );
}

fn flood(name: &str, length: Duration) {
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        clients: 2,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let [client, attacker] = &lab.clients[..] else {
        panic!("there are two clients");
    };
    let mut open = Held::open_many(client, 200).unwrap();
    let over = AtomicBool::new(false);
    let (sent, outcomes) = thread::scope(|scope| {
        let flood = scope.spawn(|| attacker.inside(|| spoof(attacker, &over)).unwrap());
        let ends = lbd_tests::Over(&over);
        let outcomes = sessions_for(client, length);
        drop(ends);
        (flood.join().unwrap(), outcomes)
    });
    let all = outcomes.len();
    let failed: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| !matches!(outcome, Outcome::Served { .. }))
        .collect();
    println!(
        "{sent} spoofed SYNs in {length:?}: {} of {all} new sessions failed",
        failed.len()
    );
    assert!(sent > 10_000, "{sent} SYNs are no flood");
    assert!(failed.len() * 100 <= all, "{failed:?}");
    assert_eq!(survivors(&mut open), 200);
    drop(cluster);
}

/// New sessions, one after the other, for so long.
fn sessions_for(host: &Host, length: Duration) -> Vec<Outcome> {
    let source: IpAddr = host.address4().into();
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    let work = async move || {
        let end = Instant::now() + length;
        let mut outcomes = Vec::new();
        while Instant::now() < end {
            outcomes.push(client::run(&Session::new(source, vip)).await);
        }
        outcomes
    };
    host.runtime(work).unwrap().join().unwrap().unwrap()
}

/// Sends SYNs of sources that do not exist, as fast as it goes, until it is over; how many.
fn spoof(host: &Host, over: &AtomicBool) -> u64 {
    // The neighbour of the VIP: the master's MAC, as any client has it.
    let vip: IpAddr = addresses::VIP4.into();
    let _ = std::net::TcpStream::connect_timeout(&SocketAddr::new(vip, 25), Duration::from_secs(5));
    let neighbour = host.ip(&format!("neighbour show {vip}")).unwrap();
    let mac = neighbour
        .split_whitespace()
        .skip_while(|word| *word != "lladdr")
        .nth(1)
        .expect("the VIP has a MAC");
    let mac: Vec<u8> = mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let frames: Vec<Vec<u8>> = (0..SPOOFED)
        .map(|number| {
            let source = Ipv4Addr::from_bits(FIRST_SOURCE + number);
            v4(SYN)
                .from4(source)
                .to4(addresses::VIP4)
                .edit(0, &mac)
                .bytes()
        })
        .collect();
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).unwrap();
    let link = host.ip(&format!("-o link show {INTERFACE}")).unwrap();
    let index: i32 = link.split(':').next().unwrap().trim().parse().unwrap();
    // SAFETY: an address of plain integers, for which all zeroes are valid.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET.try_into().unwrap();
    to.sll_ifindex = index;
    let mut sent = 0;
    for frame in frames.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        // SAFETY: the frame and the address outlive the call, and their sizes are told truly.
        let result = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of_val(&to).try_into().unwrap(),
            )
        };
        // A full queue is what a flood is about.
        sent += u64::from(result > 0);
    }
    sent
}

#[test]
fn no_session_moves_while_rings_are_swapped_for_two_seconds() {
    swaps(
        "no_session_moves_while_rings_are_swapped_for_two_seconds",
        200,
        Duration::from_secs(2),
    );
}

#[test]
#[ignore = "a thousand sessions for ten seconds"]
fn no_session_moves_while_rings_are_swapped_for_ten_seconds() {
    swaps(
        "no_session_moves_while_rings_are_swapped_for_ten_seconds",
        1000,
        Duration::from_secs(10),
    );
}

fn swaps(name: &str, count: usize, length: Duration) {
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.master().unwrap();
    let mut open = Held::open_many(lab.client(), count).unwrap();
    let mut pinned = PinnedRings::open(cluster.pin_dir(master)).unwrap();
    // Three rings of which every slot has another backend in the next: there are two maps, so each is
    // written with other backends every time.
    let ring = pinned.live().unwrap();
    let mut ids = ring.clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "backends in the ring");
    let turned = |by: usize| -> Vec<u32> {
        let place = |id: &u32| ids.iter().position(|other| other == id).unwrap();
        ring.iter().map(|id| ids[(place(id) + by) % 3]).collect()
    };
    let rings = [turned(1), turned(2), ring.clone()];
    let start = Instant::now();
    let swaps = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut swaps = 0_u32;
            while start.elapsed() < length {
                pinned.swap(&rings[swaps as usize % 3]).unwrap();
                swaps += 1;
                let next = start + swaps * BETWEEN_SWAPS;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            swaps
        });
        // Meanwhile each session says something, in turn.
        for held in (0..count).cycle() {
            if writing.is_finished() {
                break;
            }
            open[held].check().unwrap();
        }
        writing.join().unwrap()
    });
    println!("{swaps} rings written in {length:?} with {count} open sessions");
    assert_eq!(survivors(&mut open), count);
    drop(cluster);
}
