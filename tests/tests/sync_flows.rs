//! Flows between nodes: what a new master knows of the former one's sessions.
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings, Status, random_secret},
    lab::{Host, Lab, Spec, addresses},
    smtp::server::Server,
};

/// Sessions held open.
const SESSIONS: usize = 60;

/// A session that says something now and then.
struct Held {
    stream: BufReader<TcpStream>,
}

impl Held {
    /// Through the VIP, greeted.
    fn open(client: &Host, vip: IpAddr) -> std::io::Result<Self> {
        let stream = client.inside(|| {
            TcpStream::connect_timeout(&SocketAddr::new(vip, 25), Duration::from_secs(5))
        })??;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut held = Self {
            stream: BufReader::new(stream),
        };
        held.expect("220")?;
        Ok(held)
    }

    fn expect(&mut self, code: &str) -> std::io::Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.starts_with(code) {
            return Ok(());
        }
        Err(std::io::Error::other(format!("{line:?} is no {code}")))
    }

    fn still_works(&mut self) -> std::io::Result<()> {
        self.stream.get_mut().write_all(b"NOOP\r\n")?;
        self.expect("250")
    }
}

fn survivors(sessions: &mut [Held]) -> usize {
    let works = |held: &mut Held| {
        held.still_works()
            .inspect_err(|error| eprintln!("{:?}: {error}", held.stream.get_ref().local_addr()))
            .is_ok()
    };
    // All at once: each that is lost takes its whole patience.
    thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|held| scope.spawn(move || works(held)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .filter(|works| *works)
            .count()
    })
}

/// The channel's counter of node `index`.
fn counter(cluster: &Cluster, index: usize, name: &str) -> u64 {
    cluster.status(index).unwrap().channel.counters[name]
}

#[test]
fn held_sessions_outlive_their_master_and_its_return() {
    let Some(_turn) = lbd_tests::turn("held_sessions_outlive_their_master_and_its_return") else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let servers: Vec<Server> = lab
        .nodes
        .iter()
        .map(|node| Server::start(node, None).unwrap())
        .collect();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let first = cluster.master().unwrap();
    let open = |count: usize| -> Vec<Held> {
        let vips = [addresses::VIP4.into(), addresses::VIP6.into()];
        let vips = vips.into_iter().cycle().take(count);
        vips.map(|vip| Held::open(lab.client(), vip).unwrap())
            .collect()
    };
    let mut sessions = open(SESSIONS);
    let served: Vec<u64> = servers.iter().map(Server::sessions).collect();
    for index in (0..cluster.len()).filter(|index| *index != first) {
        let known = "the master's flows arrived";
        cluster
            .wait_status(index, known, |status| {
                status.channel.counters["flows_inserted"] >= SESSIONS as u64
            })
            .unwrap();
    }
    cluster.kill(first);
    let second = wait_for_another_master(&cluster, first);
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
    assert!(counter(&cluster, first, "tables_received") > 0);
    assert!(counter(&cluster, first, "flows_inserted") >= SESSIONS as u64);
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
    let _servers: Vec<Server> = lab
        .nodes
        .iter()
        .map(|node| Server::start(node, None).unwrap())
        .collect();
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
            status.channel.counters["flows_inserted"] >= SESSIONS as u64
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

/// Waits until a node other than `former` is the master.
fn wait_for_another_master(cluster: &Cluster, former: usize) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match cluster.master() {
            Some(master) if master != former => return master,
            _ => assert!(Instant::now() < deadline, "no other master in {PATIENCE:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}
