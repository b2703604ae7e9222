//! A table that does not come, and one that is too large.
use std::{
    fs,
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
    lab::{Host, Lab, Spec, addresses::VIP4},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
    tables::Tables,
};

const SESSIONS: usize = 60;
/// Sessions of others, in a table only.
const OTHERS: u16 = 4000;

/// From now on peers are heard, but no datagram of theirs that is large enough for flows.
fn hold_up_tables(node: &Host) {
    let rules = "add table inet held; \
                 add chain inet held in { type filter hook input priority 0; }; \
                 add rule inet held in udp dport 9426 udp length > 280 counter drop";
    node.output("nft", &[rules]).unwrap();
}

fn release_tables(node: &Host) {
    node.output("nft", &["delete table inet held"]).unwrap();
}

/// A killed master's cluster, whose sessions began after its death, and which it comes back to without
/// being told of them.
struct Return {
    // In the order in which they are dropped.
    cluster: Cluster,
    _servers: Vec<Server>,
    lab: Lab,
    sessions: Vec<Held>,
}

impl Return {
    fn begin(more: &str) -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            more: more.to_owned(),
            ..Settings::default()
        };
        let mut cluster = Cluster::started(&lab, settings).unwrap();
        assert_eq!(cluster.wait_ready().unwrap(), 0);
        cluster.kill(0);
        cluster.wait_another_master(0).unwrap();
        let sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
        hold_up_tables(&lab.nodes[0]);
        cluster.start(0).unwrap();
        Self {
            cluster,
            _servers: servers,
            lab,
            sessions,
        }
    }

    fn all_live(&mut self, when: &str) {
        assert_eq!(survivors(&mut self.sessions), SESSIONS, "{when}");
        println!("{SESSIONS} sessions live on: {when}");
    }
}

#[test]
fn a_better_node_does_not_take_over_while_the_table_is_held_up() {
    let name = "a_better_node_does_not_take_over_while_the_table_is_held_up";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    // Beyond what the channel waits for.
    let mut the = Return::begin("  sync_timeout: 60s\n");
    let asks = |status: &Status| status.channel.counters["tables_asked"] > 0;
    the.cluster.wait_status(0, "it asks", asks).unwrap();
    // The time in which it takes over otherwise passes several times.
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let status = the.cluster.status(0).unwrap();
        assert!(!status.is_master(), "{:?}", status.election);
        let complete = status.channel.peers.iter().any(|peer| peer.complete);
        assert!(!complete, "{:?}", status.channel.peers);
        thread::sleep(Duration::from_millis(50));
    }
    the.all_live("the table is held up");
    release_tables(&the.lab.nodes[0]);
    let status = the
        .cluster
        .wait_status(0, "it takes over", Status::is_master)
        .unwrap();
    assert_eq!(status.election_counters["syncs_timed_out"], 0);
    the.all_live("it came, and the better node is the master");
    let adopted = the.cluster.counter(0, "flow_adopted").unwrap();
    assert_eq!(adopted, 0, "it knew every session");
}

#[test]
fn a_better_node_takes_over_at_the_deadline_without_the_table() {
    let name = "a_better_node_takes_over_at_the_deadline_without_the_table";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = Return::begin("  sync_timeout: 2s\n");
    let status = the
        .cluster
        .wait_status(0, "it takes over", Status::is_master)
        .unwrap();
    assert_eq!(status.election_counters["syncs_timed_out"], 1);
    assert!(status.channel.peers.iter().all(|peer| !peer.complete));
    the.all_live("the better node is the master without the table");
    // The boxes' own words on their sessions are small enough to come through. What they have not told of
    // by the takeover is found by the ring and the second chance.
    let status = the.cluster.status(0).unwrap();
    let adopted = status.counters["flow_adopted"];
    let told = status.channel.counters["flows_inserted"];
    println!("{told} told of by the boxes, {adopted} found by the ring and the second chance");
}

#[test]
fn a_node_with_a_table_too_small_says_so_and_keeps_what_fits() {
    let name = "a_node_with_a_table_too_small_says_so_and_keeps_what_fits";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::new(&lab, Settings::default()).unwrap();
    let file = cluster.config(1);
    let text = fs::read_to_string(&file).unwrap();
    let small = text.replace("flows: 100000", "flows: 1024");
    assert_ne!(small, text);
    fs::write(file, small).unwrap();
    for node in 0..cluster.len() {
        cluster.start(node).unwrap();
    }
    cluster
        .wait_status(0, "it is the master", Status::is_master)
        .unwrap();
    let ready = |status: &Status| status.backends.iter().all(|it| it.accepting);
    cluster.wait_status(0, "it takes sessions", ready).unwrap();
    // While it is away more sessions begin than its table takes.
    cluster.kill(1);
    let mut sessions = Held::open_to(lab.client(), VIP4.into(), SESSIONS).unwrap();
    let table = Tables::open(cluster.pin_dir(0)).unwrap();
    let seen = table.v4().iter().map(|flow| flow.word.seen).max().unwrap();
    for nth in 0..OTHERS {
        let key = Key4 {
            source: (0x0a4e_0000 + u32::from(nth)).into(),
            port: 1025,
            vip_id: preferred_id(SocketAddr::new(VIP4.into(), 25)),
        };
        let flow = NewFlow {
            backend: nth % 2,
            state: state::ESTABLISHED,
            flags: flag::COUNTED,
        };
        assert_eq!(table.v4().insert(key, flow, seen), Insert::Inserted);
    }
    cluster.start(1).unwrap();
    let status = cluster
        .wait_status(1, "the table came, and did not fit", |status| {
            let peers = &status.channel.peers;
            peers.iter().all(|peer| peer.complete) && status.channel.counters["flows_no_room"] > 0
        })
        .unwrap();
    let (fit, rest) = (
        status.channel.counters["flows_inserted"],
        status.channel.counters["flows_no_room"],
    );
    println!(
        "of {} sessions {fit} fit, {rest} did not",
        SESSIONS + usize::from(OTHERS)
    );
    assert!(fit > 500, "{fit}");
    let said = cluster.log(1);
    let lines = said.lines().filter(|line| line.contains("did not fit"));
    assert_eq!(lines.count(), 1, "{said}");
    let shown = cluster.lbd(1, &["status"]).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("did not fit: raise node.flows"), "{shown}");
    let joined = "the small node has joined";
    assert_eq!(survivors(&mut sessions), SESSIONS, "{joined}");
    cluster.kill(0);
    cluster
        .wait_status(1, "it is the master", Status::is_master)
        .unwrap();
    let left = survivors(&mut sessions);
    println!("after the failover to it {left} of {SESSIONS} go on");
    assert_eq!(left, SESSIONS);
    drop(servers);
}
