//! Hours of mixed sessions while daemons are killed, restarted and reconfigured and nodes drained: what
//! is lost, and what grows.
use std::{
    collections::BTreeMap,
    fmt, fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Lab, Spec},
    smtp::{server::Server, traffic::Traffic},
};

use crate::{
    Options,
    report::{Line, Section, Spread, Table},
};

const NODES: u8 = 3;
/// The node whose daemon lives from the beginning to the end.
const SPARED: usize = 2;
const PER_SECOND: u32 = 80;
const SOURCES: u16 = 400;
/// Sessions are as many as they will be then: the start of what is compared.
const WARM_UP: Duration = Duration::from_secs(15);
/// Between two events, at least and at most.
const BETWEEN_MS: (u64, u64) = (1000, 6000);
/// How long a daemon is away, a node is drained and a mail system slow.
const LASTING_MS: (u64, u64) = (300, 4000);

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Kill,
    HandOver,
    Reload,
    Drain,
    Slow,
}

const EVENTS: [Event; 5] = [
    Event::Kill,
    Event::HandOver,
    Event::Reload,
    Event::Drain,
    Event::Slow,
];

pub(crate) fn run(options: &Options) -> Result<Section> {
    let lab = Lab::new(&Spec {
        clients: 1,
        nodes: NODES,
        sources: SOURCES,
    })?;
    lab.gather_sources()?;
    let settings = Settings {
        advertisement_interval: "100ms",
        policy: "{kind: queue-aware}".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings)?;
    let mut servers = Vec::new();
    for (index, node) in lab.nodes.iter().enumerate() {
        servers.push(Server::start(node, Some(&cluster.spool(index)))?);
        cluster.start(index)?;
    }
    cluster.wait_ready()?;
    let traffic = Traffic::start(lab.client(), PER_SECOND)?;
    thread::sleep(WARM_UP);
    let mut soak = Soak {
        names: lab.nodes.iter().map(|node| node.name.clone()).collect(),
        cluster,
        servers,
        random: Random::from_clock(),
        done: BTreeMap::new(),
    };
    let seed = soak.random.0;
    let before = soak.sizes()?;
    let begun = Instant::now();
    let mut said = begun;
    let mut losses: BTreeMap<Event, u64> = BTreeMap::new();
    while begun.elapsed() < options.length {
        let failed = traffic.tally().failed;
        let (event, node) = soak.disturb()?;
        soak.random.pause(BETWEEN_MS);
        let lost = traffic.tally().failed - failed;
        if lost > 0 {
            *losses.entry(event).or_default() += lost;
            eprintln!("  {lost} sessions lost at {event:?} of {node}, or soon after:");
            let failed = usize::try_from(failed)?;
            for (_, how) in traffic.tally().failures().skip(failed) {
                eprintln!("    {how}");
            }
        }
        if said.elapsed() >= Duration::from_mins(1) {
            said = Instant::now();
            let tally = traffic.tally();
            eprintln!(
                "  {} min: {} served, {} lost; {:?}",
                begun.elapsed().as_secs() / 60,
                tally.completed,
                tally.failed,
                soak.done
            );
        }
    }
    thread::sleep(WARM_UP);
    let after = soak.sizes()?;
    let length = begun.elapsed();
    traffic.begin_no_more();
    while !traffic.is_over() {
        thread::sleep(Duration::from_millis(100));
    }
    let tally = traffic.tally();
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, how) in tally.failures() {
        *reasons.entry(how).or_default() += 1;
    }
    Ok(Section {
        name: "soak",
        method: format!(
            "{} min of {PER_SECOND} sessions a second, short and long, of both families, closed by FIN \
             and RST, from {SOURCES} addresses through three nodes, with adverts every 100 ms. At random \
             (seed {seed}) a daemon was killed with SIGKILL, restarted in order, all were reconfigured, \
             a node was drained and a mail system slow: {}. The daemon of {} was never ended. {} sessions \
             were begun, {} served, {} lost{}.",
            length.as_secs() / 60,
            counts(&soak.done),
            soak.names[SPARED],
            tally.started,
            tally.completed,
            tally.failed,
            if reasons.is_empty() {
                String::new()
            } else {
                format!(
                    " (during or after: {}; {})",
                    counts(&losses),
                    counts(&reasons)
                )
            }
        ),
        tables: vec![table(&soak.names, &before, &after)],
        goals: Vec::new(),
    })
}

/// `Kill 3, Drain 4`.
fn counts<K: fmt::Debug, V: fmt::Display>(of: &BTreeMap<K, V>) -> String {
    let each: Vec<String> = of
        .iter()
        .map(|(what, times)| format!("{what:?} {times}"))
        .collect();
    each.join(", ")
}

/// What a daemon takes.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Megabytes of its own, without the maps that it shares with the kernel.
    own_mb: f64,
    descriptors: usize,
    threads: usize,
    pins: usize,
}

/// One of a size's figures.
type Quantity = fn(&Size) -> f64;

fn table(names: &[String], before: &[Size], after: &[Size]) -> Table {
    let quantities: [(&str, Quantity); 4] = [
        ("own MB", |size| size.own_mb),
        ("descriptors", |size| count(size.descriptors)),
        ("threads", |size| count(size.threads)),
        ("pins", |size| count(size.pins)),
    ];
    let columns = quantities
        .iter()
        .flat_map(|(name, _)| [format!("{name}, start"), format!("{name}, end")]);
    let lines = names
        .iter()
        .zip(before)
        .zip(after)
        .map(|((name, before), after)| {
            let pairs = quantities
                .iter()
                .flat_map(|(_, of)| [of(before), of(after)]);
            Line {
                name: name.clone(),
                cells: pairs.map(|value| Spread::of(vec![value])).collect(),
            }
        });
    Table {
        title: "daemon of".to_owned(),
        columns: columns.collect(),
        lines: lines.collect(),
        reference: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred")]
fn count(number: usize) -> f64 {
    number as f64
}

struct Soak {
    names: Vec<String>,
    cluster: Cluster,
    servers: Vec<Server>,
    random: Random,
    done: BTreeMap<Event, u32>,
}

impl Soak {
    /// Does something, and says what and to whom.
    fn disturb(&mut self) -> Result<(Event, String)> {
        let event = EVENTS[self.random.below(EVENTS.len())];
        let node = match event {
            Event::Kill | Event::HandOver => self.random.below(SPARED),
            Event::Reload | Event::Drain | Event::Slow => self.random.below(self.names.len()),
        };
        self.apply(event, node)
            .with_context(|| format!("{event:?} of {}", self.names[node]))?;
        *self.done.entry(event).or_default() += 1;
        Ok((event, self.names[node].clone()))
    }

    fn apply(&mut self, event: Event, node: usize) -> Result<()> {
        match event {
            Event::Kill => {
                self.cluster.kill(node);
                self.random.pause(LASTING_MS);
                self.come_back(node)
            }
            Event::HandOver => {
                self.cluster.hand_over(node)?;
                self.come_back(node)
            }
            Event::Reload => {
                let weights = (0..self.names.len())
                    .map(|_| 50 + u32::try_from(self.random.below(100)).unwrap_or(0));
                self.cluster.settings.weights = weights.collect();
                self.cluster.write_configs()
            }
            Event::Drain => {
                let name = self.names[node].clone();
                self.order(&["drain", &name])?;
                self.random.pause(LASTING_MS);
                self.order(&["undrain", &name])
            }
            Event::Slow => {
                self.servers[node].set_delay(Duration::from_millis(700));
                self.servers[node].set_rate(5.0);
                self.random.pause(LASTING_MS);
                self.servers[node].set_delay(Duration::ZERO);
                self.servers[node].set_rate(1000.0);
                Ok(())
            }
        }
    }

    fn come_back(&mut self, node: usize) -> Result<()> {
        self.cluster.start(node)?;
        self.cluster
            .wait_status(node, "it knows all flows", Status::knows_all_peers)?;
        Ok(())
    }

    /// An order to the daemon that lives on.
    fn order(&self, arguments: &[&str]) -> Result<()> {
        let output = self.cluster.lbd(SPARED, arguments)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "lbd {arguments:?}: {}",
            stderr.trim()
        );
        Ok(())
    }

    fn sizes(&self) -> Result<Vec<Size>> {
        (0..self.names.len())
            .map(|index| self.size(index))
            .collect()
    }

    fn size(&self, index: usize) -> Result<Size> {
        let pid = self.cluster.pid(index).context("no daemon")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let entries = |path: &str| -> Result<usize> { Ok(fs::read_dir(path)?.count()) };
        Ok(Size {
            own_mb: field("RssAnon:").context("no RssAnon")? / 1024.0,
            descriptors: entries(&format!("/proc/{pid}/fd"))?,
            threads: entries(&format!("/proc/{pid}/task"))?,
            pins: fs::read_dir(self.cluster.pin_dir(index))?.count(),
        })
    }
}

/// `SplitMix64`: what happens when need not be secret, only be said.
struct Random(u64);

impl Random {
    fn from_clock() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(now.map_or(1, |since| since.as_secs()))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    fn pause(&mut self, (least, most): (u64, u64)) {
        thread::sleep(Duration::from_millis(least + self.next() % (most - least)));
    }
}
