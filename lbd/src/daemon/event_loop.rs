//! The event loop: one thread that owns the state and the maps, and handles one event at a time.
//!
//! It may block for the milliseconds that a ring or a sweep takes; nothing on the async threads or
//! in the election waits for it.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    clock,
    cluster::{
        advert::Command, channel, election_view::ElectionView, known::Known, stations::Stations,
    },
    event::Event,
    lifecycle::{program_watch::ProgramWatch, suspend::SuspendDetector, watchdog::Watchdog},
    observe::{
        history::Historian,
        recent::{Kind, Severity},
        record::Observed,
    },
    operator::{
        denials::Denials, feeds::Feeds, notify::Notifier, order::Ordered, orders::Orders,
        request::Request,
    },
    steering::{
        admission::Admission,
        backend_spec::backend_spec,
        backend_tasks::BackendTasks,
        doubts::Doubts,
        health,
        members::{Checked, Member, Members},
        poll,
        sweep::Sweep,
        tunnel,
        weigher::Weigher,
    },
};
use crate::{
    config::{Authentication, Config, Forwarding},
    dataplane::DataPlane,
    host::{
        Host, HostEvent,
        neighbours::{Neighbour, Reach},
    },
    policy::Sign,
    push::Version,
    units::{BackendId, Endpoint, Mac},
};

/// How often it is looked whether the program is still attached.
const LOOK_NS: u64 = 1_000_000_000;

/// How often peers are told all orders again: a datagram may be lost.
const TELL_ORDERS_NS: u64 = 5_000_000_000;

/// The daemon's state.
#[derive(Debug)]
pub(super) struct EventLoop {
    pub(super) config: Config,
    pub(super) config_path: PathBuf,
    pub(super) config_loaded_unix_s: u64,
    pub(super) config_refused: Option<String>,
    /// What this node was given last.
    pub(super) version: Option<Version>,
    pub(super) started_ns: u64,
    pub(super) members: Members,
    pub(super) orders: Orders,
    /// What operators have ordered and not been answered yet.
    pub(super) ordered: Vec<Ordered>,
    /// The cluster's link-layer addresses changed. Written at the next tick, once for a thousand
    /// of them.
    pub(super) nodes_stale: bool,
    /// What the nodes have told of their MACs.
    pub(super) stations: Stations,
    /// Whether this box is one to judge others.
    pub(super) doubts: Doubts,
    pub(super) denials: Denials,
    pub(super) feeds: Feeds,
    /// On the loopback: this box is a backend, or has sessions of the time when it was.
    pub(super) holds_virtual_addresses: bool,
    pub(super) watchdog: Watchdog,
    /// The boxes of the cluster, for what listens.
    pub(super) known: Known,
    orders_told_ns: u64,
    /// As the program counts them; `None` before the first look.
    events_lost: Option<u64>,
    pub(super) weigher: Weigher,
    pub(super) sweep: Sweep,
    pub(super) admission: Admission,
    pub(super) channel: channel::ChannelHandle,
    pub(super) election: ElectionView,
    /// Whether each of `node.interfaces` can send and receive.
    pub(super) links_usable: BTreeMap<String, bool>,
    /// Those of them that are not there (yet).
    pub(super) waited_for: BTreeSet<String>,
    /// Whether the program is attached to each of them.
    pub(super) is_attached: bool,
    /// Whether the machine was suspended.
    pub(super) suspended: SuspendDetector,
    /// Whether the program runs where it is attached.
    pub(super) program_watch: ProgramWatch,
    /// Why it could not be attached again.
    pub(super) attach_refused: Option<String>,
    /// Why what the virtual addresses need on this box could not be put back.
    pub(super) put_back_refused: Option<String>,
    /// When what changes without an event was looked at last.
    pub(super) looked_ns: u64,
    pub(super) plane: DataPlane,
    pub(super) host: Host,
    pub(super) backend_tasks: BackendTasks,
    pub(super) observed: Observed,
    pub(super) notifier: Notifier,
}

impl EventLoop {
    pub(super) fn new(
        path: &Path,
        config: Config,
        (orders, denials, feeds): (Orders, Denials, Feeds),
        plane: DataPlane,
        host: Host,
        backend_tasks: BackendTasks,
        (channel, historian, notifier): (channel::ChannelHandle, Historian, Notifier),
    ) -> Self {
        let now_ns = clock::boottime_ns();
        let mut admission = Admission::default();
        admission.adoption.sessions_are_unknown(now_ns);
        Self {
            admission,
            nodes_stale: false,
            stations: Stations::starting(now_ns),
            doubts: Doubts::default(),
            weigher: Weigher::new(config.cluster.stats.interval),
            sweep: Sweep::default(),
            channel,
            links_usable: config
                .node
                .interfaces
                .iter()
                .map(|name| (name.clone(), false))
                .collect(),
            waited_for: BTreeSet::new(),
            is_attached: true,
            suspended: SuspendDetector::default(),
            program_watch: ProgramWatch::default(),
            attach_refused: None,
            put_back_refused: None,
            looked_ns: now_ns,
            config,
            config_path: path.to_owned(),
            config_loaded_unix_s: clock::unix_s(),
            config_refused: None,
            version: None,
            started_ns: now_ns,
            members: Members::default(),
            orders,
            ordered: Vec::new(),
            denials,
            feeds,
            orders_told_ns: 0,
            events_lost: None,
            holds_virtual_addresses: false,
            watchdog: Watchdog::of_systemd(),
            known: Known::default(),
            election: ElectionView::starting(now_ns),
            plane,
            host,
            backend_tasks,
            observed: Observed::new(historian),
            notifier,
        }
    }

    /// Handles events until one says stop or all senders are gone.
    pub(super) fn run(mut self, mut events: mpsc::Receiver<Event>) -> Self {
        while let Some(event) = self.next(&mut events) {
            match event {
                Event::Tick => self.tick(),
                Event::Host(event) => self.host(event),
                Event::Polled(polled) => self.polled(polled),
                Event::Health(event) => self.pulse(event),
                Event::Election(event) => self.elected(event),
                Event::Channel(event) => self.told(event),
                Event::ConfigEdited => self.reload(),
                Event::Request(request) => self.answer(request),
                Event::Stop => break,
            }
        }
        self
    }

    /// The next event. Orders are done once no other waits behind them, together: what came while
    /// one was done costs as much as that one.
    fn next(&mut self, events: &mut mpsc::Receiver<Event>) -> Option<Event> {
        if let Ok(event) = events.try_recv() {
            return Some(event);
        }
        self.operate_if_due(clock::boottime_ns());
        events.blocking_recv()
    }

    fn tick(&mut self) {
        let now_ns = clock::boottime_ns();
        self.take_stations(now_ns);
        self.write_nodes_if_stale();
        self.look_for_signs(now_ns);
        self.tell_election_of_clocks();
        self.operate_if_due(now_ns);
        self.follow_orders_if_due(now_ns);
        self.follow_adoption(now_ns);
        self.sweep_if_due(now_ns);
        self.sweep
            .read_loads_if_due(&self.plane, &mut self.members, now_ns);
        let is_master = self.election.is_master();
        self.observed
            .record_if_due(is_master, &self.members, &self.weigher);
        self.observed
            .historian
            .look((&self.plane, &self.members, &self.weigher), is_master);
        self.tell_weights_if_due(now_ns);
        if now_ns >= self.orders_told_ns + TELL_ORDERS_NS {
            self.orders_told_ns = now_ns;
            self.channel.tell_orders(self.orders.records());
            self.channel.tell_denials(self.denials.next_part());
        }
        self.watchdog.tick(now_ns);
        if self.weigher.is_due(now_ns) {
            self.weigh(now_ns);
        }
        if now_ns.saturating_sub(self.looked_ns) >= LOOK_NS {
            self.looked_ns = now_ns;
            // Without a word of the peers it follows the checks.
            self.nodes_stale |= self.stations.is_mute(now_ns);
            self.tell_election_of_peers(now_ns);
            self.compare_reach(now_ns);
            self.look_at_suspend(now_ns);
            self.look_at_program(now_ns);
            self.reconcile_role();
            self.look_for_other_names();
            self.look_at_attachment();
            self.look_at_virtual_addresses();
            self.look_for_lost_events();
        }
    }

    /// Sweeps when it is time, and ends what is over.
    fn sweep_if_due(&mut self, now_ns: u64) {
        if !self.sweep.is_due(now_ns) {
            return;
        }
        self.expire_denials();
        let leaving = self.leaving_of_boxes();
        let cluster = &self.config.cluster;
        self.sweep
            .run(cluster, &self.plane, &mut self.members, &leaving, now_ns);
        self.end_drains();
    }

    /// Opens or closes adoption when it is time.
    pub(super) fn follow_adoption(&mut self, now_ns: u64) {
        self.admission
            .follow_adoption(&self.plane, &self.config, now_ns);
    }

    /// Puts lists and limits into the maps. Returns how many sessions of denied sources end.
    pub(super) fn admit(&mut self) -> anyhow::Result<u64> {
        let lists = self.access_lists();
        self.admission.apply(&mut self.plane, &self.config, &lists)
    }

    /// The leaving endpoints, by their box's address.
    pub(super) fn leaving_of_boxes(&self) -> BTreeMap<IpAddr, Vec<(BackendId, Endpoint)>> {
        self.weigher.leaving.of_boxes(self.plane.backend_ids())
    }

    /// Logs what happened, with fields to search for, and notes it.
    pub(super) fn happened(
        &mut self,
        severity: Severity,
        kind: Kind,
        subject: Option<&str>,
        text: impl Into<String>,
    ) {
        let is_master = self.election.is_master();
        self.observed
            .happened(is_master, severity, kind, subject, text.into());
    }

    /// Notes what happened, for people who look later.
    pub(super) fn note(&mut self, kind: Kind, subject: Option<&str>, text: impl Into<String>) {
        let is_master = self.election.is_master();
        self.observed.note(is_master, kind, subject, text.into());
    }

    /// Events that the XDP program lost are still in its tables: peers must resync those.
    fn look_for_lost_events(&mut self) {
        let Ok(counters) = self.plane.counters() else {
            return;
        };
        let before = self.events_lost.replace(counters.event_lost);
        let before = before.unwrap_or(counters.event_lost);
        let lost = counters.event_lost.saturating_sub(before);
        if lost > 0 {
            warn!(
                "{lost} session events were lost because the ring buffer was full: peers will resync the whole table"
            );
            self.channel.note_lost_events();
        }
    }

    /// A peer told something.
    fn told(&mut self, event: channel::Event) {
        match event {
            channel::Event::Joined => self.election.tell(Command::SyncDone),
            channel::Event::PeerJoined => {
                self.observed.historian.peer_joined();
                self.channel.tell_orders(self.orders.records());
                self.channel.tell_denials(self.denials.records());
                if self.election.is_master() {
                    self.tell_weights(clock::boottime_ns());
                }
            }
            channel::Event::Weights { of, backends } => self.told_weights(of, backends),
            channel::Event::Orders(orders) => self.told_orders(orders),
            channel::Event::Denials(denials) => self.told_denials(denials),
            channel::Event::NoNeighbour(clients) => self.backend_tasks.find_ways_to(clients),
            channel::Event::OtherWays(endpoints) => self.take_other_ways(endpoints),
            channel::Event::Denied(sources) => self.observed.historian.denied(&sources),
            // Goes to the history's thread by itself.
            channel::Event::History { .. } => {}
        }
    }

    fn host(&mut self, event: HostEvent) {
        match event {
            HostEvent::Link(change) => self.link(&change),
            HostEvent::Neighbour(neighbour) => self.neighbour(&neighbour),
        }
    }

    fn neighbour(&mut self, neighbour: &Neighbour) {
        let hop = match neighbour.reach {
            Reach::Resolved(hop) => Some(hop),
            Reach::Local | Reach::Unreachable | Reach::Resolving { .. } => None,
        };
        if let Some(mac) = neighbour.refused {
            let now_ns = clock::boottime_ns();
            if let Some(said) = self.stations.refuse(neighbour.address, mac, now_ns) {
                warn!("{said}");
            }
        }
        self.nodes_stale |= self.members.note_director(neighbour.address, hop);
        let Some(member) = self.members.by_address(neighbour.address) else {
            return;
        };
        // A hop that a former daemon left stands until the kernel knows better.
        let is_adopted = member.hop.is_some_and(|hop| !hop.is_confirmed);
        let is_asked = matches!(neighbour.reach, Reach::Resolving { .. });
        if member.hop == hop || is_adopted && is_asked {
            return;
        }
        let (name, address) = (&member.name, member.address);
        match (hop, neighbour.reach) {
            (Some(hop), _) if hop.is_confirmed => info!(
                "{name} ({address}) is at {}, path MTU {} bytes",
                hop.mac, hop.mtu
            ),
            (Some(hop), _) => {
                info!(
                    "{name} ({address}) no longer answers at {}, which stays in use",
                    hop.mac
                );
            }
            (None, Reach::Unreachable) => warn!("{name} ({address}): there is no route to it"),
            (None, _) => info!("{name} ({address}) resolving its link-layer address"),
        }
        let is_lost = hop.is_some_and(|hop| !hop.is_confirmed && hop.next_hop == address);
        let (is_lost, name) = (is_lost && member.hop.is_some(), name.clone());
        let serves_ipv6 = || {
            let vips = &self.config.cluster.virtual_addresses;
            vips.iter().any(|vip| vip.address.is_ipv6())
        };
        if let Some(hop) = hop
            && member.forwarding == Forwarding::Ipip
            && tunnel::is_too_small_for_ipv6(tunnel::mtu(hop.mtu, address))
            && serves_ipv6()
        {
            warn!(
                "{name} ({address}): the path MTU is {} bytes, too small to tunnel IPv6 clients: raise it to 1320",
                hop.mtu
            );
        }
        member.hop = hop;
        let changed = member.clone();
        self.write_backend(&changed);
        self.nodes_stale = true;
        self.settle_health(&changed.name, clock::boottime_ns());
        if is_lost {
            self.sign_of(&name, Sign::NoNeighbour, clock::boottime_ns());
        }
    }

    /// Takes in what the peers have told of their MACs.
    fn take_stations(&mut self, now_ns: u64) {
        if self.stations.take(self.channel.stations(), now_ns) {
            self.nodes_stale = true;
            self.backend_tasks.vouch(self.stations.vouched());
        }
    }

    /// The MACs whose frames were steered already.
    pub(super) fn node_macs(&mut self) -> Vec<Mac> {
        let is_proven =
            self.channel.is_on() && self.config.cluster.authentication == Authentication::Enforce;
        if !is_proven {
            return self.stations.node_macs(&self.members.neighbours(false));
        }
        if !self.stations.is_mute(clock::boottime_ns()) {
            return self.stations.node_macs(&[]);
        }
        let neighbours = self.members.neighbours(true);
        if !neighbours.is_empty()
            && let Some(said) = self.stations.say_mute()
        {
            warn!("{said}");
        }
        self.stations.node_macs(&neighbours)
    }

    /// Puts into the map whose frames were steered already.
    fn write_nodes_if_stale(&mut self) {
        if !std::mem::take(&mut self.nodes_stale) {
            return;
        }
        let macs = self.node_macs();
        self.log_failure("the cluster's link-layer addresses", |event_loop| {
            Ok(event_loop.plane.set_nodes(&macs)?)
        });
    }

    fn polled(&mut self, polled: poll::Event) {
        let now_ns = clock::boottime_ns();
        let Some(member) = self.members.by_name(&polled.backend) else {
            return;
        };
        member.heard_ns = now_ns;
        match polled.result {
            Ok(sample) => {
                if member.poll_error.take().is_some() {
                    info!("{} reports its figures again", member.name);
                }
                member.answered = Some((sample, now_ns));
            }
            Err(error) => {
                member.poll_failures += 1;
                let error = error.to_string();
                if member.poll_error.as_ref() != Some(&error) {
                    warn!("{}: no figures: {error}", member.name);
                }
                member.poll_error = Some(error);
            }
        }
        // Either is a word on whether the box lives.
        self.settle_health(&polled.backend, now_ns);
        // Figures act when they come, not at the next tick of another clock.
        if self.members.all_heard_since(self.weigher.last_ns()) {
            self.weigher.forget_former();
            self.weigh(now_ns);
        }
    }

    pub(super) fn health(&mut self, change: health::Change) {
        let now_ns = clock::boottime_ns();
        let Some(member) = self.members.by_name(&change.backend) else {
            return;
        };
        member.checked = Checked {
            state: change.state,
            reason: change.reason,
            failing_since_ns: change.failing_since_ns,
        };
        self.settle_health(&change.backend, now_ns);
    }

    /// Puts into the maps how a backend is reached, and whether it lives: also for its sessions of
    /// a time when it was reached otherwise.
    pub(super) fn write_backend(&mut self, member: &Member) {
        let spec = backend_spec(member, self.members.own_address());
        let leaving = self.leaving_of_boxes().remove(&member.address);
        self.log_failure(&member.name, |event_loop| {
            event_loop.plane.set_backend(member.id, &spec)?;
            for (id, _) in leaving.into_iter().flatten() {
                event_loop.plane.reach_beside(id, member.id)?;
            }
            Ok(())
        });
    }

    fn answer(&mut self, request: Request) {
        // A person who went away meanwhile needs no answer.
        match request {
            Request::Status(reply) => drop(reply.send(Box::new(self.status()))),
            Request::Explain(backend, reply) => {
                drop(reply.send(self.explain(backend.as_deref())));
            }
            Request::Operator(request, reply) => {
                self.ordered.push(Ordered { request, reply });
            }
            Request::Access(source, reply) => drop(reply.send(self.access(source))),
            Request::ChangeAccess(change, reply) => {
                drop(reply.send(self.change_access(&change)));
            }
            Request::Flows(reply) => drop(reply.send(self.flow_view())),
            Request::Events(after, reply) => {
                drop(reply.send(self.observed.recent.events.after(after)));
            }
            Request::History(reply) => {
                drop(reply.send(self.observed.recent.points.history()));
            }
            Request::Identity(reply) => drop(reply.send(self.identity())),
            Request::PushContext(reply) => drop(reply.send(Box::new(self.context()))),
            Request::Reload(reply) => {
                self.reload();
                drop(reply.send(self.config_refused.clone()));
            }
            Request::TakeOver(what, reply) => {
                drop(reply.send(self.take_over(&what)));
            }
        }
    }

    /// Does something that should not fail while running; when it does, the old state stays.
    pub(super) fn log_failure(
        &mut self,
        what: &str,
        action: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) {
        if let Err(error) = action(self) {
            warn!("{what}: {error:#}");
        }
    }
}
