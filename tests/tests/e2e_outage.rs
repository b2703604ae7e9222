//! Boxes and wires that fail while sessions are open, and senders that notice late.
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Cut, INTERFACE, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

const SESSIONS: usize = 60;

/// A cluster with servers behind it, and sessions through its master.
struct Outage {
    cluster: Cluster,
    _servers: Vec<Server>,
    lab: Lab,
    sessions: Vec<Held>,
    master: usize,
}

impl Outage {
    fn begin() -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        for node in &lab.nodes {
            node.count_resets().unwrap();
        }
        let servers = Server::start_all(&lab.nodes).unwrap();
        let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
        let master = cluster.wait_ready().unwrap();
        let sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
        for node in (0..cluster.len()).filter(|node| *node != master) {
            cluster
                .wait_status(node, "the flows are known", |status| {
                    let each = status.backends.iter().map(|backend| backend.sessions);
                    each.sum::<u64>() >= SESSIONS as u64
                })
                .unwrap();
        }
        Self {
            cluster,
            _servers: servers,
            lab,
            sessions,
            master,
        }
    }

    /// Splits the sessions off that `node` serves.
    fn sessions_at(&mut self, node: usize) -> Vec<Held> {
        let name = &self.lab.nodes[node].name;
        let sessions = std::mem::take(&mut self.sessions);
        let (there, elsewhere) = sessions.into_iter().partition(|held| held.by() == name);
        self.sessions = elsewhere;
        there
    }

    /// The client sends what is for the VIP to `node`, and ignores who announces it.
    fn pin_arp(&self, node: usize) {
        let mac = self.mac(node);
        let client = self.lab.client();
        for vip in [IpAddr::from(addresses::VIP4), addresses::VIP6.into()] {
            client
                .ip(&format!(
                    "neigh replace {vip} lladdr {mac} nud permanent dev {INTERFACE}"
                ))
                .unwrap();
        }
    }

    fn mac(&self, node: usize) -> String {
        let shown = self.lab.nodes[node]
            .ip(&format!("-o link show dev {INTERFACE}"))
            .unwrap();
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "link/ether").unwrap();
        words.next().unwrap().to_owned()
    }

    fn all_live(&mut self, when: &str) {
        let sessions = self.sessions.len();
        assert_eq!(survivors(&mut self.sessions), sessions, "{when}");
    }
}

#[test]
fn senders_with_an_old_address_keep_their_sessions_and_are_never_reset() {
    let name = "senders_with_an_old_address_keep_their_sessions_and_are_never_reset";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = Outage::begin();
    let (master, backup) = (the.master, (the.master + 1) % 3);
    // Everything goes to a node that is not the master.
    the.pin_arp(backup);
    the.all_live("by way of a backup");
    let new = the.lab.client().inside(|| {
        let vip = SocketAddr::new(addresses::VIP4.into(), 25);
        TcpStream::connect_timeout(&vip, Duration::from_secs(2))
    });
    let error = new.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "a new one is not reset");
    // To one whose daemon stands still, so that another has taken over.
    the.pin_arp(master);
    the.cluster.signal(master, libc::SIGSTOP).unwrap();
    the.cluster
        .wait_status(backup, "it is the master", Status::is_master)
        .unwrap();
    the.all_live("by way of a stopped master");
    the.cluster.signal(master, libc::SIGCONT).unwrap();
    the.cluster
        .wait_status(master, "it is the master again", Status::is_master)
        .unwrap();
    // To one whose daemon is dead.
    the.cluster.kill(master);
    the.cluster
        .wait_status(backup, "it is the master", Status::is_master)
        .unwrap();
    the.all_live("by way of a node without a daemon");
    // To one that was the master: it comes back, and stays a backup.
    the.cluster.start(master).unwrap();
    the.cluster
        .wait_status(master, "it is back", Status::is_master)
        .unwrap();
    the.pin_arp(backup);
    the.all_live("by way of a deposed master");
    let resets = the.lab.nodes.iter().map(|node| node.resets().unwrap());
    assert_eq!(resets.sum::<u64>(), 0, "no stack reset a session");
}

#[test]
fn a_partition_of_ten_seconds_costs_no_session_but_those_behind_it() {
    let name = "a_partition_of_ten_seconds_costs_no_session_but_those_behind_it";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = Outage::begin();
    let (master, cut) = (the.master, (the.master + 1) % 3);
    let behind = the.sessions_at(cut);
    the.lab.cut(&the.lab.nodes[cut], Cut::Silent).unwrap();
    the.cluster
        .wait_status(cut, "it takes itself for the master", Status::is_master)
        .unwrap();
    for _ in 0..5 {
        the.all_live("while two are master");
        thread::sleep(Duration::from_secs(2));
    }
    the.lab.restore(&the.lab.nodes[cut]).unwrap();
    the.cluster
        .wait_status(cut, "it yields", |status| !status.is_master())
        .unwrap();
    assert!(the.cluster.status(master).unwrap().is_master());
    the.all_live("healed");
    let new = Held::open_many(the.lab.client(), SESSIONS).unwrap();
    the.sessions.extend(new);
    the.all_live("healed, with new ones");
    println!(
        "10 s of two masters: {} sessions, none lost; {} were behind the cut",
        the.sessions.len(),
        behind.len()
    );
}

#[test]
fn a_backend_that_is_back_in_time_keeps_its_sessions_and_a_dead_ones_are_reset() {
    let name = "a_backend_that_is_back_in_time_keeps_its_sessions_and_a_dead_ones_are_reset";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = Outage::begin();
    let (master, dies) = (the.master, (the.master + 1) % 3);
    let name = the.lab.nodes[dies].name.clone();
    let mut there = the.sessions_at(dies);
    let count = there.len();
    assert!(count > 5, "{count} of {SESSIONS} at {name}");
    // Three checks of a second each have to fail.
    the.lab.cut(&the.lab.nodes[dies], Cut::Silent).unwrap();
    thread::sleep(Duration::from_millis(800));
    the.lab.restore(&the.lab.nodes[dies]).unwrap();
    assert_eq!(survivors(&mut there), count, "back in time");
    the.lab.cut(&the.lab.nodes[dies], Cut::Silent).unwrap();
    the.cluster
        .wait_status(master, "it is dead", |status| {
            !status.backend(&name).unwrap().accepting
        })
        .unwrap();
    let kinds: Vec<ErrorKind> = there
        .iter_mut()
        .map(|held| held.check().unwrap_err().kind())
        .collect();
    assert!(
        kinds.iter().all(|kind| *kind == ErrorKind::ConnectionReset),
        "{kinds:?}"
    );
    the.all_live("elsewhere");
    println!("{count} sessions of a dead backend were reset at their next word");
}
