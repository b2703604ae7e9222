//! The demonstration: three mail gateways, senders, and a story.
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    duration,
    lab::{Lab, Spec, addresses},
    smtp::{server::Server, traffic::Traffic},
};

use super::{
    interrupt,
    screen::{Event, Node, Role, Screen, View},
    story::{Act, Story},
    summary::Summary,
    watch::Watch,
};

/// Between two looks at the cluster.
const LOOK: Duration = Duration::from_millis(400);
/// Messages a second that a mail system delivers, and one in trouble.
const DELIVERY_RATE: f64 = 300.0;
const SLOW_DELIVERY_RATE: f64 = 2.0;
/// What a mail system in trouble thinks about a message before it accepts it.
const SLOW_ACCEPTANCE: Duration = Duration::from_millis(1500);
/// Around a kill, connections are looked at from this much before it to this much after.
const BEFORE_KILL: Duration = Duration::from_millis(500);
const AFTER_KILL: Duration = Duration::from_secs(5);

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ends by itself after so long, with a summary: 30s, 2m. Without it Ctrl-C does.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    length: Option<Duration>,
    /// Print one JSON object at the end; the picture goes to standard error.
    #[arg(long)]
    json: bool,
    /// Mail gateways.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=8))]
    nodes: u8,
    /// New sessions a second.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Addresses that they come from.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u16).range(1..=2000))]
    sources: u16,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(
        lbd_tests::is_root(),
        "network namespaces and XDP need root; run it with sudo"
    );
    let interrupted = interrupt::watch()?;
    let mut screen = Screen::new(args.json);
    let nodes = args.nodes;
    screen.say(&format!(
        "Building {nodes} mail gateways, a switch and a client from network namespaces ..."
    ));
    let lab = Lab::new(&Spec {
        clients: 1,
        nodes,
        sources: args.sources,
    })?;
    lab.gather_sources()?;
    let mut cluster = Cluster::new(&lab, settings())?;
    let mut servers = Vec::new();
    for (index, node) in lab.nodes.iter().enumerate() {
        let server = Server::start(node, Some(&cluster.spool(index)))?;
        server.set_rate(DELIVERY_RATE);
        servers.push(server);
        cluster.start(index)?;
    }
    screen.say("Starting lbd on each of them; they elect a master ...");
    cluster.wait_ready()?;
    let traffic = Traffic::start(lab.client(), args.rate)?;
    let mut play = Play {
        cluster,
        servers,
        traffic,
        screen,
        watch: Watch::default(),
        started: Instant::now(),
        length: args.length,
        events: Vec::new(),
        names: lab.nodes.iter().map(|node| node.name.clone()).collect(),
        slow: None,
        dead: None,
        kills: Vec::new(),
        master_seen: None,
        xdp_mode: String::new(),
    };
    play.tell(&interrupted)?;
    let summary = play.finish()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{}", summary.text());
    }
    let good = summary.is_good();
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Quick to react, so that a story fits into half a minute.
fn settings() -> Settings {
    Settings {
        advertisement_interval: "100ms",
        stats_interval: "1s",
        policy: "{kind: queue-aware, above_average: 25, high_threshold: 60, scale: 20, \
                 slow_start: 3s}"
            .to_owned(),
        more: "  preempt: false\n".to_owned(),
        ..Settings::default()
    }
}

/// All that is on stage.
struct Play {
    cluster: Cluster,
    servers: Vec<Server>,
    traffic: Traffic,
    screen: Screen,
    watch: Watch,
    started: Instant,
    length: Option<Duration>,
    events: Vec<Event>,
    names: Vec<String>,
    /// The node whose mail system is in trouble.
    slow: Option<usize>,
    /// The node whose daemon was killed.
    dead: Option<usize>,
    kills: Vec<Instant>,
    /// When a master was last seen.
    master_seen: Option<Instant>,
    xdp_mode: String,
}

impl Play {
    /// Runs the demo to its end, or until it is interrupted.
    fn tell(&mut self, interrupted: &Arc<AtomicBool>) -> Result<()> {
        let mut story = Story::new(self.length);
        while !interrupted.load(Ordering::Relaxed) {
            let elapsed = self.started.elapsed();
            if self.length.is_some_and(|length| elapsed >= length) {
                break;
            }
            while let Some(act) = story.next(elapsed) {
                self.act(act)?;
            }
            self.look();
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Lets the open sessions end and counts.
    fn finish(mut self) -> Result<Summary> {
        let told = self.started.elapsed();
        self.traffic.begin_no_more();
        for server in &self.servers {
            server.set_delay(Duration::ZERO);
        }
        self.event("no further new sessions; the open ones end");
        while !self.traffic.is_over() {
            self.look();
            thread::sleep(LOOK);
        }
        self.look();
        for index in 0..self.cluster.len() {
            if self.cluster.is_running(index) {
                let status = self.cluster.stop(index)?;
                ensure!(
                    status.success(),
                    "lbd on {} ended with {status}",
                    self.names[index]
                );
            }
        }
        let tally = self.traffic.tally();
        let mut summary = Summary::new(&tally, &self.events, told);
        summary.failovers = self.watch.failovers;
        summary.xdp_mode.clone_from(&self.xdp_mode);
        let gap = |at: &Instant| {
            let from = at.checked_sub(BEFORE_KILL).unwrap_or(*at);
            tally.longest_gap(from, *at + AFTER_KILL)
        };
        summary.gaps_ms = self
            .kills
            .iter()
            .filter_map(gap)
            .map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX))
            .collect();
        Ok(summary)
    }

    fn event(&mut self, text: &str) {
        self.events.push(Event {
            at: self.started.elapsed(),
            text: text.to_owned(),
        });
    }

    fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Slow => {
                let master = self.cluster.master();
                let Some(index) = (0..self.cluster.len()).rev().find(|i| Some(*i) != master) else {
                    return Ok(());
                };
                self.servers[index].set_delay(SLOW_ACCEPTANCE);
                self.servers[index].set_rate(SLOW_DELIVERY_RATE);
                self.slow = Some(index);
                let name = &self.names[index];
                self.event(&format!("{name}'s mail system gets slow: its queue grows"));
            }
            Act::Cure => {
                if let Some(index) = self.slow.take() {
                    self.servers[index].set_delay(Duration::ZERO);
                    self.servers[index].set_rate(DELIVERY_RATE);
                    let name = &self.names[index];
                    self.event(&format!("{name}'s mail system is well again"));
                }
            }
            Act::Kill => {
                if let Some(index) = self.cluster.master() {
                    self.kills.push(Instant::now());
                    self.cluster.kill(index);
                    self.dead = Some(index);
                    let name = &self.names[index];
                    self.event(&format!("kill -9 of lbd on {name}, the master"));
                }
            }
            Act::Restart => {
                if let Some(index) = self.dead.take() {
                    self.cluster.start(index)?;
                    let name = &self.names[index];
                    self.event(&format!("lbd on {name} is started again"));
                }
            }
        }
        Ok(())
    }

    /// Looks at the cluster, notes what changed, and shows it.
    fn look(&mut self) {
        let looked = Instant::now();
        let statuses: Vec<Option<Status>> = self
            .cluster
            .statuses()
            .into_iter()
            .map(Result::ok)
            .collect();
        let is_master = |status: &Option<Status>| status.as_ref().is_some_and(Status::is_master);
        let master = statuses.iter().position(is_master);
        // Without a master, what the next best node knows.
        let best = master.or_else(|| statuses.iter().position(Option::is_some));
        let seen = best.and_then(|index| statuses[index].as_ref());
        let mut news = Vec::new();
        if let Some(master) = master {
            if let Some(sentence) = self.watch.master(&self.names[master]) {
                if let Some(from) = self.master_seen {
                    self.traffic.tally().moved(from, Instant::now());
                }
                news.push(sentence);
            }
            self.master_seen = Some(looked);
        }
        if let (Some(_), Some(seen)) = (master, seen) {
            for backend in &seen.backends {
                let index = self.names.iter().position(|name| *name == backend.name);
                let weight = index.map_or(100, |index| self.cluster.settings.weight(index));
                news.extend(self.watch.backend(backend, weight));
            }
            if let Some(interface) = seen.interfaces.first() {
                self.xdp_mode.clone_from(&interface.xdp_mode);
            }
        }
        for text in news {
            self.event(&text);
        }
        let view = self.view(&statuses, seen);
        self.screen.show(&view, &self.events);
    }

    fn view(&self, statuses: &[Option<Status>], seen: Option<&Status>) -> View {
        let node = |(index, name): (usize, &String)| {
            let backend = seen.and_then(|seen| seen.backend(name));
            Node {
                name: name.clone(),
                role: match &statuses[index] {
                    None => Role::Dead,
                    Some(status) if status.is_master() => Role::Master,
                    Some(_) => Role::Backup,
                },
                weight_permille: backend.map(|backend| backend.weight_permille),
                accepting: backend.is_some_and(|backend| backend.accepting),
                open: self.servers[index].open(),
                served: self.servers[index].sessions(),
                queued: self.servers[index].queued(),
                reason: backend.map_or_else(String::new, |backend| backend.reason.clone()),
            }
        };
        let tally = self.traffic.tally();
        View {
            title: format!(
                "{} mail gateways behind {} and {}, XDP {}",
                self.names.len(),
                addresses::VIP4,
                addresses::VIP6,
                self.xdp_mode
            ),
            elapsed: self.started.elapsed(),
            length: self.length,
            nodes: self.names.iter().enumerate().map(node).collect(),
            started: tally.started,
            completed: tally.completed,
            open: tally.open(),
            failed: tally.failed,
        }
    }
}
