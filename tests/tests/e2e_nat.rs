//! `forwarding: nat` with real sessions: a pure director before two mail servers that know nothing of
//! lbd, and whose way to the clients leads through the VIP.
use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    net::{IpAddr, SocketAddr},
};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Host, INTERFACE, Lab, Spec, addresses},
    postfix::smtp_source,
    smtp::{
        client::{self, Close, Session},
        server::Server,
    },
};

/// A port of the VIP that the servers do not have: the director translates it to 25.
const OTHER_PORT: u16 = 2525;

fn lab() -> Lab {
    Lab::new(&Spec {
        sources: 20,
        ..Spec::default()
    })
    .unwrap()
}

/// The configuration of the first node as a pure director: the two others are its backends, of the
/// VIP's family, and both ports lead to their port 25.
fn as_director(written: &str, lab: &Lab, ipv6: bool) -> String {
    let vip = if ipv6 {
        format!("\"{}/{}\"", addresses::VIP6, addresses::PREFIX6)
    } else {
        format!("{}/{}", addresses::VIP4, addresses::PREFIX4)
    };
    let (head, _) = written.split_once("  sites:\n").unwrap();
    let mut text = String::new();
    for line in head.lines() {
        let line = match line.trim_start().split(':').next() {
            Some("name") => "  name: lb1".to_owned(),
            Some("virtual_addresses") => format!("  virtual_addresses: [{vip}]"),
            Some("ports") => format!("  ports: [25, {OTHER_PORT}]"),
            Some("stats") => "  stats: {interval: 1s, source: none}".to_owned(),
            _ => line.to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str("  sites:\n    - name: inside\n      backends:\n");
    for node in &lab.nodes[1..] {
        let address = if ipv6 {
            IpAddr::from(node.address6())
        } else {
            node.address4().into()
        };
        let name = &node.name;
        let _ = writeln!(
            text,
            "        - {{name: {name}, address: \"{address}\", port: 25}}"
        );
    }
    text
}

fn every_session_is_translated(ipv6: bool) {
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let lab = lab();
    let client = lab.client();
    let sources = client.addresses(ipv6);
    let vip = addresses::vip_like(sources[0]);
    let servers: Vec<Server> = lab.nodes[1..]
        .iter()
        .map(|node| {
            let way = format!("via {vip} dev {INTERFACE}");
            for source in &sources {
                node.ip(&format!("route add {source} {way}")).unwrap();
            }
            Server::start_behind_nat(node).unwrap()
        })
        .collect();
    let settings = Settings {
        more: "  forwarding: nat\n".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    let written = fs::read_to_string(cluster.config(0)).unwrap();
    fs::write(cluster.config(0), as_director(&written, &lab, ipv6)).unwrap();
    cluster.start(0).unwrap();
    cluster
        .wait_status(0, "mastership with both servers", |status| {
            let takes = |node: &Host| status.backend(&node.name).is_some_and(|b| b.accepting);
            status.is_master() && lab.nodes[1..].iter().all(takes)
        })
        .unwrap();
    for port in [25, OTHER_PORT] {
        let target = SocketAddr::new(vip, port);
        for close in [Close::Fin, Close::Rst] {
            let session = |nth: usize| Session {
                close,
                ..Session::new(sources[nth % sources.len()], target)
            };
            let what = format!("{family}, port {port}, {close:?}");
            let by_server =
                client::served_by(client, (0..100).map(session).collect()).expect(&what);
            println!("{what}: 100 sessions, none failed: {by_server:?}");
            assert_eq!(by_server.len(), servers.len(), "{by_server:?}");
        }
        smtp_source(client, target, 200, 10).unwrap();
        println!("{family}, port {port}: 200 smtp-source sessions, none failed");
    }
    let seen: BTreeSet<IpAddr> = servers
        .iter()
        .flat_map(|server| server.peers().into_keys())
        .collect();
    let all: BTreeSet<IpAddr> = sources.iter().copied().collect();
    assert_eq!(seen, all, "the mail servers see the clients' own addresses");
    let translated = cluster.status(0).unwrap().counters["nat_reply"];
    println!("{family}: {translated} replies translated");
    assert!(translated > 0);
}

#[test]
fn sessions_are_translated_both_ways_over_ipv4() {
    let Some(_turn) = lbd_tests::turn("sessions_are_translated_both_ways_over_ipv4") else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "sessions_are_translated_both_ways_over_ipv4",
        &["smtp-source"],
    ) {
        return;
    }
    every_session_is_translated(false);
}

#[test]
fn sessions_are_translated_both_ways_over_ipv6() {
    let Some(_turn) = lbd_tests::turn("sessions_are_translated_both_ways_over_ipv6") else {
        return;
    };
    if !lbd_tests::programs::or_skip(
        "sessions_are_translated_both_ways_over_ipv6",
        &["smtp-source"],
    ) {
        return;
    }
    every_session_is_translated(true);
}
