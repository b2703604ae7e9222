//! Flows between nodes: what a new master knows of the former one's sessions.
use lbd_tests::{
    cluster::{Cluster, Settings, Status, random_secret},
    lab::{Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// Sessions held open.
const SESSIONS: usize = 60;

#[test]
fn held_sessions_outlive_their_master_and_its_return() {
    let Some(_turn) = lbd_tests::turn("held_sessions_outlive_their_master_and_its_return") else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let first = cluster.master().unwrap();
    let open = |count| Held::open_many(lab.client(), count).unwrap();
    let mut sessions = open(SESSIONS);
    let served: Vec<u64> = servers.iter().map(Server::sessions).collect();
    for index in (0..cluster.len()).filter(|index| *index != first) {
        let known = "the master's flows arrived";
        cluster
            .wait_status(index, known, |status| status.sessions() >= SESSIONS as u64)
            .unwrap();
    }
    cluster.kill(first);
    let second = cluster.wait_another_master(first).unwrap();
    assert_eq!(
        survivors(&mut sessions),
        SESSIONS,
        "sessions left of {SESSIONS} after the failover to node {second}, served {served:?}"
    );
    // These the old master has never seen.
    sessions.extend(open(SESSIONS));
    cluster.start(first).unwrap();
    cluster
        .wait_status(first, "it is the master again", Status::is_master)
        .unwrap();
    cluster
        .wait_status(first, "it has fetched the sessions", |status| {
            let has_table = status.channel.counters["tables_received"] > 0;
            has_table && status.sessions() >= 2 * SESSIONS as u64
        })
        .unwrap();
    assert_eq!(
        survivors(&mut sessions),
        2 * SESSIONS,
        "sessions left of {} after the return",
        2 * SESSIONS
    );
}

#[test]
fn a_node_with_a_wrong_key_inserts_nothing_and_counts_it() {
    let Some(_turn) = lbd_tests::turn("a_node_with_a_wrong_key_inserts_nothing_and_counts_it")
    else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 3,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.master().unwrap();
    let stranger = (0..3).find(|index| *index != master).unwrap();
    let friend = 3 - master - stranger;
    // Killed, not stopped: its server is to stay reachable.
    cluster.kill(stranger);
    cluster
        .write_secret(stranger, &random_secret().unwrap())
        .unwrap();
    let sessions: Vec<Held> = (0..SESSIONS)
        .map(|_| Held::open(lab.client(), addresses::VIP4.into()).unwrap())
        .collect();
    cluster
        .wait_status(friend, "the master's flows arrived", |status| {
            status.sessions() >= SESSIONS as u64
        })
        .unwrap();
    cluster.start(stranger).unwrap();
    let refused = |status: &Status| {
        let counters = &status.channel.counters;
        counters["refused_unknown_key"] + counters["refused_forged"]
    };
    let status = cluster
        .wait_status(stranger, "it refuses its peers", |status| {
            refused(status) >= 4
        })
        .unwrap();
    let counters = &status.channel.counters;
    assert_eq!(counters["datagrams_accepted"], 0);
    assert_eq!(counters["flows_inserted"], 0);
    assert!(status.channel.peers.iter().all(|peer| !peer.complete));
    cluster
        .wait_status(master, "it refuses the stranger", |status| {
            refused(status) > 0
        })
        .unwrap();
    drop(sessions);
}
