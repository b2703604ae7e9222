//! Boxes that are cut off beyond their carrier while they are directors and backends at once: not the
//! daemon dies, the box does, and comes back as it was.
//!
//! Each test has a lab of its own and waits for most of its time, so that several may run at a time.
use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Cut, Host, INTERFACE, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
    steady::{Cost, Steady},
    until,
};

const PER_SECOND: u32 = 20;
/// Sessions that have to be served between a change and the next look at the whole.
const SETTLED: usize = 60;
/// As long as a held session of the box that was away outlives it: no verdict of death falls within.
const BRIEF: Duration = Duration::from_secs(15);

/// Which box is cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    Master,
    Backup,
    /// The last node, which stands for no election.
    Backend,
}

/// One death.
#[derive(Clone, Copy, Debug)]
struct Case {
    nodes: u8,
    /// So many of the first nodes are directors and no backends, the others backends alone; else all
    /// are both.
    directors: usize,
    who: Who,
    cut: Cut,
    adverts: &'static str,
    /// The value of `cluster.forwarding`.
    forwarding: &'static str,
    ipv6: bool,
    /// How long it is away; `None`: for good.
    away: Option<Duration>,
    /// Sessions that are opened before the cut, and as many after it.
    held: usize,
}

const CASE: Case = Case {
    nodes: 2,
    directors: 0,
    who: Who::Master,
    cut: Cut::Port,
    adverts: "1s",
    forwarding: "dsr",
    ipv6: false,
    away: None,
    held: 40,
};

struct World {
    cluster: Cluster,
    _servers: Vec<Server>,
    lab: Lab,
    vip: IpAddr,
}

impl World {
    fn new(case: Case) -> Self {
        let lab = Lab::new(&Spec {
            nodes: case.nodes,
            sources: 50,
            ..Spec::default()
        })
        .unwrap();
        if case.forwarding == "nat" {
            // A translator needs the way to each client: clients are behind a router, as most are.
            lab.gather_sources().unwrap();
        }
        let servers = servers(&lab, case);
        let mut settings = Settings {
            advertisement_interval: case.adverts,
            stats_interval: "10s",
            // The defaults: a death has to be noticed by other signs.
            health: "{interval: 5s, timeout: 10s, rise: 2, fall: 3}".to_owned(),
            backends6: case.ipv6,
            // A translator knows one family.
            ipv6: case.forwarding != "nat",
            more: format!("  forwarding: {}\n", case.forwarding),
            ..Settings::default()
        };
        if case.directors > 0 {
            settings.directors = (0..case.directors).collect();
            settings.backends_only = (case.directors..lab.nodes.len()).collect();
        }
        let cluster = Cluster::started(&lab, settings).unwrap();
        let world = Self {
            cluster,
            _servers: servers,
            lab,
            vip: vip(case),
        };
        // A death within the first second of a box's life is another case.
        until("every node knows every other", || {
            let statuses = world.cluster.statuses();
            statuses.iter().flatten().count() == usize::from(case.nodes)
                && statuses.iter().flatten().all(|status| {
                    let mut peers = status.channel.peers.iter();
                    peers.all(|peer| peer.complete)
                })
        });
        world
    }

    fn hold(&self, count: usize) -> Vec<Held> {
        Held::open_to(self.lab.client(), self.vip, count).unwrap()
    }

    fn is_master(&self, node: usize) -> bool {
        let status = self.cluster.status(node);
        status.is_ok_and(|status| status.is_master())
    }
}

fn vip(case: Case) -> IpAddr {
    if case.ipv6 {
        addresses::VIP6.into()
    } else {
        addresses::VIP4.into()
    }
}

/// A mail server on every backend; behind `nat` its way to the clients leads through the VIP.
fn servers(lab: &Lab, case: Case) -> Vec<Server> {
    let backends = &lab.nodes[case.directors..];
    if case.forwarding != "nat" {
        return Server::start_all(backends).unwrap();
    }
    let behind = |node: &Host| {
        for source in lab.client().addresses(case.ipv6) {
            let way = format!("route add {source} via {} dev {INTERFACE}", vip(case));
            node.ip(&way).unwrap();
        }
        Server::start_behind_nat(node).unwrap()
    };
    backends.iter().map(behind).collect()
}

/// So many of the first nodes stand for election, and which node is cut off.
fn roles(case: Case, master: usize) -> (usize, usize) {
    let nodes = usize::from(case.nodes);
    let electors = if case.directors > 0 {
        case.directors
    } else {
        nodes
    };
    let victim = match case.who {
        Who::Master => master,
        Who::Backup => (master + 1) % electors,
        Who::Backend => nodes - 1,
    };
    (electors, victim)
}

/// Cuts a box off, and returns what that cost; sessions that were not with it live on throughout.
fn die(what: &str, case: Case) -> Cost {
    let the = World::new(case);
    let master = the.cluster.master().unwrap();
    let (electors, victim) = roles(case, master);
    let is_backend = victim >= case.directors;
    let host = &the.lab.nodes[victim];
    let (mut there, mut before): (Vec<Held>, Vec<Held>) = the
        .hold(case.held)
        .into_iter()
        .partition(|held| held.by() == host.name);
    let client = the.lab.client();
    let steady = Steady::start(
        client,
        client.addresses(case.ipv6),
        SocketAddr::new(the.vip, 25),
        PER_SECOND,
    )
    .unwrap();
    until("mail flows", || steady.served() > 40);
    let settle = |what: &str| {
        let enough = steady.served() + SETTLED;
        until(what, || steady.served() > enough);
    };

    the.lab.cut(host, case.cut).unwrap();
    // Not before: what begins while the command runs may still reach the box, and end with it.
    let cut = Instant::now();
    let others = || (0..electors).filter(|node| *node != victim);
    let taken = if case.who == Who::Master {
        until("another is master", || {
            others().any(|node| the.is_master(node))
        });
        Instant::now()
    } else {
        cut
    };
    let acting = others().find(|node| the.is_master(*node)).unwrap();
    // What was open at the others lives on.
    assert_eq!(survivors(&mut before), before.len(), "{what}: of before");
    let is_used = |status: &Status| {
        let backend = status.backend(&host.name);
        backend.is_none_or(|backend| backend.accepting)
    };
    let is_brief = case.away.is_some_and(|away| away <= BRIEF);
    if is_backend && case.away.is_none_or(|away| away > NOTICED) {
        the.cluster
            .wait_status(acting, "it is left out", |status| !is_used(status))
            .unwrap();
    }
    let mut between = thread::scope(|scope| {
        scope.spawn(|| {
            let Some(away) = case.away else { return };
            thread::sleep((cut + away).saturating_duration_since(Instant::now()));
            the.lab.restore(host).unwrap();
            println!("{what}: back after {:.1} s", cut.elapsed().as_secs_f64());
        });
        the.hold(case.held)
    });
    if case.away.is_none() {
        assert!(
            between.iter().all(|held| held.by() != host.name),
            "{what}: the dead box served"
        );
    } else {
        the.cluster
            .wait_status(acting, "it is used again", is_used)
            .unwrap();
        until("the better one is master again, alone", || {
            the.cluster.master() == Some(master)
        });
    }
    settle("mail flows on");
    if is_backend && case.away.is_some() {
        let after = the.hold(40);
        let by: Vec<&str> = after.iter().map(Held::by).collect();
        assert!(by.contains(&host.name.as_str()), "{what}: {by:?}");
    }
    let lost = before.len() + between.len() - survivors(&mut before) - survivors(&mut between);
    println!(
        "{what}: {} sessions of before and {} of in between at others, {lost} lost; {} were at {}",
        before.len(),
        between.len(),
        there.len(),
        host.name
    );
    if is_brief {
        assert_eq!(
            survivors(&mut there),
            there.len(),
            "{what}: at {}",
            host.name
        );
    }
    let cost = Cost::of(&steady.finish(), cut, taken);
    println!("{what}: {cost}");
    for failed in cost.failed.iter().take(5) {
        let after = failed.began.saturating_duration_since(cut).as_secs_f64();
        println!("  begun {after:.2} s after the cut: {:?}", failed.outcome);
    }
    assert_eq!(lost, 0, "{what}");
    cost
}

/// A box that is away for less may be back before its silence was noticed.
const NOTICED: Duration = Duration::from_secs(2);

/// No new session fails: what was steered to the box before its silence was known goes to another with
/// its repeated SYN. Nor does one wait for long. The figures are printed.
fn assert_steered_around(what: &str, cost: &Cost) {
    assert!(cost.failed.is_empty(), "{what}: {cost}");
    assert_eq!(cost.slow, 0, "{what}: {cost}");
}

fn run(name: &str, case: Case) {
    if !lbd_tests::root_or_skip(name) {
        return;
    }
    let begun = Instant::now();
    assert_steered_around(name, &die(name, case));
    println!("{name}: took {:.0} s", begun.elapsed().as_secs_f64());
}

#[test]
fn a_master_of_two_that_is_cut_off_gets_nothing_new() {
    run("a_master_of_two_that_is_cut_off_gets_nothing_new", CASE);
}

#[test]
fn a_backup_of_two_that_is_cut_off_gets_nothing_new() {
    run(
        "a_backup_of_two_that_is_cut_off_gets_nothing_new",
        Case {
            who: Who::Backup,
            ..CASE
        },
    );
}

#[test]
fn fast_adverts_replace_a_master_of_three_at_once() {
    run(
        "fast_adverts_replace_a_master_of_three_at_once",
        Case {
            nodes: 3,
            adverts: "100ms",
            ..CASE
        },
    );
}

#[test]
fn a_tunnelled_backup_of_three_gets_nothing_new_in_ipv6() {
    run(
        "a_tunnelled_backup_of_three_gets_nothing_new_in_ipv6",
        Case {
            nodes: 3,
            who: Who::Backup,
            forwarding: "ipip",
            ipv6: true,
            ..CASE
        },
    );
}

#[test]
#[ignore = "takes half a minute"]
fn a_master_of_two_gets_nothing_new_in_ipv6() {
    run(
        "a_master_of_two_gets_nothing_new_in_ipv6",
        Case { ipv6: true, ..CASE },
    );
}

#[test]
fn a_translating_master_that_is_cut_off_loses_nothing() {
    run(
        "a_translating_master_that_is_cut_off_loses_nothing",
        Case {
            nodes: 4,
            directors: 2,
            forwarding: "nat",
            ..CASE
        },
    );
}

#[test]
#[ignore = "a quarter of a minute; another of its kind runs always"]
fn a_translated_backend_that_is_cut_off_gets_nothing_new() {
    run(
        "a_translated_backend_that_is_cut_off_gets_nothing_new",
        Case {
            nodes: 4,
            directors: 2,
            who: Who::Backend,
            forwarding: "nat",
            ..CASE
        },
    );
}

#[test]
fn a_backup_that_hears_and_is_not_heard_gets_nothing_new() {
    run(
        "a_backup_that_hears_and_is_not_heard_gets_nothing_new",
        Case {
            nodes: 3,
            who: Who::Backup,
            cut: Cut::Outgoing,
            adverts: "200ms",
            ..CASE
        },
    );
}

#[test]
fn a_backup_that_is_heard_and_hears_nothing_gets_nothing_new() {
    run(
        "a_backup_that_is_heard_and_hears_nothing_gets_nothing_new",
        Case {
            nodes: 3,
            who: Who::Backup,
            cut: Cut::Incoming,
            adverts: "200ms",
            ..CASE
        },
    );
}

#[test]
fn a_master_that_is_heard_and_hears_nothing_gets_nothing_new() {
    run(
        "a_master_that_is_heard_and_hears_nothing_gets_nothing_new",
        Case {
            nodes: 3,
            cut: Cut::Incoming,
            adverts: "200ms",
            ..CASE
        },
    );
}

#[test]
#[ignore = "a quarter of a minute; another of its kind runs always"]
fn a_backup_that_returns_after_a_second_costs_no_session() {
    run(
        "a_backup_that_returns_after_a_second_costs_no_session",
        Case {
            who: Who::Backup,
            adverts: "200ms",
            away: Some(Duration::from_secs(1)),
            ..CASE
        },
    );
}

#[test]
fn a_master_that_returns_after_a_second_costs_no_session() {
    run(
        "a_master_that_returns_after_a_second_costs_no_session",
        Case {
            adverts: "200ms",
            away: Some(Duration::from_secs(1)),
            ..CASE
        },
    );
}

#[test]
#[ignore = "takes half a minute"]
fn a_backup_that_returns_after_ten_seconds_costs_no_session() {
    run(
        "a_backup_that_returns_after_ten_seconds_costs_no_session",
        Case {
            who: Who::Backup,
            adverts: "200ms",
            away: Some(Duration::from_secs(10)),
            ..CASE
        },
    );
}

#[test]
#[ignore = "takes half a minute"]
fn a_master_that_returns_after_ten_seconds_costs_no_session() {
    run(
        "a_master_that_returns_after_ten_seconds_costs_no_session",
        Case {
            adverts: "200ms",
            away: Some(Duration::from_secs(10)),
            ..CASE
        },
    );
}

#[test]
#[ignore = "takes two minutes; the verdict of death falls meanwhile"]
fn a_master_that_returns_after_a_minute_costs_no_session() {
    run(
        "a_master_that_returns_after_a_minute_costs_no_session",
        Case {
            away: Some(Duration::from_mins(1)),
            ..CASE
        },
    );
}

#[test]
#[ignore = "takes a minute"]
fn a_thousand_sessions_survive_the_return_of_a_master() {
    run(
        "a_thousand_sessions_survive_the_return_of_a_master",
        Case {
            adverts: "200ms",
            away: Some(Duration::from_secs(15)),
            held: 1_000,
            ..CASE
        },
    );
}
