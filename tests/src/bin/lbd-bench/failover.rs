//! The master's box is cut off and comes back: how long the VIP is unanswered, and what happens to sessions.
use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use lbd_tests::{
    cluster::{Cluster, Settings},
    election::{Member, Router, Setup, holds, wait_until},
    lab::{Cut, INTERFACE, Lab, Spec, addresses},
    probe::{Probe, longest_gap},
    smtp::{held::Held, server::Server},
};

use crate::{
    Options,
    report::{Line, Section, Spread, Table},
    rivals::Service,
};

/// Sessions that say something all the time.
const SESSIONS: usize = 100;
/// Between two things that a session says, and between two new connections.
const TALK: Duration = Duration::from_millis(50);
const PROBE: Duration = Duration::from_millis(5);
/// Before a change, to be steady, and after it, to see what it breaks.
const PAUSE: Duration = Duration::from_millis(700);

/// Between adverts: in centiseconds, as in lbd's file, in words; and how often it is done.
const INTERVALS: [(u16, &str, usize); 3] = [(100, "1s", 3), (10, "100ms", 5), (1, "10ms", 5)];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Lbd,
    KeepalivedDsr,
    KeepalivedDnat,
}

const LBD: &str = "lbd dsr";
const CONTESTANTS: [(Kind, &str); 3] = [
    (Kind::Lbd, LBD),
    (Kind::KeepalivedDsr, "keepalived, nftables dsr"),
    (Kind::KeepalivedDnat, "keepalived, nftables dnat"),
];

const VIP: Ipv4Addr = addresses::VIP4;

/// What one cut and return did.
#[derive(Clone, Copy, Debug)]
struct Cycle {
    cut: Duration,
    back: Duration,
    lost: usize,
}

pub(crate) fn run(options: &Options) -> Result<Section> {
    let mut outages = Vec::new();
    let mut losses = Vec::new();
    let mut unsettled = Vec::new();
    let chosen = CONTESTANTS.into_iter();
    for (kind, name) in chosen.filter(|(_, name)| options.takes(name)) {
        let (mut outage, mut lost) = (Vec::new(), Vec::new());
        for (centiseconds, interval, rounds) in INTERVALS {
            let mut cycles = Vec::new();
            let pair = Pair::new(kind, centiseconds, interval)?;
            for _ in 0..options.pace.rounds(rounds) {
                // On a busy machine two nodes with adverts of 10 ms may not agree for long.
                match pair.cycle() {
                    Ok(cycle) => cycles.push(cycle),
                    Err(error) => unsettled.push(format!("{name}, {interval}: {error:#}")),
                }
            }
            let spread = |of: fn(&Cycle) -> f64| Spread::of(cycles.iter().map(of).collect());
            outage.push(spread(|cycle| cycle.cut.as_secs_f64() * 1000.0));
            outage.push(spread(|cycle| cycle.back.as_secs_f64() * 1000.0));
            #[expect(clippy::cast_precision_loss, reason = "a hundred at most")]
            lost.push(spread(|cycle| cycle.lost as f64));
        }
        let line = |cells| Line {
            name: name.to_owned(),
            cells,
        };
        outages.push(line(outage));
        losses.push(line(lost));
    }
    let columns = |of: &[&str]| -> Vec<String> {
        let each = INTERVALS
            .iter()
            .flat_map(|(_, interval, _)| of.iter().map(move |what| format!("{interval}{what}")));
        each.collect()
    };
    Ok(Section {
        name: "failover",
        method: format!(
            "Two directors before two mail servers; lbd's know each other's sessions by the cluster \
             channel, nftables shares by a hash that both directors have. The master's box is cut off \
             beyond its own carrier, and later comes back with its higher priority, with the time given \
             between two advertisements. Unserved: between two new connections of a client that \
             begins one every {} ms. Lost: of {SESSIONS} sessions that say something every {} ms through \
             both changes.{}",
            PROBE.as_millis(),
            TALK.as_millis(),
            if unsettled.is_empty() {
                String::new()
            } else {
                format!(" Not counted: {}.", unsettled.join("; "))
            }
        ),
        tables: vec![
            Table {
                title: "ms unserved".to_owned(),
                columns: columns(&[", cut off", ", back"]),
                reference: outages.iter().position(|line| line.name == LBD),
                lines: outages,
            },
            Table {
                title: "sessions lost".to_owned(),
                columns: columns(&[""]),
                lines: losses,
                reference: None,
            },
        ],
        goals: Vec::new(),
    })
}

/// Two directors and two mail servers.
struct Pair {
    // In the order in which they end.
    _directors: Directors,
    _servers: Vec<Server>,
    lab: Lab,
}

#[expect(dead_code, reason = "kept running")]
enum Directors {
    Lbd(Cluster),
    Keepalived([Member; 2]),
}

impl Pair {
    fn new(kind: Kind, centiseconds: u16, interval: &'static str) -> Result<Self> {
        let lab = Lab::new(&Spec {
            clients: 1,
            nodes: 4,
            sources: 1,
        })?;
        let (directors, backends) = lab.nodes.split_at(2);
        let behind_nat = kind == Kind::KeepalivedDnat;
        let servers: Result<Vec<Server>> = backends
            .iter()
            .map(|node| {
                if behind_nat {
                    Server::start_behind_nat(node)
                } else {
                    Server::start(node, None)
                }
            })
            .collect();
        let servers = servers?;
        let service = Service { vip: VIP, backends };
        let running = if kind == Kind::Lbd {
            Directors::Lbd(lbd(&lab, interval)?)
        } else {
            for host in &lab.nodes {
                lab.make_plain(host)?;
            }
            if behind_nat {
                service.answer_through(lab.client().address4(), VIP)?;
            } else {
                service.on_loopbacks()?;
            }
            for director in directors {
                if behind_nat {
                    service.nftables_dnat(director)?;
                } else {
                    service.nftables_dsr(director)?;
                }
            }
            let setup = Setup::new(&[VIP.into()], centiseconds);
            let start = |index: usize, priority| {
                let (router, host) = (Router::Keepalived, &lab.nodes[index]);
                Member::start(&lab, host, router, &setup, priority, Path::new(""))
            };
            Directors::Keepalived([start(0, 200)?, start(1, 150)?])
        };
        Ok(Self {
            _directors: running,
            _servers: servers,
            lab,
        })
    }

    fn first_is_master(&self) -> Result<bool> {
        let [first, second] = [0, 1].map(|index| holds(&self.lab.nodes[index], VIP.into()));
        Ok(first? && !second?)
    }

    /// Cuts the master off and lets it back.
    fn cycle(&self) -> Result<Cycle> {
        wait_until("the first is master", || self.first_is_master())?;
        let (client, master) = (self.lab.client(), &self.lab.nodes[0]);
        // A director that is none any more still forwards what it gets: whoever has not heard of the
        // return yet would not notice the next cut.
        client.ip(&format!("neighbour flush to {VIP} dev {INTERFACE}"))?;
        thread::sleep(PAUSE);
        let vip: IpAddr = VIP.into();
        let sessions: std::io::Result<Vec<Held>> =
            (0..SESSIONS).map(|_| Held::open(client, vip)).collect();
        let sources = vec![client.address4().into()];
        let probe = Probe::start(client, sources, (vip, 25).into(), PROBE)?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let talking: Vec<_> = sessions?
                .into_iter()
                .map(|held| scope.spawn(|| talk(held, &over)))
                .collect();
            let moved = self.cut_and_restore(master);
            over.store(true, Ordering::Relaxed);
            let survived = talking
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .filter(|survived| *survived)
                .count();
            let answers = probe.finish();
            let [cut, restored, end] = moved?;
            // Silence counts from the change on, and up to the end.
            let gap = |from: Instant, to: Instant| {
                let mut moments = answers.clone();
                moments.extend([from, to]);
                longest_gap(&moments, from, to).unwrap_or_default()
            };
            let (cut, back) = (gap(cut, restored), gap(restored, end));
            Ok(Cycle {
                cut,
                back,
                lost: SESSIONS - survived,
            })
        })
    }

    /// When it was cut off, when it was let back, and when that had settled.
    fn cut_and_restore(&self, master: &lbd_tests::lab::Host) -> Result<[Instant; 3]> {
        thread::sleep(PAUSE);
        let cut = Instant::now();
        self.lab.cut(master, Cut::Silent)?;
        wait_until("the second is master", || {
            holds(&self.lab.nodes[1], VIP.into())
        })?;
        thread::sleep(PAUSE);
        let restored = Instant::now();
        self.lab.restore(master)?;
        wait_until("the first is master again", || self.first_is_master())?;
        thread::sleep(PAUSE);
        Ok([cut, restored, Instant::now()])
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // The next run finds the box where it was.
        let _ = self.lab.restore(&self.lab.nodes[0]);
    }
}

/// Whether a session lasts until it is over.
fn talk(mut held: Held, over: &AtomicBool) -> bool {
    while !over.load(Ordering::Relaxed) {
        if held.check().is_err() {
            return false;
        }
        thread::sleep(TALK);
    }
    held.check().is_ok()
}

/// Two nodes that take no sessions themselves, and two that do.
fn lbd(lab: &Lab, interval: &'static str) -> Result<Cluster> {
    let mut cluster = Cluster::new(
        lab,
        Settings {
            weights: vec![0, 0, 100, 100],
            advertisement_interval: interval,
            backends_only: vec![2, 3],
            ipv6: false,
            ..Settings::default()
        },
    )?;
    for index in 0..cluster.len() {
        cluster.start(index)?;
    }
    for index in [1, 0] {
        cluster.wait_status(index, "the servers take sessions", |status| {
            let takes = |node: &lbd_tests::lab::Host| {
                let backend = status.backend(&node.name);
                backend.is_some_and(|backend| backend.accepting)
            };
            lab.nodes[2..].iter().all(takes) && status.knows_all_peers()
        })?;
    }
    Ok(cluster)
}
