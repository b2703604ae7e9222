//! Boxes that are cut off beyond their carrier while they are directors and backends at once: not the
//! daemon dies, the box does, and comes back as it was.
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Cut, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
    steady::{Ended, Steady},
    until,
};

const PER_SECOND: u32 = 20;
/// Sessions that are opened before the cut, and as many between cut and return.
const HELD: usize = 40;

/// Which box is cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    Master,
    Backup,
}

/// One death.
#[derive(Clone, Copy, Debug)]
struct Case {
    nodes: u8,
    who: Who,
    cut: Cut,
    adverts: &'static str,
    /// The value of `cluster.forwarding`.
    forwarding: &'static str,
    ipv6: bool,
    /// How long it is away; `None`: for good.
    away: Option<Duration>,
}

const CASE: Case = Case {
    nodes: 2,
    who: Who::Master,
    cut: Cut::Port,
    adverts: "1s",
    forwarding: "dsr",
    ipv6: false,
    away: None,
};

/// What a death has cost.
struct Cost {
    /// From the cut until another box was master; nothing where the master lives.
    takeover: Duration,
    /// Sessions begun after the cut.
    new: usize,
    failed: Vec<Ended>,
    /// When the silence of the box was known at the latest.
    noticed: Instant,
    /// The longest of those that were served, beyond the time until the takeover.
    slowest_beyond: Duration,
    /// Those that took longer than 3 s beyond it.
    slow: usize,
    /// From the cut until the last session was begun that failed or took longer than 1 s.
    until_well: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "takeover after {:.2} s; of {} new sessions {} failed, {} took longer than 3 s beyond it, the \
             slowest {:.2} s; all was well {:.1} s after the cut",
            self.takeover.as_secs_f64(),
            self.new,
            self.failed.len(),
            self.slow,
            self.slowest_beyond.as_secs_f64(),
            self.until_well.as_secs_f64()
        )
    }
}

fn cost(ended: &[Ended], cut: Instant, master: Instant) -> Cost {
    let takeover = master.saturating_duration_since(cut);
    let new = || ended.iter().filter(|ended| ended.began >= cut);
    // Before the takeover nobody could have served it.
    let beyond = |ended: &Ended| {
        let end = ended.began + ended.took;
        end.saturating_duration_since(ended.began.max(master))
    };
    let is_well = |ended: &Ended| ended.outcome.is_ok() && ended.took < Duration::from_secs(1);
    let served = || new().filter(|ended| ended.outcome.is_ok());
    let last_bad = new()
        .filter(|ended| !is_well(ended))
        .map(|ended| ended.began);
    Cost {
        noticed: cut + NOTICED.max(takeover),
        takeover,
        new: new().count(),
        failed: new()
            .filter(|ended| ended.outcome.is_err())
            .cloned()
            .collect(),
        slowest_beyond: served().map(beyond).max().unwrap_or_default(),
        slow: served()
            .filter(|ended| beyond(ended) > Duration::from_secs(3))
            .count(),
        until_well: last_bad.max().map_or(Duration::ZERO, |last| last - cut),
    }
}

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
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            advertisement_interval: case.adverts,
            stats_interval: "10s",
            // The defaults: what dies is to be noticed by other signs.
            health: "{interval: 5s, timeout: 10s, rise: 2, fall: 3}".to_owned(),
            backends6: case.ipv6,
            more: format!("  forwarding: {}\n", case.forwarding),
            ..Settings::default()
        };
        let cluster = Cluster::started(&lab, settings).unwrap();
        let vip = if case.ipv6 {
            addresses::VIP6.into()
        } else {
            addresses::VIP4.into()
        };
        let world = Self {
            cluster,
            _servers: servers,
            lab,
            vip,
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

    fn hold(&self) -> Vec<Held> {
        Held::open_to(self.lab.client(), self.vip, HELD).unwrap()
    }
}

/// Cuts a box off, and returns what that cost; sessions that were not with it live on throughout.
fn die(what: &str, case: Case) -> Cost {
    let the = World::new(case);
    let master = the.cluster.master().unwrap();
    let victim = match case.who {
        Who::Master => master,
        Who::Backup => (master + 1) % usize::from(case.nodes),
    };
    let host = &the.lab.nodes[victim];
    let (there, mut before): (Vec<Held>, Vec<Held>) = the
        .hold()
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

    let cut = Instant::now();
    the.lab.cut(host, case.cut).unwrap();
    let survivor = (victim + 1) % usize::from(case.nodes);
    let taken = match case.who {
        Who::Backup => cut,
        Who::Master => {
            let others = (0..usize::from(case.nodes)).filter(|node| *node != victim);
            let others: Vec<usize> = others.collect();
            until("another is master", || {
                let is_master = |node: &usize| {
                    let status = the.cluster.status(*node);
                    status.is_ok_and(|status| status.is_master())
                };
                others.iter().any(is_master)
            });
            Instant::now()
        }
    };
    // What was open at the others lives on.
    assert_eq!(survivors(&mut before), before.len(), "{what}: of before");
    thread::sleep(Duration::from_secs(2));
    let mut between = the.hold();
    assert!(
        between.iter().all(|held| held.by() != host.name),
        "{what}: the dead box served"
    );
    if let Some(away) = case.away {
        thread::sleep((cut + away).saturating_duration_since(Instant::now()));
        the.lab.restore(host).unwrap();
        println!("{what}: back after {:.1} s", cut.elapsed().as_secs_f64());
        the.cluster
            .wait_status(survivor, "it is used again", |status: &Status| {
                status.backend(&host.name).unwrap().accepting
            })
            .unwrap();
        thread::sleep(Duration::from_secs(8));
        let after = the.hold();
        let by: Vec<&str> = after.iter().map(Held::by).collect();
        assert!(by.contains(&host.name.as_str()), "{what}: {by:?}");
    } else {
        thread::sleep(Duration::from_secs(20));
    }
    let lost = before.len() + between.len() - survivors(&mut before) - survivors(&mut between);
    println!(
        "{what}: {} sessions of before and {} of in between at others, {lost} lost; {} were at {}",
        before.len(),
        between.len(),
        there.len(),
        host.name
    );
    let cost = cost(&steady.finish(), cut, taken);
    println!("{what}: {cost}");
    for failed in cost.failed.iter().take(5) {
        let after = failed.began.saturating_duration_since(cut).as_secs_f64();
        println!("  begun {after:.2} s after the cut: {:?}", failed.outcome);
    }
    assert_eq!(lost, 0, "{what}");
    cost
}

/// Until its silence is noticed nothing tells a dead backup from a living one: a second, and as much
/// again for a busy machine.
const NOTICED: Duration = Duration::from_secs(2);

/// A box that is known to be silent gets nothing new: no session that was begun after the takeover, or
/// after the silence was noticed, fails or waits for long. The figures are printed.
fn assert_steered_around(what: &str, cost: &Cost) {
    let unnoticed = |failed: &&Ended| failed.began < cost.noticed;
    let failed = cost
        .failed
        .iter()
        .filter(|failed| !unnoticed(failed))
        .count();
    assert_eq!(failed, 0, "{what}: {cost}");
    assert_eq!(cost.slow, 0, "{what}: {cost}");
}

#[test]
fn a_master_of_two_that_is_cut_off_gets_nothing_new() {
    let name = "a_master_of_two_that_is_cut_off_gets_nothing_new";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    assert_steered_around(name, &die(name, CASE));
}

#[test]
fn a_backup_of_two_that_is_cut_off_gets_nothing_new() {
    let name = "a_backup_of_two_that_is_cut_off_gets_nothing_new";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let who = Who::Backup;
    assert_steered_around(name, &die(name, Case { who, ..CASE }));
}

#[test]
fn fast_adverts_replace_a_master_of_three_at_once() {
    let name = "fast_adverts_replace_a_master_of_three_at_once";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let case = Case {
        nodes: 3,
        adverts: "100ms",
        ..CASE
    };
    assert_steered_around(name, &die(name, case));
}

#[test]
fn a_tunnelled_backup_of_three_gets_nothing_new_in_ipv6() {
    let name = "a_tunnelled_backup_of_three_gets_nothing_new_in_ipv6";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let case = Case {
        nodes: 3,
        who: Who::Backup,
        forwarding: "ipip",
        ipv6: true,
        ..CASE
    };
    assert_steered_around(name, &die(name, case));
}

#[test]
fn a_backup_that_hears_and_is_not_heard_gets_nothing_new() {
    let name = "a_backup_that_hears_and_is_not_heard_gets_nothing_new";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let case = Case {
        nodes: 3,
        who: Who::Backup,
        cut: Cut::Outgoing,
        adverts: "200ms",
        ..CASE
    };
    assert_steered_around(name, &die(name, case));
}

#[test]
fn a_backup_that_returns_after_ten_seconds_costs_no_session() {
    let name = "a_backup_that_returns_after_ten_seconds_costs_no_session";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let case = Case {
        who: Who::Backup,
        adverts: "200ms",
        away: Some(Duration::from_secs(10)),
        ..CASE
    };
    assert_steered_around(name, &die(name, case));
}

#[test]
fn a_master_that_returns_after_ten_seconds_costs_no_session() {
    let name = "a_master_that_returns_after_ten_seconds_costs_no_session";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let case = Case {
        adverts: "200ms",
        away: Some(Duration::from_secs(10)),
        ..CASE
    };
    assert_steered_around(name, &die(name, case));
}

#[test]
#[ignore = "takes two minutes; the verdict of death falls meanwhile"]
fn a_master_that_returns_after_a_minute_costs_no_session() {
    let name = "a_master_that_returns_after_a_minute_costs_no_session";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let away = Some(Duration::from_mins(1));
    assert_steered_around(name, &die(name, Case { away, ..CASE }));
}
