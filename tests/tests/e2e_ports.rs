//! Boxes that have no listening socket for a service: none at all, or in another network namespace.
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use lbd_tests::{
    cluster::{Cluster, Service, Settings, Status},
    lab::{Host, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// The second port that the cluster serves.
const SUBMISSION: u16 = 587;
const SESSIONS: usize = 60;

/// Greets everybody on [`SUBMISSION`] with the host's name; dropping it closes the listener.
struct Greeter {
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Greeter {
    fn start(host: &Host) -> Self {
        let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), SUBMISSION);
        let listener = host.inside(|| TcpListener::bind(at)).unwrap().unwrap();
        listener.set_nonblocking(true).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let (name, seen) = (host.name.clone(), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((mut client, _)) => {
                        let _ = client.write_all(name.as_bytes());
                    }
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Who greets so many sessions on [`SUBMISSION`], in both families in turn; none is refused.
fn greeted(client: &Host) -> BTreeMap<String, usize> {
    let vips: [IpAddr; 2] = [addresses::VIP4.into(), addresses::VIP6.into()];
    let mut by = BTreeMap::new();
    for nth in 0..SESSIONS {
        let vip = SocketAddr::new(vips[nth % 2], SUBMISSION);
        let patience = Duration::from_secs(5);
        let connect = || TcpStream::connect_timeout(&vip, patience);
        let mut stream = client.inside(connect).unwrap().expect("it is served");
        let mut name = String::new();
        stream.read_to_string(&mut name).unwrap();
        *by.entry(name).or_default() += 1;
    }
    by
}

fn warns(status: &Status, of: &str) -> bool {
    status.channel.warnings.iter().any(|told| told.contains(of))
}

#[test]
fn a_box_gets_nothing_for_a_port_without_a_listener_and_all_else() {
    let name = "a_box_gets_nothing_for_a_port_without_a_listener_and_all_else";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let _greeters: Vec<Greeter> = lab.nodes[..2].iter().map(Greeter::start).collect();
    let mut cluster = Cluster::new(&lab, Settings::default()).unwrap();
    cluster.edit("ports: [25]", "ports: [25, 587]").unwrap();
    for node in 0..cluster.len() {
        cluster.start(node).unwrap();
    }
    cluster.wait_ready().unwrap();
    let lacks = "mx3 takes no sessions for port 587: no listener";
    let wait = |what: &str, lacking: bool| {
        cluster
            .wait_status(0, what, |status| {
                status.is_master() && warns(status, lacks) == lacking
            })
            .unwrap();
    };
    wait("mx3 lacks a listener", true);
    let by = greeted(lab.client());
    println!("587 without mx3: {by:?}");
    assert!(by.keys().eq(["mx1", "mx2"]), "{by:?}");
    let mut held = Held::open_many(lab.client(), SESSIONS).unwrap();
    let at = |held: &[Held]| held.iter().filter(|held| held.by() == "mx3").count();
    let share = at(&held);
    println!("25: {share} of {SESSIONS} at mx3");
    let of_port = |status: &Status, port, figure: fn(&Service) -> u64| -> u64 {
        let services = status.services.iter();
        services.filter(|of| of.port == port).map(figure).sum()
    };
    let status = cluster
        .wait_status(0, "the figures of port 25", |status| {
            of_port(status, 25, |of| of.sessions) == SESSIONS as u64
        })
        .unwrap();
    assert_eq!(status.services.len(), 4, "{:?}", status.services);
    let begun = [25, 587].map(|port| of_port(&status, port, |of| of.steered_sessions));
    println!("begun at 25 and 587: {begun:?}");
    assert_eq!(begun, [SESSIONS as u64; 2]);
    assert!(share >= SESSIONS / 6, "{share} of {SESSIONS} at mx3");

    let late = Greeter::start(&lab.nodes[2]);
    wait("mx3 listens", false);
    let by = greeted(lab.client());
    println!("587 with mx3: {by:?}");
    assert!(by.contains_key("mx3"), "{by:?}");
    drop(late);
    wait("mx3 lacks it again", true);
    let by = greeted(lab.client());
    assert!(by.keys().eq(["mx1", "mx2"]), "{by:?}");
    assert_eq!(survivors(&mut held), SESSIONS);
}

#[test]
fn a_box_whose_mta_is_in_a_container_does_not_speak_for_it() {
    let name = "a_box_whose_mta_is_in_a_container_does_not_speak_for_it";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let inside = lab.container(&lab.nodes[1]).unwrap();
    let _servers = [
        Server::start(&lab.nodes[0], None).unwrap(),
        Server::start_behind_nat(&inside).unwrap(),
    ];
    let settings = Settings {
        ipv6: false,
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let unsure = "mx2 has no listener for port 25, but rules";
    cluster
        .wait_status(0, "mx2 does not speak", |status| warns(status, unsure))
        .unwrap();
    let vip = addresses::VIP4.into();
    let mut held = Held::open_to(lab.client(), vip, 40).unwrap();
    let contained = held.iter().filter(|held| held.by() == inside.name).count();
    println!("{contained} of 40 sessions in the container");
    assert!(contained >= 5, "{contained} of 40");
    let all_count = |status: &Status| {
        let mx2 = status.backend("mx2").expect("it is one");
        mx2.sessions == contained as u64
    };
    // Their third frame with payload makes them sessions.
    for _ in 0..3 {
        assert_eq!(survivors(&mut held), 40);
    }
    let what = "the container's sessions count";
    cluster.wait_status(0, what, all_count).unwrap();
    // What counts while it may be on its way does so for two seconds.
    thread::sleep(Duration::from_secs(4));
    cluster.wait_status(0, what, all_count).unwrap();
    // A daemon that starts is told mx2's table, and all its kernel's sessions: none.
    cluster.kill(0);
    cluster.start(0).unwrap();
    cluster.wait_ready().unwrap();
    cluster
        .wait_status(0, "it knows mx2's flows", |status| {
            let peer = status.channel.peers.first();
            status.is_master() && warns(status, unsure) && peer.is_some_and(|peer| peer.complete)
        })
        .unwrap();
    thread::sleep(Duration::from_secs(2));
    cluster.wait_status(0, what, all_count).unwrap();
    assert_eq!(survivors(&mut held), 40);
}
