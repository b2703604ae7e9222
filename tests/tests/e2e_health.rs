//! Health checks that fail while mail goes on: no open session pays for it.
use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Lab, Spec, addresses},
    smtp::{
        client::{Session, served_by},
        held::{Held, survivors},
        server::{Checks, Server},
    },
};

const SESSIONS: usize = 100;

struct World {
    cluster: Cluster,
    servers: Vec<Server>,
    lab: Lab,
    sessions: Vec<Held>,
    master: usize,
}

impl World {
    fn new() -> Self {
        let lab = Lab::new(&Spec::default()).unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            health: "{interval: 300ms, timeout: 5s, rise: 1, fall: 2}".to_owned(),
            ..Settings::default()
        };
        let mut cluster = Cluster::started(&lab, settings).unwrap();
        let master = cluster.wait_ready().unwrap();
        let sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
        Self {
            cluster,
            servers,
            lab,
            sessions,
            master,
        }
    }

    /// The policy follows a change of health a moment later.
    fn wait_all_accept(&self, what: &str) {
        let all = |status: &Status| status.backends.iter().all(|backend| backend.accepting);
        self.cluster.wait_status(self.master, what, all).unwrap();
    }

    /// Waits until every node sees the backends so.
    fn wait_health(&self, what: &str, expected: impl Fn(&str) -> &'static str) {
        let is_so = |status: &Status| {
            let mut backends = status.backends.iter();
            backends.all(|backend| backend.health == expected(&backend.name))
        };
        for node in 0..self.cluster.len() {
            self.cluster.wait_status(node, what, is_so).unwrap();
        }
    }

    /// All open sessions live, and thirty new ones are served; returns by whom.
    fn goes_on(&mut self, what: &str) -> Vec<String> {
        assert_eq!(survivors(&mut self.sessions), SESSIONS, "{what}");
        let vip = (addresses::VIP4, 25).into();
        let source = self.lab.client().address4().into();
        let new = (0..30).map(|_| Session::new(source, vip)).collect();
        let by = served_by(self.lab.client(), new).expect(what);
        println!("{what}: {SESSIONS} open sessions go on, 30 new ones are served by {by:?}");
        by.into_keys().collect()
    }
}

#[test]
fn a_check_that_fails_everywhere_costs_no_session_and_says_so() {
    let name = "a_check_that_fails_everywhere_costs_no_session_and_says_so";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = World::new();
    let all = 3;

    for server in &the.servers {
        server.answer_checks(Checks::Refused);
    }
    the.wait_health("554 everywhere", |_| "not_serving");
    the.wait_all_accept("554 everywhere");
    assert_eq!(the.goes_on("554 everywhere").len(), all);
    let status = the.cluster.status(the.master).unwrap();
    for backend in &status.backends {
        assert_eq!(backend.reason_kind, "check_at_fault", "{backend:?}");
        assert!(backend.reason.contains("554"), "{}", backend.reason);
    }
    let log = the.cluster.log(the.master);
    assert!(
        log.contains("the check itself is most likely wrong"),
        "{log}"
    );

    for server in &the.servers {
        server.answer_checks(Checks::Served);
    }
    the.wait_health("healed", |_| "up");

    the.cluster
        .edit("rise: 1,", "rise: 1, recipient: postmaster@x.test,")
        .unwrap();
    for server in &the.servers {
        server.answer_checks(Checks::NoSuchRecipient);
    }
    the.wait_health("550 for the recipient", |_| "not_serving");
    the.wait_all_accept("550 for the recipient");
    assert_eq!(the.goes_on("550 for the recipient").len(), all);
    for server in &the.servers {
        server.answer_checks(Checks::Mute);
    }
    the.cluster.edit("timeout: 5s", "timeout: 500ms").unwrap();
    let no_banner = |status: &Status| {
        let mut backends = status.backends.iter();
        backends.all(|backend| backend.health == "not_serving" && backend.reason.contains("banner"))
    };
    let master = the.master;
    the.cluster
        .wait_status(master, "no banner", no_banner)
        .unwrap();
    the.wait_all_accept("no banner in time");
    assert_eq!(the.goes_on("no banner in time").len(), all);
    for server in &the.servers {
        server.answer_checks(Checks::Served);
    }
    the.cluster.edit("timeout: 500ms", "timeout: 5s").unwrap();
    the.wait_health("healed", |_| "up");
    the.cluster
        .edit("recipient: postmaster@x.test,", "")
        .unwrap();

    // None of the servers offers it.
    the.cluster
        .edit("rise: 1,", "rise: 1, starttls: true,")
        .unwrap();
    the.wait_health("no STARTTLS anywhere", |_| "not_serving");
    the.wait_all_accept("no STARTTLS anywhere");
    assert_eq!(the.goes_on("no STARTTLS anywhere").len(), all);
    the.cluster.edit("starttls: true,", "").unwrap();
    the.wait_health("healed", |_| "up");

    // Nothing listens there; the boxes' own agents say that port 25 does.
    the.cluster
        .edit("rise: 1,", "rise: 1, port: 2626,")
        .unwrap();
    the.wait_health("another port", |_| "not_serving");
    the.wait_all_accept("another port");
    assert_eq!(the.goes_on("another port").len(), all);
}

#[test]
fn one_that_fails_its_check_gets_nothing_new_and_keeps_its_sessions() {
    let name = "one_that_fails_its_check_gets_nothing_new_and_keeps_its_sessions";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut the = World::new();
    let failing = (the.master + 1) % 3;
    let name = the.lab.nodes[failing].name.clone();
    let there = the.sessions.iter().filter(|held| held.by() == name).count();
    assert!(there > 5, "{there} of {SESSIONS} at {name}");
    the.servers[failing].answer_checks(Checks::Refused);
    the.wait_health("one fails", |backend| {
        if backend == name { "not_serving" } else { "up" }
    });
    let status = the
        .cluster
        .wait_status(the.master, "it takes nothing new", |status| {
            !status.backend(&name).unwrap().accepting
        })
        .unwrap();
    let reason = &status.backend(&name).unwrap().reason;
    assert!(
        reason.starts_with("not serving for") && reason.contains("554"),
        "{reason}"
    );
    let by = the.goes_on("554 at one");
    assert!(!by.contains(&name), "{by:?}");
    println!("{there} sessions of {name} went on");
}
