//! A box is cut off beyond its carrier while it is director and backend at once: not the daemon dies, the
//! box does, and comes back as it was.
use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use crate::{
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
pub enum Who {
    /// The master.
    Master,
    /// The next one that stands for election.
    Backup,
    /// The last node, which stands for no election.
    Backend,
}

/// One death.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Boxes.
    pub nodes: u8,
    /// So many of the first nodes are directors and no backends, the others backends alone; else all
    /// are both.
    pub directors: usize,
    /// Whether the backends alone run no lbd.
    pub foreign: bool,
    /// Whether there is a gateway on the segment, which boxes know themselves cut off by. Of two boxes
    /// without it, neither can tell which one is.
    pub gateway: bool,
    /// The box.
    pub who: Who,
    /// At its switch port.
    pub cut: Cut,
    /// Between two advertisements, as in the file.
    pub adverts: &'static str,
    /// The value of `cluster.forwarding`.
    pub forwarding: &'static str,
    /// Whether clients come by IPv6, and boxes are known by it.
    pub ipv6: bool,
    /// How long it is away; `None`: for good.
    pub away: Option<Duration>,
    /// Sessions that are opened before the cut, and as many after it.
    pub held: usize,
}

/// The master of two boxes is cut off for good, everything else as most have it.
pub const CASE: Case = Case {
    nodes: 2,
    directors: 0,
    foreign: false,
    gateway: false,
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
        if case.gateway {
            lab.route_by_client().unwrap();
        }
        let servers = servers(&lab, case);
        let mut settings = Settings {
            advertisement_interval: case.adverts,
            stats_interval: "10s",
            // The defaults: a death has to be noticed by other signs.
            health: "{interval: 5s, timeout: 10s, rise: 2, fall: 3}".to_owned(),
            backends6: case.ipv6,
            // A translator knows one family.
            ipv4: case.forwarding != "nat" || !case.ipv6,
            ipv6: case.forwarding != "nat" || case.ipv6,
            more: format!("  forwarding: {}\n", case.forwarding),
            ..Settings::default()
        };
        if case.directors > 0 {
            settings.directors = (0..case.directors).collect();
            settings.backends_only = (case.directors..lab.nodes.len()).collect();
        }
        let with_lbd = if case.foreign {
            for node in &lab.nodes[case.directors..] {
                node.hold_vips().unwrap();
            }
            case.directors
        } else {
            lab.nodes.len()
        };
        let cluster = started(&lab, settings, with_lbd);
        let world = Self {
            cluster,
            _servers: servers,
            lab,
            vip: vip(case),
        };
        // A death within the first second of a box's life is another case.
        until("every node knows every other", || {
            let statuses = world.cluster.statuses();
            statuses.iter().flatten().count() == with_lbd
                && statuses.iter().flatten().all(|status| {
                    let peers = status.channel.peers.iter();
                    peers.filter(|peer| peer.complete).count() + 1 == with_lbd
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

/// The daemons of the first nodes run, and the best of them is the master.
fn started(lab: &Lab, settings: Settings, with_lbd: usize) -> Cluster {
    let mut cluster = Cluster::new(lab, settings).unwrap();
    for index in 0..with_lbd {
        cluster.start(index).unwrap();
    }
    cluster.wait_ready().unwrap();
    cluster
        .wait_status(0, "the best is the master", Status::is_master)
        .unwrap();
    cluster
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

/// Cuts a box off. Sessions that were not with it live on throughout, and no new one is hurt.
fn die(what: &str, case: Case) {
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
    // While the cluster is there, whose log says why.
    assert_steered_around(what, case, &cost);
}

/// A box that is away for less may be back before its silence was noticed.
const NOTICED: Duration = Duration::from_secs(2);

/// A client's SYN comes again after so long (RFC 6298, section 2.1); Linux repeats it a few times at this
/// pace.
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// How long a new session may take beyond the takeover, in repeated SYNs and half of another.
///
/// With the first one it leaves a box whose adverts have stopped. A box that is no master and was heard as
/// the session began, or that hears nothing and says so only after a while, has until the second one. One
/// that says nothing at all, for it runs no lbd, has until the third: a SYN-ACK may have been lost. With
/// adverts of a second they may be as many.
fn longest(case: Case) -> Duration {
    let repeated = if case.foreign || case.adverts == "1s" {
        3.5
    } else if case.who != Who::Master {
        2.5
    } else {
        1.5
    };
    SYN_AGAIN.mul_f64(repeated)
}

/// No new session fails: what was steered to the box before its silence was known goes to another with
/// its repeated SYN. Nor does one wait for more of them than it must. The figures are printed.
fn assert_steered_around(what: &str, case: Case, cost: &Cost) {
    assert!(cost.failed.is_empty(), "{what}: {cost}");
    let longest = longest(case);
    assert!(
        cost.slowest_beyond <= longest,
        "{what}: {cost}, and may take {longest:?}"
    );
}

/// Runs a case as the test of this name. Each has a lab of its own and waits for most of its time, so that
/// several may run at a time.
///
/// # Panics
/// When a session was lost or had to wait.
pub fn run(name: &str, case: Case) {
    if !crate::root_or_skip(name) {
        return;
    }
    let begun = Instant::now();
    die(name, case);
    println!("{name}: took {:.0} s", begun.elapsed().as_secs_f64());
}

/// A test for each case, by its name.
#[macro_export]
macro_rules! box_deaths {
    ($($(#[$attribute:meta])* $name:ident: $case:expr;)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            $crate::box_death::run(stringify!($name), $case);
        }
    )*};
}
