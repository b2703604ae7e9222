//! A node that joins fetches the table of those that are there, also from a network that loses.
use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lbd::{
    dataplane::vips::preferred_id,
    flows::{Insert, Key4, NewFlow},
};
use lbd_common::flow::{flag, state};
use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Host, Lab, Spec, addresses},
    smtp::server::Server,
    tables::Tables,
};

/// A client like no other.
fn key(nth: u32) -> Key4 {
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    Key4 {
        source: (0x0a4e_0000 + nth / 50_000).into(),
        port: 10_000 + u16::try_from(nth % 50_000).unwrap(),
        vip_id: preferred_id(vip),
    }
}

fn fill(tables: &Tables, count: u32) {
    let seen = lbd::dataplane::seen(monotonic_ns());
    for nth in 0..count {
        let flow = NewFlow {
            backend: u16::try_from(nth % 2).unwrap(),
            state: state::ESTABLISHED,
            flags: flag::COUNTED,
        };
        let inserted = tables.v4().insert(key(nth), flow, seen);
        assert_eq!(inserted, Insert::Inserted, "flow {nth}");
    }
}

fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes one timespec, which is there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap()
}

/// Has a node drop so many percent of the cluster channel's datagrams that come to it. (There is no
/// netem in every kernel; what a receiver drops is lost as well.)
fn lose(node: &Host, percent: u32) {
    let rules = format!(
        "add table inet lossy; add chain inet lossy in {{ type filter hook input priority 0; }}; \
         add rule inet lossy in udp dport 9426 numgen random mod 100 < {percent} counter drop"
    );
    node.output("nft", &[rules]).unwrap();
}

fn join(flows: u32, percent: u32) {
    // The backends run no lbd: a box's own word would end these flows, which no kernel has a socket of.
    let lab = Lab::new(&Spec {
        nodes: 4,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes[2..]).unwrap();
    let settings = Settings {
        directors: vec![0, 1],
        backends_only: vec![2, 3],
        // With as many as there is room for, a few find their buckets full.
        flows: 2 * flows,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    for node in &lab.nodes[2..] {
        node.hold_vips().unwrap();
    }
    let (master, backup) = (0, 1);
    cluster.start(master).unwrap();
    cluster.start(backup).unwrap();
    cluster
        .wait_status(master, "it is the master", Status::is_master)
        .unwrap();
    let knows_both = |status: &Status| status.backends.iter().all(|backend| backend.health == "up");
    cluster
        .wait_status(master, "both backends are up", knows_both)
        .unwrap();
    // Its tables are pinned from here on.
    cluster.wait_status(backup, "it runs", |_| true).unwrap();
    cluster.kill(backup);
    let table = Tables::open(cluster.pin_dir(master)).unwrap();
    fill(&table, flows);
    if percent > 0 {
        lab.nodes.iter().for_each(|node| lose(node, percent));
    }
    let before = cluster.status(master).unwrap().channel.counters;
    let begun = Instant::now();
    cluster.start(backup).unwrap();
    // Asked directly: a status of a busy daemon takes longer than what is measured.
    let came = loop {
        let there = Tables::open(cluster.pin_dir(backup)).unwrap();
        let knows = |nth| there.v4().lookup(key(nth)).is_some();
        // Some first: to look at all of them takes longer than what is measured.
        if (0..flows).step_by(101).all(knows) {
            let elapsed = begun.elapsed();
            if (0..flows).all(knows) {
                break elapsed;
            }
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "it does not come");
        thread::sleep(Duration::from_millis(20));
    };
    let status = cluster
        .wait_status(backup, "it knows that it has all", |status| {
            // The backends are peers that say nothing.
            status.channel.peers.iter().any(|peer| peer.complete)
        })
        .unwrap();
    let complete = begun.elapsed();
    let after = cluster.status(master).unwrap().channel.counters;
    let sent = |name: &str| after[name] - before[name];
    let heard = &status.channel.counters;
    println!(
        "a join with {flows} flows while {percent} % of the datagrams are lost: all there {came:.2?} \
         after the daemon's start, known to be complete after {complete:.2?}; {} datagrams and {} bytes \
         sent, {:.1} a flow; {} datagrams told again, {} given up, {} tables asked for",
        sent("datagrams_sent"),
        sent("bytes_sent"),
        f64::from(u32::try_from(sent("bytes_sent")).unwrap()) / f64::from(flows),
        heard["repaired"],
        heard["lost"],
        heard["tables_asked"],
    );
    assert_eq!(heard["flows_no_room"], 0);
    assert_eq!(heard["refused_flood"], 0, "an honest table is no flood");
    assert_eq!(after["refused_flood"], 0, "nor is what is asked for again");
    assert_eq!(heard["tables_received"], 1, "one table is enough");
    if percent > 0 {
        assert!(heard["repaired"] > 0, "nothing was lost");
    }
}

#[test]
fn a_node_that_joins_has_every_flow_through_loss() {
    let Some(_turn) = lbd_tests::turn("a_node_that_joins_has_every_flow_through_loss") else {
        return;
    };
    join(50_000, 5);
}

#[test]
#[ignore = "a figure: by name, with a release build in LBD_BIN"]
fn a_join_with_a_million_flows() {
    let Some(_turn) = lbd_tests::turn("a_join_with_a_million_flows") else {
        return;
    };
    join(1_000_000, 0);
    join(1_000_000, 5);
}
