//! Weights that follow what the mail systems say of themselves.
use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Site},
    lab::{Host, Lab, Spec, addresses},
    percent,
    smtp::{
        client::{self, Outcome, Session},
        server::Server,
    },
};

/// The stats interval of these tests.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sessions that are open at once: one alone goes to the heavier of its two candidates each time.
const AT_ONCE: usize = 10;

/// Holds sessions through the VIP for `length`; returns when each that `name` served began, and how
/// many there were.
fn send(client: &Host, name: &str, length: Duration) -> (Vec<Instant>, usize) {
    let source = IpAddr::from(client.address4());
    let session = Session::new(source, SocketAddr::new(addresses::VIP4.into(), 25));
    let work = async move || {
        let until = Instant::now() + length;
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let session = session.clone();
            senders.spawn(async move {
                let mut served = Vec::new();
                while Instant::now() < until {
                    let begun = Instant::now();
                    match client::run(&session).await {
                        Outcome::Served { by, .. } => served.push((by, begun)),
                        other => panic!("{other}"),
                    }
                }
                served
            });
        }
        senders.join_all().await.concat()
    };
    let served: Vec<(String, Instant)> = client.runtime(work).unwrap().join().unwrap().unwrap();
    let on = served
        .iter()
        .filter(|(by, _)| by == name)
        .map(|(_, at)| *at);
    (on.collect(), served.len())
}

#[test]
fn a_node_with_too_many_sources_is_shut_off_keeps_its_sessions_and_comes_back() {
    let name = "a_node_with_too_many_sources_is_shut_off_keeps_its_sessions_and_comes_back";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        sources: 60,
        ..Spec::default()
    })
    .unwrap();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        stats_interval: "1s",
        policy: "{kind: seed, above_average: 20, high_threshold: 1000}".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    let client = lab.client();
    let node = &lab.nodes[2];

    // Long sessions through the VIP, of which the node holds its share.
    let session = Session {
        pause: Duration::from_secs(8),
        ..Session::new(
            client.address4().into(),
            SocketAddr::new(addresses::VIP4.into(), 25),
        )
    };
    let long = client
        .runtime(async move || {
            let mut sessions = tokio::task::JoinSet::new();
            for _ in 0..30 {
                let session = session.clone();
                sessions.spawn(async move { client::run(&session).await });
            }
            sessions.join_all().await
        })
        .unwrap();
    let deadline = Instant::now() + INTERVAL * 10;
    while servers.iter().map(Server::open).sum::<usize>() < 30 {
        assert!(Instant::now() < deadline, "the long sessions do not open");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(servers[2].open() > 0, "the node has none of 30 sessions");

    // Other senders, at the node's own address: its agent counts their sources too.
    let target = SocketAddr::new(node.address4().into(), 25);
    let crowd: Vec<TcpStream> = client
        .inside(|| {
            let connect = |source: &std::net::Ipv4Addr| {
                let socket =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
                let socket = socket.unwrap();
                socket
                    .bind(&SocketAddr::new((*source).into(), 0).into())
                    .unwrap();
                socket.connect(&target.into()).unwrap();
                TcpStream::from(socket)
            };
            client.addresses4.iter().map(connect).collect()
        })
        .unwrap();
    let tripped = Instant::now();
    let (on, all) = send(client, &node.name, INTERVAL * 4);
    let last = on.iter().max().map_or(Duration::ZERO, |at| *at - tripped);
    let ratio = last.as_secs_f64() / INTERVAL.as_secs_f64();
    println!(
        "{} sources on {}: its last new session began {ratio:.2} stats intervals later ({} of {all} sessions)",
        crowd.len(),
        node.name,
        on.len(),
    );
    let status = cluster
        .wait_status(master, "shut off", |status| {
            status
                .backend(&node.name)
                .is_some_and(|backend| !backend.accepting)
        })
        .unwrap();
    println!("  why: {}", status.backend(&node.name).unwrap().reason);
    // One interval, and what a poll and a round of the policy take of the next.
    assert!(ratio < 1.5, "{ratio}");

    let outcomes = long.join().unwrap().unwrap();
    let on_node = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Served { by, .. } if *by == node.name))
        .count();
    let served = |outcome: &Outcome| matches!(outcome, Outcome::Served { .. });
    assert!(outcomes.iter().all(served), "{outcomes:?}");
    println!("  its {on_node} open sessions were served to their end");
    assert!(on_node > 0);

    drop(crowd);
    cluster
        .wait_status(master, "back", |status| {
            status
                .backend(&node.name)
                .is_some_and(|backend| backend.accepting)
        })
        .unwrap();
    let (on, all) = send(client, &node.name, INTERVAL);
    println!("  and it came back: {} of {all} new sessions", on.len());
    assert!(!on.is_empty());
}

#[test]
fn a_queue_is_steered_around_until_it_is_gone() {
    let Some(_turn) = lbd_tests::turn("a_queue_is_steered_around_until_it_is_gone") else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        policy: "{kind: queue-aware, slow_start: 1s}".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    let name = &lab.nodes[2].name;

    // What a mail system that delivers nothing leaves in its spool.
    let active = cluster.spool(2).join("active");
    fs::create_dir_all(&active).unwrap();
    for id in 0..2000 {
        fs::write(active.join(format!("{id:010X}")), "").unwrap();
    }
    let low = |permille: u32| permille <= 20_000;
    let status = cluster
        .wait_status(master, "a low weight", |status| {
            let backend = status.backend(name).unwrap();
            backend.queued() == Some(2000) && low(backend.weight_permille)
        })
        .unwrap();
    let backend = status.backend(name).unwrap();
    let weight = f64::from(backend.weight_permille) / 1000.0;
    let (on, all) = send(lab.client(), name, INTERVAL * 2);
    let share = percent(on.len() as u64, all as u64);
    println!(
        "2,000 messages queued on {name}: weight {weight} of 100, {share:.1} % of {all} sessions"
    );
    println!("  why: {}", backend.reason);
    assert!(share < 20.0, "{share}");

    fs::remove_dir_all(&active).unwrap();
    fs::create_dir_all(&active).unwrap();
    cluster
        .wait_status(master, "its weight again", |status| {
            status.backend(name).unwrap().weight_permille > 95_000
        })
        .unwrap();
    let (on, all) = send(lab.client(), name, INTERVAL * 2);
    let share = percent(on.len() as u64, all as u64);
    println!("  the queue gone: {share:.1} % of {all} sessions");
    assert!(share > 20.0, "{share}");
}

#[test]
fn a_slow_box_loses_its_share_but_no_session_and_gets_it_back() {
    let Some(_turn) = lbd_tests::turn("a_slow_box_loses_its_share_but_no_session_and_gets_it_back")
    else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        policy: "{kind: queue-aware, slow_start: 1s}".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    cluster.wait_ready().unwrap();
    let (name, slow) = (&lab.nodes[2].name, &servers[2]);
    // `send` panics when a session is cut.
    let share = |length| {
        let (on, all) = send(lab.client(), name, length);
        percent(on.len() as u64, all as u64)
    };
    let before = share(INTERVAL * 2);
    slow.set_delay(INTERVAL / 2);
    let slowed = share(INTERVAL * 2);
    slow.set_delay(Duration::ZERO);
    share(INTERVAL * 2);
    let after = share(INTERVAL * 2);
    println!(
        "{name} has {before:.1} % of the sessions; {slowed:.1} % in the 2 stats intervals after it \
         became slow, none of them cut; {after:.1} % after its cure"
    );
    assert!(slowed < before * 0.75, "{slowed} of {before}");
    assert!(after > slowed * 1.5, "{after} after {slowed}");
}

#[test]
fn a_site_that_can_take_no_more_spills_to_the_other_and_takes_over_again() {
    let name = "a_site_that_can_take_no_more_spills_to_the_other_and_takes_over_again";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        sites: vec![
            Site {
                name: "dallas",
                nodes: 2,
                spill: Some("atlanta"),
            },
            Site {
                name: "atlanta",
                nodes: 1,
                spill: None,
            },
        ],
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    for index in 0..cluster.len() {
        cluster.start(index).unwrap();
    }
    // The node of the highest priority; a site that stands by is never ready.
    let master = 0;
    cluster
        .wait_status(master, "mastership with both of dallas", |status| {
            let takes = |node: &Host| status.backend(&node.name).is_some_and(|b| b.accepting);
            status.role == "master" && lab.nodes[..2].iter().all(takes)
        })
        .unwrap();
    let stand_in = &lab.nodes[2].name;
    let order = |cluster: &Cluster, order: &str| {
        for node in &lab.nodes[..2] {
            let output = cluster.lbd(master, &[order, &node.name]).unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    };
    let takes = |expected: bool| {
        move |status: &lbd_tests::cluster::Status| {
            status
                .backend(stand_in)
                .is_some_and(|backend| backend.accepting == expected)
        }
    };
    let (on, all) = send(lab.client(), stand_in, INTERVAL);
    assert!(on.is_empty(), "{} of {all} while dallas has room", on.len());

    order(&cluster, "drain");
    let status = cluster
        .wait_status(master, "spilling", takes(true))
        .unwrap();
    println!("atlanta: {}", status.backend(stand_in).unwrap().reason);
    let (on, all) = send(lab.client(), stand_in, INTERVAL);
    assert!(all > 0);
    assert_eq!(on.len(), all, "while dallas is drained");

    order(&cluster, "undrain");
    let status = cluster
        .wait_status(master, "room again", takes(false))
        .unwrap();
    println!("atlanta: {}", status.backend(stand_in).unwrap().reason);
    let (on, all) = send(lab.client(), stand_in, INTERVAL);
    assert!(on.is_empty(), "{} of {all} with dallas back", on.len());
}
