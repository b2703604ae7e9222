//! A backend that becomes `nat`, and `dsr` again, while it has sessions.
//!
//! Two nodes with lbd before a third box that has none, as an operator would set one up that is changed
//! so: the virtual address on its loopback, and what it sends from its own address (and only that) goes
//! by a second virtual address, which the master has.
use std::{fs, thread, time::Duration};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{INTERFACE, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// The way out for what is translated.
const GATEWAY: &str = "10.77.0.101";
/// The third box, in the configuration.
const MX3: &str = "{name: mx3, address: \"10.77.0.13\", weight: 100";
/// The nodes that run lbd; the first has the higher priority.
const NODES: [usize; 2] = [0, 1];

struct Change {
    // In the order in which they are dropped.
    cluster: Cluster,
    _servers: Vec<Server>,
    lab: Lab,
    sessions: Vec<Held>,
    way: &'static str,
}

impl Change {
    fn begin() -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let mx3 = &lab.nodes[2];
        mx3.hold_vips().unwrap();
        let (own, client) = (mx3.address4(), lab.client().address4());
        mx3.ip_batch(&format!(
            "rule add from {own} lookup 77\n\
             route add {client} via {GATEWAY} dev {INTERFACE} table 77\n"
        ))
        .unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            ipv6: false,
            ..Settings::default()
        };
        let mut cluster = Cluster::new(&lab, settings).unwrap();
        let vip = format!("[{}/", addresses::VIP4);
        cluster
            .edit(
                &vip,
                &format!("[{GATEWAY}/{}, {}", addresses::PREFIX4, &vip[1..]),
            )
            .unwrap();
        cluster
            .edit(MX3, &format!("{MX3}, stats: {{source: none}}"))
            .unwrap();
        for node in NODES {
            cluster.start(node).unwrap();
        }
        let all_take = |status: &Status| status.backends.iter().all(|it| it.accepting);
        cluster
            .wait_status(0, "the master with every backend", |status| {
                status.is_master() && all_take(status)
            })
            .unwrap();
        let mut the = Self {
            cluster,
            _servers: servers,
            lab,
            sessions: Vec::new(),
            way: "",
        };
        the.peers_know(0);
        the.open(60);
        the
    }

    fn peers_know(&self, node: usize) {
        self.cluster
            .wait_status(node, "it knows its peer's sessions", |status| {
                let mut peers = status.channel.peers.iter();
                peers.any(|peer| peer.name != "mx3" && peer.complete)
            })
            .unwrap();
    }

    /// Opens some; returns how many are at mx3.
    fn open(&mut self, count: usize) -> u64 {
        let more = Held::open_to(self.lab.client(), addresses::VIP4.into(), count).unwrap();
        let at_mx3 = more.iter().filter(|one| one.by() == "mx3").count();
        assert!(at_mx3 > 2, "{at_mx3} of {count} at mx3");
        self.sessions.extend(more);
        at_mx3 as u64
    }

    fn at_mx3(&self) -> u64 {
        let sessions = self.sessions.iter();
        sessions.filter(|one| one.by() == "mx3").count() as u64
    }

    /// Every session delivers a message.
    fn all_live(&mut self, when: &str) {
        let count = self.sessions.len();
        assert_eq!(survivors(&mut self.sessions), count, "{when}");
        for session in &mut self.sessions {
            session.deliver().expect(when);
        }
        println!(
            "{count} sessions, {} at mx3, live on: {when}",
            self.at_mx3()
        );
    }

    /// Changes the way to mx3, on one node after the other, and waits until all its sessions are
    /// known to have come by the former one.
    fn change(&mut self, way: &'static str) {
        for node in NODES {
            let file = self.cluster.config(node);
            let text = fs::read_to_string(&file).unwrap();
            let changed = text.replace(&format!("{MX3}{}", self.way), &format!("{MX3}{way}"));
            assert_ne!(changed, text);
            fs::write(file, changed).unwrap();
            self.leaving(node, &format!("{way:?} runs"), |leaving| leaving > 0);
            self.all_live(&format!("{} took {way:?} over", self.lab.nodes[node].name));
        }
        self.way = way;
    }

    fn leaving(&self, node: usize, what: &str, holds: impl Fn(u64) -> bool) {
        self.cluster
            .wait_status(node, what, |status| {
                let mx3 = status.backend("mx3").unwrap();
                mx3.accepting && holds(mx3.leaving_sessions)
            })
            .unwrap();
    }

    fn translated(&self, node: usize) -> u64 {
        self.cluster.counter(node, "nat_reply").unwrap()
    }
}

#[test]
fn a_backend_that_becomes_translated_keeps_its_sessions_and_so_does_one_that_is_no_more() {
    let name =
        "a_backend_that_becomes_translated_keeps_its_sessions_and_so_does_one_that_is_no_more";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = Change::begin();
    let direct = the.at_mx3();
    the.change(", forwarding: nat");
    assert_eq!(the.translated(0), 0, "no session has begun by nat yet");
    let by_nat = the.open(40);
    assert!(the.translated(0) > 0, "new sessions are translated");
    the.all_live("both kinds are there");
    let mx3 = the.cluster.status(0).unwrap();
    let mx3 = mx3.backend("mx3").unwrap();
    assert_eq!(
        (mx3.sessions, mx3.leaving_sessions),
        (direct + by_nat, direct)
    );
    the.leaving(1, "the backup has both kinds", |leaving| leaving == direct);

    the.cluster.kill(0);
    the.cluster
        .wait_status(1, "it is the master", Status::is_master)
        .unwrap();
    the.all_live("the master was killed");
    let more = the.open(20);
    the.cluster.start(0).unwrap();
    the.cluster
        .wait_status(0, "master again", Status::is_master)
        .unwrap();
    the.all_live("it is back");
    // A box that stops takes the virtual address from its mail server.
    the.sessions.retain(|session| session.by() != "mx1");
    // With nothing in its maps: what it knows of both kinds comes from its peer.
    the.cluster.stop(0).unwrap();
    the.cluster
        .wait_status(1, "it is the master", Status::is_master)
        .unwrap();
    the.all_live("the master was stopped");
    the.cluster.start(0).unwrap();
    the.cluster
        .wait_status(0, "master again", Status::is_master)
        .unwrap();
    the.all_live("it is back with empty maps");
    let by_nat = by_nat + more;

    the.change("");
    the.leaving(0, "the ones by nat leave", |leaving| leaving == by_nat);
    let translated = the.translated(0);
    let direct_again = the.open(30);
    the.leaving(0, "they have all left", |leaving| leaving == by_nat);
    the.all_live("it is reached directly again");
    assert!(
        the.translated(0) > translated,
        "the others are still translated"
    );
    the.cluster.hand_over(0).unwrap();
    the.cluster.start(0).unwrap();
    the.cluster
        .wait_status(0, "master again", Status::is_master)
        .unwrap();
    the.all_live("the master was restarted");

    // A hasty change back and forth.
    the.change(", forwarding: nat");
    the.change("");
    the.all_live("it was changed there and back");

    // The last one by nat ends: nothing is translated any more, and nothing else ends with it.
    let total = the.at_mx3();
    assert_eq!(total, direct + by_nat + direct_again);
    let mut skipped = 0;
    the.sessions.retain(|session| {
        let is_at_mx3 = session.by() == "mx3";
        let place = skipped;
        skipped += u64::from(is_at_mx3);
        !is_at_mx3 || place < direct || place >= direct + by_nat
    });
    for node in NODES {
        the.leaving(node, "the last one by nat has ended", |leaving| {
            leaving == 0
        });
    }
    // Some rounds of the policy, which forget what has gone.
    thread::sleep(Duration::from_secs(3));
    for node in NODES {
        let said = the.cluster.log(node);
        assert!(
            said.contains("the last session with 10.77.0.13 by nat has ended"),
            "{said}"
        );
    }
    the.all_live("the ones by nat have ended");
}
