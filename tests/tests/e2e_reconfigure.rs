//! Backends and addresses that come and go, and are reached in other ways, while sessions are open.
use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings, Status},
    lab::{Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// The line of the third backend, which is no node that is ever the master here.
const MX3: &str = "        - {name: mx3, address: \"10.77.0.13\", weight: 100}\n";

/// A cluster with sessions through it, whose configuration is about to change.
struct Change {
    // In the order in which they are dropped.
    cluster: Cluster,
    _servers: Vec<Server>,
    lab: Lab,
    sessions: Vec<Held>,
    master: usize,
}

impl Change {
    fn begin() -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
        let master = cluster.wait_ready().unwrap();
        assert_ne!(master, 2);
        let mut the = Self {
            cluster,
            _servers: servers,
            lab,
            sessions: Vec::new(),
            master,
        };
        the.open(60);
        the
    }

    fn open(&mut self, count: usize) {
        let more = Held::open_many(self.lab.client(), count).unwrap();
        self.sessions.extend(more);
    }

    fn at_mx3(&self) -> usize {
        self.sessions.iter().filter(|one| one.by() == "mx3").count()
    }

    fn seen(&self, what: &str, holds: impl Fn(&Status) -> bool) {
        for node in 0..self.cluster.len() {
            self.cluster.wait_status(node, what, &holds).unwrap();
        }
    }

    fn all_live(&mut self, when: &str) {
        let count = self.sessions.len();
        assert_eq!(survivors(&mut self.sessions), count, "{when}");
    }

    /// Waits until an address is on so many boxes' interface or loopback.
    fn wait_on_boxes(&self, address: IpAddr, boxes: usize) {
        let has = |node: &&lbd_tests::lab::Host| {
            let shown = node.ip("-o addr show").unwrap();
            shown.contains(&format!(" {address}/"))
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let count = self.lab.nodes.iter().filter(has).count();
            if count == boxes {
                return;
            }
            assert!(Instant::now() < deadline, "{address} is on {count} boxes");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_backend_that_is_removed_keeps_its_sessions_and_may_come_back() {
    let name = "a_backend_that_is_removed_keeps_its_sessions_and_may_come_back";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = Change::begin();
    let there = the.at_mx3();
    assert!(there > 5, "{there} of 60 at mx3");
    the.cluster.edit(MX3, "").unwrap();
    the.seen("it is gone", |status| status.backend("mx3").is_none());
    the.all_live("their backend is removed");
    the.open(40);
    assert_eq!(the.at_mx3(), there, "no new session at a removed backend");
    // Nor does a restart forget it.
    let master = the.master;
    the.cluster.hand_over(master).unwrap();
    the.cluster.start(master).unwrap();
    the.cluster
        .wait_status(master, "master again", Status::is_master)
        .unwrap();
    the.all_live("their backend is removed and the master restarted");
    // It comes back while it still has some, and stays when those end.
    let line = "        - {name: mx2, address: \"10.77.0.12\", weight: 100}\n";
    the.cluster.edit(line, &format!("{line}{MX3}")).unwrap();
    the.seen("it is back", |status| {
        status.backend("mx3").is_some_and(|mx3| mx3.accepting)
    });
    the.all_live("their backend is back");
    the.sessions.retain(|session| session.by() != "mx3");
    the.cluster
        .wait_status(master, "none is left there", |status| {
            status.backend("mx3").unwrap().sessions == 0
        })
        .unwrap();
    // Some rounds of the policy, which forget what was removed.
    thread::sleep(Duration::from_secs(3));
    the.open(60);
    assert!(the.at_mx3() > 5, "{} of 60 at mx3", the.at_mx3());
    the.all_live("it has come back");
    println!("{} sessions, none lost", the.sessions.len());
}

#[test]
fn a_backend_that_is_reached_in_another_way_keeps_its_sessions() {
    let name = "a_backend_that_is_reached_in_another_way_keeps_its_sessions";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = Change::begin();
    let by = |way: &str| MX3.replace("weight", &format!("forwarding: {way}, weight"));
    let decapsulated = |the: &Change| the.cluster.status(2).unwrap().counters["decapsulated"];
    the.cluster.edit(MX3, &by("ipip")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while decapsulated(&the) == 0 {
        assert!(Instant::now() < deadline, "no frame came by the tunnel");
        the.all_live("their backend is about to be reached by a tunnel");
    }
    the.all_live("their backend is reached by a tunnel");
    the.open(30);
    assert!(the.at_mx3() > 5);
    the.cluster.edit(&by("ipip"), MX3).unwrap();
    the.all_live("it is reached directly again");
    println!("{} sessions, none lost", the.sessions.len());
}

#[test]
fn a_virtual_address_comes_and_goes_everywhere() {
    let Some(_turn) = lbd_tests::turn("a_virtual_address_comes_and_goes_everywhere") else {
        return;
    };
    let mut the = Change::begin();
    let new: IpAddr = [10, 77, 0, 101].into();
    let old = format!("[{}/{}", addresses::VIP4, addresses::PREFIX4);
    let both = format!("[{new}/{}, {}", addresses::PREFIX4, &old[1..]);
    the.cluster.edit(&old, &both).unwrap();
    the.wait_on_boxes(new, 3);
    let deadline = Instant::now() + PATIENCE;
    while the.cluster.holders(new).unwrap() != [the.master] {
        assert!(Instant::now() < deadline, "the master does not hold it");
        thread::sleep(Duration::from_millis(50));
    }
    let opened = (0..20).map(|_| Held::open(the.lab.client(), new).unwrap());
    let opened: Vec<Held> = opened.collect();
    the.sessions.extend(opened);
    the.all_live("an address has come");
    // It moves with the others.
    let master = the.master;
    the.cluster.kill(master);
    let next = (master + 1) % 3;
    the.cluster
        .wait_status(next, "it is the master", Status::is_master)
        .unwrap();
    the.all_live("all addresses have another master");
    the.cluster.start(master).unwrap();
    the.cluster
        .wait_status(master, "it is back", Status::is_master)
        .unwrap();
    the.cluster.edit(&both, &old).unwrap();
    the.wait_on_boxes(new, 0);
    the.sessions.truncate(60);
    the.all_live("an address has gone");
    println!("{} sessions, none lost", the.sessions.len());
}
