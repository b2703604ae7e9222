//! `forwarding: ipip` with real sessions: three boxes, one of them behind a router, that tunnel to
//! each other without a tunnel in any kernel.
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings},
    lab::{FAR_SEGMENTS, Host, Lab, Spec, addresses},
    postfix::smtp_source,
    smtp::{
        client::{self, Close, Session},
        server::Server,
    },
};

/// The node behind the router.
const FAR: usize = 2;

fn lab() -> Lab {
    let mut lab = Lab::new(&Spec {
        sources: 20,
        ..Spec::default()
    })
    .unwrap();
    lab.put_behind_router(FAR).unwrap();
    lab
}

fn settings(backends6: bool) -> Settings {
    Settings {
        backends6,
        backends_only: vec![FAR],
        more: "  forwarding: ipip\n".to_owned(),
        ..Settings::default()
    }
}

/// The client's sources of one family, and the VIP that they speak to.
fn ends(client: &Host, ipv6: bool) -> (Vec<IpAddr>, SocketAddr) {
    let sources = client.addresses(ipv6);
    let vip = SocketAddr::new(addresses::vip_like(sources[0]), 25);
    (sources, vip)
}

fn every_session_is_served_through(backends6: bool) {
    let outer = if backends6 { "IPv6" } else { "IPv4" };
    let lab = lab();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, settings(backends6)).unwrap();
    let client = lab.client();
    let mut all = BTreeSet::new();
    for ipv6 in [false, true] {
        let (sources, vip) = ends(client, ipv6);
        all.extend(sources.iter().copied());
        let inner = if ipv6 { "IPv6" } else { "IPv4" };
        for close in [Close::Fin, Close::Rst] {
            let session = |nth: usize| Session {
                close,
                ..Session::new(sources[nth % sources.len()], vip)
            };
            let what = format!("{inner} in {outer}, {close:?}");
            let by_server =
                client::served_by(client, (0..100).map(session).collect()).expect(&what);
            println!("{what}: 100 sessions, none failed: {by_server:?}");
            assert_eq!(by_server.len(), servers.len(), "{by_server:?}");
        }
        smtp_source(client, vip, 200, 10).unwrap();
        println!("{inner} in {outer}: 200 smtp-source sessions, none failed");
    }
    let seen: BTreeSet<IpAddr> = servers
        .iter()
        .flat_map(|server| server.peers().into_keys())
        .collect();
    assert_eq!(seen, all, "the mail servers see the clients' own addresses");
    let taken_out = [1, FAR].map(|node| cluster.counter(node, "decapsulated").unwrap());
    assert!(taken_out.iter().all(|frames| *frames > 0), "{taken_out:?}");
    for node in 0..lab.nodes.len() {
        assert_eq!(cluster.counter(node, "drop_tunnel_stranger").unwrap(), 0);
    }
    assert!(!cluster.status(FAR).unwrap().is_master());
    println!("frames taken out on mx2 and mx3: {taken_out:?}");
}

#[test]
fn tunnels_of_ipv4_carry_both_families_past_a_router() {
    let Some(_turn) = lbd_tests::turn("tunnels_of_ipv4_carry_both_families_past_a_router") else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "tunnels_of_ipv4_carry_both_families_past_a_router",
        &["smtp-source"],
    ) {
        return;
    }
    every_session_is_served_through(false);
}

#[test]
fn tunnels_of_ipv6_carry_both_families_past_a_router() {
    let Some(_turn) = lbd_tests::turn("tunnels_of_ipv6_carry_both_families_past_a_router") else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "tunnels_of_ipv6_carry_both_families_past_a_router",
        &["smtp-source"],
    ) {
        return;
    }
    every_session_is_served_through(true);
}

#[test]
fn long_messages_arrive_because_the_client_is_told_what_fits() {
    let name = "long_messages_arrive_because_the_client_is_told_what_fits";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = lab();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, settings(false)).unwrap();
    let master = cluster.master().unwrap();
    // Every session goes the long way.
    for near in &lab.nodes[..FAR] {
        let drained = cluster.lbd(master, &["drain", &near.name]).unwrap();
        assert!(drained.status.success(), "{drained:?}");
    }
    let client = lab.client();
    let long = |ipv6: bool, what: &str| {
        let (sources, vip) = ends(client, ipv6);
        let session = Session {
            bytes: 200_000,
            ..Session::new(sources[0], vip)
        };
        let before = cluster.counter(master, "icmp_too_big").unwrap();
        client::served_by(client, vec![session; 5]).expect(what);
        let answers = cluster.counter(master, "icmp_too_big").unwrap() - before;
        println!("{what}: 5 messages of 200 kB arrived, {answers} answers");
        assert!(answers > 0, "{what}: everything fitted");
        let route = client.ip(&format!("route get {}", vip.ip())).unwrap();
        let mtu = route.split_whitespace().skip_while(|word| *word != "mtu");
        mtu.skip(1).find_map(|bytes| bytes.parse::<u32>().ok())
    };
    assert_eq!(long(false, "IPv4, 1500 bytes"), Some(1480));
    assert_eq!(long(true, "IPv6, 1500 bytes"), Some(1480));
    // The operator knows of something narrower on the way; the tunnel follows.
    let (segment, gateway) = FAR_SEGMENTS[0];
    for node in &lab.nodes[..FAR] {
        node.ip(&format!("route change {segment} via {gateway} mtu 1400"))
            .unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while !cluster.log(master).contains("1400 bytes") {
        assert!(Instant::now() < deadline, "{}", cluster.log(master));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(long(false, "IPv4, 1400 bytes"), Some(1380));
    assert_eq!(long(true, "IPv6, 1400 bytes"), Some(1380));
}
