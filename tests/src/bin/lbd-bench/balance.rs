//! Three mail servers of which one is in trouble: how many sessions it gets, and how long all of them wait.
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Host, Lab, Process, Spec, addresses},
    smtp::{
        client::{self, Outcome, Session},
        server::Server,
    },
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    Pace,
    report::{Line, Section, Spread, Table},
    rivals::Service,
};

const ROUNDS: usize = 3;
/// How long sessions are begun, and how many a second, from so many addresses.
const LENGTH: Duration = Duration::from_secs(10);
const PER_SECOND: u32 = 60;
const SOURCES: u16 = 200;

/// What a mail server in order does with a message.
const DELAY: Duration = Duration::from_millis(20);
const DELIVERED_PER_S: f64 = 300.0;

/// What is the matter with the third one.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    name: &'static str,
    delay: Duration,
    delivered_per_s: f64,
}

const TROUBLES: [Trouble; 2] = [
    Trouble {
        name: "slow to accept: 1.5 s a message",
        delay: Duration::from_millis(1500),
        delivered_per_s: DELIVERED_PER_S,
    },
    Trouble {
        name: "slow to deliver: 2 messages a second",
        delay: DELAY,
        delivered_per_s: 2.0,
    },
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Lbd,
    Haproxy,
    NftDsr,
}

const CONTESTANTS: [(Kind, &str); 3] = [
    (Kind::Lbd, "lbd dsr"),
    (Kind::Haproxy, "HAProxy leastconn"),
    (Kind::NftDsr, "nftables dsr"),
];
/// Nodes with a mail server; lbd runs on them.
const BACKENDS: usize = 3;
const QUANTITIES: [&str; 6] = [
    "% to the slow one",
    "median ms",
    "p95 ms",
    "worst ms",
    "queued there at the end",
    "failed",
];

pub(crate) fn run(pace: Pace) -> Result<Section> {
    let mut stage = Stage::new()?;
    let mut tables = Vec::new();
    for trouble in TROUBLES {
        let mut samples = vec![vec![Vec::new(); QUANTITIES.len()]; CONTESTANTS.len()];
        for round in 0..pace.rounds(ROUNDS) {
            for nth in 0..CONTESTANTS.len() {
                let line = (round + nth) % CONTESTANTS.len();
                let (kind, name) = CONTESTANTS[line];
                let figures = stage.measure(kind, trouble).context(name)?;
                for (cell, figure) in samples[line].iter_mut().zip(figures) {
                    cell.push(figure);
                }
            }
        }
        tables.push(Table {
            title: trouble.name.to_owned(),
            columns: QUANTITIES.map(str::to_owned).to_vec(),
            lines: CONTESTANTS
                .iter()
                .zip(samples)
                .map(|((_, name), cells)| Line {
                    name: (*name).to_owned(),
                    cells: cells.into_iter().map(Spread::of).collect(),
                })
                .collect(),
            reference: None,
        });
    }
    Ok(Section {
        name: "balance",
        method: format!(
            "Three mail servers, the third in trouble from the start: {PER_SECOND} sessions a second of \
             one message for {} s, from {SOURCES} addresses. In order a server takes a message in {} ms \
             and delivers {DELIVERED_PER_S} a second. lbd runs on the three with its defaults, but polls \
             every second instead of ten; HAProxy and nftables run on hosts of their own. Times are from \
             the SYN to the reply to QUIT.",
            LENGTH.as_secs(),
            DELAY.as_millis()
        ),
        tables,
        goals: Vec::new(),
    })
}

struct Stage {
    // In the order in which they end.
    _haproxy: Process,
    cluster: Cluster,
    servers: Vec<Server>,
    lab: Lab,
}

/// The virtual addresses of the others.
const HAPROXY_VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 101);
const NFT_VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 102);

impl Stage {
    fn new() -> Result<Self> {
        let lab = Lab::new(&Spec {
            clients: 1,
            nodes: u8::try_from(BACKENDS + 2)?,
            sources: SOURCES,
        })?;
        lab.gather_sources()?;
        let (backends, directors) = lab.nodes.split_at(BACKENDS);
        let settings = Settings {
            policy: "{kind: queue-aware}".to_owned(),
            ipv6: false,
            backends_only: vec![BACKENDS, BACKENDS + 1],
            sites: vec![lbd_tests::cluster::Site {
                name: "lab",
                nodes: BACKENDS,
                spill: None,
            }],
            ..Settings::default()
        };
        let cluster = Cluster::new(&lab, settings)?;
        let servers: Result<Vec<Server>> = backends
            .iter()
            .enumerate()
            .map(|(index, host)| Server::start(host, Some(&cluster.spool(index))))
            .collect();
        let servers = servers?;
        for director in directors {
            lab.make_plain(director)?;
        }
        let service = |vip| Service { vip, backends };
        let [first, second] = directors else {
            unreachable!("two nodes are left");
        };
        service(HAPROXY_VIP).hold(first)?;
        let haproxy = service(HAPROXY_VIP).haproxy(first, lab.folder())?;
        service(NFT_VIP).hold(second)?;
        service(NFT_VIP).on_loopbacks()?;
        service(NFT_VIP).nftables_dsr(second)?;
        Ok(Self {
            _haproxy: haproxy,
            cluster,
            servers,
            lab,
        })
    }

    fn measure(&mut self, kind: Kind, trouble: Trouble) -> Result<[f64; QUANTITIES.len()]> {
        for server in &self.servers {
            server.set_delay(DELAY);
            // What is left of the round before goes first.
            server.set_rate(1e6);
        }
        while self.servers.iter().any(|server| server.queued() > 0) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let vip = match kind {
            Kind::Lbd => {
                for index in 0..BACKENDS {
                    self.cluster.start(index)?;
                }
                self.cluster.wait_status(0, "all take sessions", |status| {
                    status.is_master() && status.backends.iter().all(|one| one.accepting)
                })?;
                addresses::VIP4
            }
            Kind::Haproxy => HAPROXY_VIP,
            Kind::NftDsr => NFT_VIP,
        };
        for server in &self.servers {
            server.set_rate(DELIVERED_PER_S);
        }
        let slow = &self.servers[BACKENDS - 1];
        slow.set_delay(trouble.delay);
        slow.set_rate(trouble.delivered_per_s);
        let ends = send(self.lab.client(), SocketAddr::new(vip.into(), 25))?;
        let queued = slow.queued();
        if kind == Kind::Lbd {
            for index in 0..BACKENDS {
                self.cluster.stop(index)?;
            }
        }
        Ok(figures(&ends, &self.lab.nodes[BACKENDS - 1].name, queued))
    }
}

/// What became of a session, and how long it took.
type End = (Outcome, Duration);

/// Starts sessions at a steady rate, regardless of the earlier ones.
fn send(client: &Host, target: SocketAddr) -> Result<Vec<End>> {
    let sources: Vec<IpAddr> = client.addresses4.iter().map(|one| (*one).into()).collect();
    let work = async move || {
        let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for source in sources.iter().cycle() {
            ticks.tick().await;
            if begun.elapsed() >= LENGTH {
                break;
            }
            let session = Session::new(*source, target);
            running.spawn(async move {
                let begun = Instant::now();
                let outcome = client::run(&session).await;
                (outcome, begun.elapsed())
            });
        }
        running.join_all().await
    };
    let thread = client.runtime(work)?;
    let ends = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the senders panicked"))??;
    Ok(ends)
}

#[expect(clippy::cast_precision_loss, reason = "some hundred sessions")]
fn figures(ends: &[End], slow: &str, queued: usize) -> [f64; QUANTITIES.len()] {
    let mut ms = Vec::new();
    let mut to_slow = 0;
    for (outcome, took) in ends {
        if let Outcome::Served { by, .. } = outcome {
            ms.push(took.as_secs_f64() * 1000.0);
            to_slow += usize::from(by == slow);
        }
    }
    ms.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let rank = (ms.len() * percent / 100).min(ms.len().saturating_sub(1));
        ms.get(rank).copied().unwrap_or(f64::NAN)
    };
    [
        100.0 * to_slow as f64 / ms.len().max(1) as f64,
        at(50),
        at(95),
        at(100),
        queued as f64,
        (ends.len() - ms.len()) as f64,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_percentiles_are_of_what_was_served() {
        let mut ends: Vec<End> = (1..=100)
            .map(|ms| {
                let by = if ms <= 90 { "mx1" } else { "mx3" };
                let outcome = Outcome::Served {
                    by: by.to_owned(),
                    connect: Duration::ZERO,
                };
                (outcome, Duration::from_millis(ms))
            })
            .collect();
        let refused = Outcome::Refused {
            by: None,
            reply: "421 full".to_owned(),
        };
        ends.push((refused, Duration::from_secs(9)));
        let [share, median, p95, worst, queued, failed] = figures(&ends, "mx3", 7);
        for (figure, wanted) in [
            (share, 10.0),
            (median, 51.0),
            (p95, 96.0),
            (worst, 100.0),
            (queued, 7.0),
            (failed, 1.0),
        ] {
            assert!((figure - wanted).abs() < 1e-9, "{figure} {wanted}");
        }
    }
}
