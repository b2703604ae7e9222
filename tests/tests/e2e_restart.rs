//! A daemon that ends and comes back, on a box that goes on.
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Lab, Spec, addresses},
    probe::{Probe, longest_gap},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

const SESSIONS: usize = 60;

/// How often a node became master since its daemon started.
fn times_master(cluster: &Cluster, index: usize) -> u64 {
    cluster.status(index).unwrap().election.times_master
}

#[test]
fn a_master_that_is_restarted_stays_the_master_and_keeps_its_sessions() {
    let name = "a_master_that_is_restarted_stays_the_master_and_keeps_its_sessions";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        advertisement_interval: "50ms",
        // The probe may leave a SYN behind.
        more: "  idle: {half_open: 5s}\n".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    let others: Vec<usize> = (0..cluster.len()).filter(|i| *i != master).collect();
    let before: Vec<u64> = others.iter().map(|i| times_master(&cluster, *i)).collect();
    let client = lab.client();
    let mut sessions = Held::open_many(client, SESSIONS).unwrap();
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    let sources = vec![IpAddr::from(client.address4())];
    let probe = Probe::start(client, sources, vip, Duration::from_millis(20)).unwrap();
    let begun = Instant::now();
    let mut away = Duration::ZERO;
    for _ in 0..5 {
        let gone = Instant::now();
        cluster.hand_over(master).unwrap();
        // No daemon runs, and sessions are taken.
        sessions.extend(Held::open_many(client, 4).unwrap());
        assert_eq!(survivors(&mut sessions), sessions.len(), "without a daemon");
        cluster.start(master).unwrap();
        cluster
            .wait_status(master, "master again", Status::is_master)
            .unwrap();
        away = away.max(gone.elapsed());
        assert_eq!(
            survivors(&mut sessions),
            sessions.len(),
            "after the restart"
        );
    }
    let gap = longest_gap(&probe.finish(), begun, Instant::now()).unwrap();
    println!(
        "5 restarts, each at most {away:?}: {} sessions, none lost; new ones wait at most {gap:?}",
        sessions.len()
    );
    let after: Vec<u64> = others.iter().map(|i| times_master(&cluster, *i)).collect();
    assert_eq!(after, before, "another node became master");
    // The first SYN that is lost comes again after a second.
    assert!(
        gap < away.max(Duration::from_secs(1)),
        "{gap:?} of {away:?}"
    );
    let open = |status: &Status| -> u64 { status.backends.iter().map(|b| b.sessions).sum() };
    let expected = sessions.len() as u64;
    cluster
        .wait_status(master, "LOAD is the sessions", |status| {
            open(status) == expected
        })
        .unwrap();
}

#[test]
fn a_successor_that_never_comes_is_replaced() {
    let Some(_turn) = lbd_tests::turn("a_successor_that_never_comes_is_replaced") else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let mut sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
    cluster.hand_over(master).unwrap();
    cluster
        .wait_status(1 - master, "it waits no longer", Status::is_master)
        .unwrap();
    assert_eq!(survivors(&mut sessions), SESSIONS);
    cluster.start(master).unwrap();
    cluster
        .wait_status(master, "the better one is back", Status::is_master)
        .unwrap();
    assert_eq!(survivors(&mut sessions), SESSIONS);
}
