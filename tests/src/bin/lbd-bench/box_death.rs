//! A box of an active-active pair, the master and half of the mail servers at once, is cut off for good.
use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use lbd_tests::{
    Over,
    cluster::{Cluster, Settings, Status},
    election::{Member, Router, Setup, holds, wait_until_every},
    lab::{Cut, Host, Lab, Spec, addresses},
    smtp::server::Server,
    steady::{Cost, Steady},
};

use crate::{
    Options, Pace,
    report::{Bound, Goal, Line, Section, Spread, Table},
    rivals::{ADDRESS, SESSION, Service},
};

const VIP: Ipv4Addr = addresses::VIP4;
const PER_SECOND: u32 = 20;
const ROUNDS: usize = 3;
/// Between two looks at who is master; each look is a process, and labs look side by side.
const LOOK: Duration = Duration::from_millis(50);
/// What an example of keepalived's manual gives its check of a server by a connection: every so often, with
/// so much patience, and once more so long after one that failed.
const CHECK_EVERY: Duration = Duration::from_secs(6);
const CHECK_PATIENCE: Duration = Duration::from_secs(3);
const CHECK_AGAIN: Duration = Duration::from_secs(3);

/// After the cut: long enough for health checks with lbd's defaults, and to see that it works.
fn watched(pace: Pace) -> Duration {
    match pace {
        Pace::Full => Duration::from_mins(1),
        Pace::Quick => Duration::from_secs(10),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Lbd,
    /// keepalived, and a map of nftables by address and port.
    Nftables,
    /// keepalived, and a map by the client's address alone from which a check removes a dead server.
    SourceHash,
}

const LBD: &str = "lbd dsr";
const CONTESTANTS: [(Kind, &str); 3] = [
    (Kind::Lbd, LBD),
    (Kind::Nftables, "keepalived, nftables dsr"),
    (Kind::SourceHash, "keepalived, as IPVS sh"),
];

/// Between adverts: in centiseconds, as in lbd's file, and the longest that a new session should take
/// beyond the takeover, in seconds.
const INTERVALS: [(u16, &str, f64); 2] = [(100, "1s", 3.5), (10, "100ms", 1.5)];

/// What is measured.
const METHOD: &str = "Two boxes that are directors and mail servers at once, of equal weight, with a gateway on \
     their segment and the time given between two advertisements: the master is cut off at its switch port for good, while 20 new \
     sessions a second are begun; what is begun until a minute later counts. A session fails that is not \
     served within 30 s. Beyond the takeover: no session can be served before another box is master, so \
     that time counts from then on. lbd has its defaults. nftables is a map by the client's address and \
     port, and nothing looks whether a server lives. This kernel has no IPVS (CONFIG_IP_VS is not set): in \
     its place stands a map of nftables by the client's address alone, as its scheduler sh, from which a \
     box that does not answer is removed as keepalived's TCP_CHECK would (every 6 s, 3 s of patience, once \
     more after 3 s). Labs of one interval run side by side: what is measured are seconds.";

pub(crate) fn run(options: &Options) -> Result<Section> {
    let watched = watched(options.pace);
    let rounds = options.pace.rounds(ROUNDS);
    let chosen = || CONTESTANTS.iter().filter(|(_, name)| options.takes(name));
    let mut lines: Vec<Costs> = chosen().map(|_| Costs::default()).collect();
    for (centiseconds, interval, _) in INTERVALS {
        let kinds = || chosen().flat_map(|(kind, _)| std::iter::repeat_n(*kind, rounds));
        // First all labs, so that no box dies while others are built.
        let pairs: Vec<Pair> =
            side_by_side(kinds(), |kind| Pair::new(kind, centiseconds, interval))?;
        let costs = side_by_side(&pairs, |pair| pair.death(watched))?;
        for (line, costs) in lines.iter_mut().zip(costs.chunks(rounds)) {
            for cost in costs {
                eprintln!("adverts every {interval}: {cost}");
            }
            line.by_interval.push(costs.to_vec());
        }
    }
    let table = |title: &str, of: fn(&Cost) -> f64| Table {
        title: title.to_owned(),
        columns: INTERVALS
            .map(|(_, interval, _)| interval.to_owned())
            .to_vec(),
        lines: chosen()
            .zip(&lines)
            .map(|((_, name), line)| line.of(name, of))
            .collect(),
        reference: None,
    };
    let begun = u64::from(PER_SECOND) * watched.as_secs();
    let tables = vec![
        table(
            &format!("failed, or longer than 3 s beyond the takeover, of {begun}"),
            bad,
        ),
        table(
            "s beyond the takeover, the slowest that was served",
            |cost| cost.slowest_beyond.as_secs_f64(),
        ),
        table("s until all is well", |cost| cost.until_well.as_secs_f64()),
        table("s until another box is master", |cost| {
            cost.takeover.as_secs_f64()
        }),
    ];
    Ok(Section {
        name: "failover-boxes",
        method: METHOD.to_owned(),
        goals: goals(&tables),
        tables,
    })
}

fn bad(cost: &Cost) -> f64 {
    let bad = cost.failed.len() + cost.slow;
    u32::try_from(bad).unwrap_or(u32::MAX).into()
}

/// What the worst round of lbd should be.
fn goals(tables: &[Table]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (_, interval, slowest) in INTERVALS {
        let wanted = [
            ("failed, or longer than 3 s", 0.0),
            ("s beyond the takeover", slowest),
        ];
        for (table, (what, most)) in tables.iter().zip(wanted) {
            goals.extend(table.worst(LBD, interval).map(|ratio| Goal {
                what: format!("{what}, {LBD}, adverts every {interval}, the worst round"),
                ratio,
                bound: Bound::AtMost(most),
            }));
        }
    }
    goals
}

/// What the deaths of one contestant have cost, by interval.
#[derive(Debug, Default)]
struct Costs {
    by_interval: Vec<Vec<Cost>>,
}

impl Costs {
    fn of(&self, name: &str, of: fn(&Cost) -> f64) -> Line {
        let cell = |costs: &Vec<Cost>| Spread::of(costs.iter().map(of).collect());
        Line {
            name: name.to_owned(),
            cells: self.by_interval.iter().map(cell).collect(),
        }
    }
}

/// Does the work for each on a thread of its own, and returns what came of it in their order.
fn side_by_side<I: Send, T: Send>(
    of: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let of = of.into_iter();
        let threads: Vec<_> = of.map(|item| scope.spawn(move || work(item))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<T>>| {
            let ended = thread.join();
            ended.unwrap_or_else(|_| bail!("a lab panicked"))
        };
        threads.into_iter().map(join).collect()
    })
}

/// Two boxes, each a director and a mail server.
struct Pair {
    kind: Kind,
    // In the order in which they end.
    _directors: Directors,
    _servers: Vec<Server>,
    lab: Lab,
}

#[expect(dead_code, reason = "kept running")]
enum Directors {
    Lbd(Box<Cluster>),
    Keepalived(Vec<Member>),
}

impl Pair {
    fn new(kind: Kind, centiseconds: u16, interval: &'static str) -> Result<Self> {
        let lab = Lab::new(&Spec {
            clients: 1,
            nodes: 2,
            sources: 20,
        })?;
        lab.route_by_client()?;
        let servers = Server::start_all(&lab.nodes)?;
        let directors = match kind {
            Kind::Lbd => Directors::Lbd(Box::new(lbd(&lab, interval)?)),
            Kind::Nftables => Directors::Keepalived(keepalived(&lab, centiseconds, SESSION)?),
            Kind::SourceHash => Directors::Keepalived(keepalived(&lab, centiseconds, ADDRESS)?),
        };
        let pair = Self {
            kind,
            _directors: directors,
            _servers: servers,
            lab,
        };
        wait_until_every(LOOK, "the first is master", || pair.is_master(0))?;
        Ok(pair)
    }

    fn is_master(&self, node: usize) -> Result<bool> {
        holds(&self.lab.nodes[node], VIP.into())
    }

    /// Cuts the first box off.
    fn death(&self, watched: Duration) -> Result<Cost> {
        let (client, dead) = (self.lab.client(), &self.lab.nodes[0]);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = Over(&over);
            if self.kind == Kind::SourceHash {
                scope.spawn(|| check(&self.lab.nodes[1], dead, &over));
            }
            let steady = Steady::start(
                client,
                client.addresses(false),
                (VIP, 25).into(),
                PER_SECOND,
            )?;
            wait_until_every(LOOK, "mail flows", || Ok(steady.served() > 40))?;
            self.lab.cut(dead, Cut::Port)?;
            // Not before: what begins while the command runs may still reach the box, and end with it.
            let cut = Instant::now();
            wait_until_every(LOOK, "the second is master", || self.is_master(1))?;
            let master = Instant::now();
            thread::sleep(watched.saturating_sub(cut.elapsed()));
            Ok(Cost::of(&steady.finish(), cut, master))
        })
    }
}

/// As keepalived's check: a server that does not answer is removed, and all is left to the other.
fn check(checker: &Host, server: &Host, over: &AtomicBool) {
    let target = SocketAddr::from((server.address4(), 25));
    let connects = || TcpStream::connect_timeout(&target, CHECK_PATIENCE).is_ok();
    let answers = || checker.inside(connects).unwrap_or(false);
    let is_over = || over.load(Ordering::Relaxed);
    let pause = |how_long: Duration| {
        let until = Instant::now() + how_long;
        while Instant::now() < until && !is_over() {
            thread::sleep(LOOK);
        }
    };
    while !is_over() {
        if !answers() {
            pause(CHECK_AGAIN);
            if !answers() {
                let _ = checker.output("nft", &["delete table netdev lb"]);
                return;
            }
        }
        pause(CHECK_EVERY);
    }
}

/// With its defaults, but for what is compared.
fn lbd(lab: &Lab, interval: &'static str) -> Result<Cluster> {
    let settings = Settings {
        advertisement_interval: interval,
        stats_interval: "10s",
        health: "{}".to_owned(),
        policy: "{}".to_owned(),
        ipv6: false,
        ..Settings::default()
    };
    let cluster = Cluster::started(lab, settings)?;
    cluster.wait_status(0, "the peer is known", Status::knows_all_peers)?;
    Ok(cluster)
}

fn keepalived(lab: &Lab, centiseconds: u16, hashed: &str) -> Result<Vec<Member>> {
    for host in &lab.nodes {
        lab.make_plain(host)?;
    }
    let service = Service {
        vip: VIP,
        backends: &lab.nodes,
    };
    service.on_loopbacks()?;
    let setup = Setup::new(&[VIP.into()], centiseconds);
    let start = |(host, priority)| {
        service.nftables_dsr_to_itself_too(host, hashed)?;
        let router = Router::Keepalived;
        Member::start(lab, host, router, &setup, priority, Path::new("")).context("keepalived")
    };
    lab.nodes.iter().zip([200, 150]).map(start).collect()
}
