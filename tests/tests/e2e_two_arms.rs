//! A director with an arm in each of two segments: a backend's frames leave by the interface that
//! faces it, others by the one they came in on.
use std::{fs, net::SocketAddr};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{FAR_INTERFACE, Host, INTERFACE, Lab, Spec, addresses},
    smtp::{
        client::{self, Close, Session},
        server::Server,
    },
};

/// The node before the others.
const DIRECTOR: usize = 0;
/// On the clients' segment.
const NEAR: usize = 1;
/// On the other one; its way to the clients leads through a router.
const FAR: usize = 2;

/// A cluster whose only daemon is the director's.
fn directed(lab: &Lab, settings: Settings) -> Cluster {
    let mut cluster = Cluster::new(
        lab,
        Settings {
            directors: vec![DIRECTOR],
            ..settings
        },
    )
    .unwrap();
    let path = cluster.config(DIRECTOR);
    let written = fs::read_to_string(&path).unwrap();
    let both = written.replace(
        &format!("[{INTERFACE}]"),
        &format!("[{INTERFACE}, {FAR_INTERFACE}]"),
    );
    assert_ne!(both, written);
    fs::write(&path, both).unwrap();
    cluster.start(DIRECTOR).unwrap();
    let servers = [NEAR, FAR].map(|index| lab.nodes[index].name.clone());
    cluster
        .wait_status(DIRECTOR, "mastership with both servers", |status| {
            let takes = |name: &String| status.backend(name).is_some_and(|b| b.accepting);
            status.is_master() && servers.iter().all(takes)
        })
        .unwrap();
    cluster
}

fn both_serve(client: &Host, ipv6: bool) {
    let sources = client.addresses(ipv6);
    let vip = SocketAddr::new(addresses::vip_like(sources[0]), 25);
    for close in [Close::Fin, Close::Rst] {
        let session = |nth: usize| Session {
            close,
            ..Session::new(sources[nth % sources.len()], vip)
        };
        let by_server = client::served_by(client, (0..100).map(session).collect()).unwrap();
        println!("{vip}, {close:?}: 100 sessions, none failed: {by_server:?}");
        assert_eq!(by_server.len(), 2, "{by_server:?}");
    }
}

fn lab() -> Lab {
    let mut lab = Lab::new(&Spec {
        sources: 20,
        ..Spec::default()
    })
    .unwrap();
    lab.put_behind_router(FAR).unwrap();
    lab
}

#[test]
fn dsr_reaches_backends_on_both_segments() {
    let Some(_turn) = lbd_tests::turn("dsr_reaches_backends_on_both_segments") else {
        return;
    };
    let lab = lab();
    lab.add_far_arm(DIRECTOR).unwrap();
    for node in [NEAR, FAR] {
        lab.nodes[node].hold_vips().unwrap();
    }
    let _servers = Server::start_all(&lab.nodes[NEAR..]).unwrap();
    let _cluster = directed(&lab, Settings::default());
    for ipv6 in [false, true] {
        both_serve(lab.client(), ipv6);
    }
}

#[test]
fn nat_translates_for_backends_on_both_segments() {
    let Some(_turn) = lbd_tests::turn("nat_translates_for_backends_on_both_segments") else {
        return;
    };
    let lab = lab();
    let inside = lab.add_far_arm(DIRECTOR).unwrap();
    let client = lab.client();
    for source in client.addresses(false) {
        let way = format!("via {} dev {INTERFACE}", addresses::VIP4);
        lab.nodes[NEAR]
            .ip(&format!("route add {source} {way}"))
            .unwrap();
    }
    // As in `deploy/examples/nat.yaml`: the director is the servers' way out.
    lab.nodes[FAR]
        .ip(&format!("route replace default via {inside}"))
        .unwrap();
    let _servers: Vec<Server> = lab.nodes[NEAR..]
        .iter()
        .map(|node| Server::start_behind_nat(node).unwrap())
        .collect();
    let settings = Settings {
        ipv6: false,
        more: "  forwarding: nat\n".to_owned(),
        ..Settings::default()
    };
    let cluster = directed(&lab, settings);
    both_serve(client, false);
    let translated = cluster.status(DIRECTOR).unwrap().counters["nat_reply"];
    println!("{translated} replies translated");
    assert!(translated > 0);
}
