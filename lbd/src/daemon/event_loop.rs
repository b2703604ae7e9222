//! The event loop: one thread that handles one event at a time. It owns the maps, and lends them to the
//! owner of what the event is about.
//!
//! It may block for the milliseconds that a ring or a sweep takes; nothing on the async threads or
//! in the election waits for it.
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    clock,
    cluster::{
        Cluster, advert, advert::Command, channel, elected::RoleChange,
        election_view::ElectionView, known::Known, push,
    },
    context::Context,
    event::Event,
    lifecycle::{
        drain_on_stop::say_farewell,
        interfaces::{Interfaces, load_options},
        running::Running,
        undone::complete,
        virtual_addresses::{VirtualAddresses, vip_specs},
        watchdog::Watchdog,
    },
    log_failure::log_failure,
    observe::{
        recent::{Kind, Severity},
        record::Observed,
        report::View,
    },
    operator::{Operators, order::Ordered, request::Request, run_trace},
    steering::Steering,
};
use crate::{
    config::{self, Node, StartAs},
    dataplane::DataPlane,
    election::Health,
    host::{self, Change, Host, HostEvent, links::LinkChange},
    push::Version,
};

/// How often it is looked whether the program is still attached.
const LOOK_NS: u64 = 1_000_000_000;

/// How a daemon ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// SIGTERM, SIGINT: the box is left as it was found.
    Stop,
    /// SIGUSR2: program, maps and addresses stay for the daemon that follows.
    HandOver,
}

/// The daemon's state, by its owners.
#[derive(Debug)]
pub(super) struct EventLoop {
    running: Running,
    started_ns: u64,
    steering: Steering,
    cluster: Cluster,
    operators: Operators,
    observed: Observed,
    interfaces: Interfaces,
    virtual_addresses: VirtualAddresses,
    watchdog: Watchdog,
    /// When what changes without an event was looked at last.
    looked_ns: u64,
    plane: DataPlane,
    host: Host,
}

impl EventLoop {
    pub(super) fn new(
        running: Running,
        (plane, host): (DataPlane, Host),
        steering: Steering,
        cluster: Cluster,
        operators: Operators,
        observed: Observed,
    ) -> Self {
        let now_ns = clock::boottime_ns();
        Self {
            interfaces: Interfaces::new(&running.config.node.interfaces),
            virtual_addresses: VirtualAddresses::default(),
            watchdog: Watchdog::of_systemd(),
            started_ns: now_ns,
            looked_ns: now_ns,
            running,
            steering,
            cluster,
            operators,
            observed,
            plane,
            host,
        }
    }

    /// What the listeners need to know whom to serve.
    pub(super) fn guarded(&self) -> (&Node, &Known) {
        (&self.running.config.node, &self.cluster.known)
    }

    /// Lists and makes the changes to the box, fills the maps, then joins the election.
    pub(super) fn begin(&mut self, sender: &mpsc::Sender<Event>) -> anyhow::Result<()> {
        let node = &self.running.config.node;
        self.host.make(&Change::Pin {
            path: node.pin_dir.clone(),
        })?;
        self.host.make(&Change::File {
            path: node.control.clone(),
        })?;
        self.interfaces
            .look_at_links(&self.running.config, &mut self.plane)?;
        self.configure(None)?;
        let undone = self.host.undo_unclaimed();
        for (change, outcome) in &undone.settled {
            info!("left by an earlier lbd, {outcome}: {change}");
        }
        complete(&undone)?;
        if self.running.config.node.start_as == StartAs::Backend {
            let why = "this box takes no part in the election (node.start_as)";
            info!("backup: {why}");
            let now_ns = clock::boottime_ns();
            self.cluster
                .election
                .become_backup(None, why.to_owned(), now_ns);
            return Ok(());
        }
        let health = Health {
            data_plane: self.interfaces.is_attached(),
            link: self.interfaces.are_usable(),
            backends: self.steering.can_serve(),
        };
        let lease = self.plane.lease();
        self.cluster
            .join_election(&self.running.config, lease, health, sender)
    }

    /// Ends the election first, so that another box takes over at once, then everything else.
    pub(super) fn leave(mut self, end: End, is_urgent: impl Fn() -> bool) -> anyhow::Result<()> {
        if end == End::Stop {
            let now_ns = clock::boottime_ns();
            let election = &mut self.cluster.election;
            let was_master = election.is_master();
            std::mem::replace(election, ElectionView::starting(now_ns)).stop();
            let config = &self.running.config;
            if was_master {
                let why = "this node was stopped".to_owned();
                self.cluster
                    .tell_role(config, why, None, &mut self.observed);
            }
            say_farewell(
                self.steering.members.local(),
                config,
                &self.cluster.channel,
                &mut self.watchdog,
                is_urgent,
            );
            self.observed.notifier.finish();
        }
        let Self {
            cluster,
            steering,
            observed,
            plane,
            host,
            ..
        } = self;
        let Cluster {
            election, channel, ..
        } = cluster;
        if end == End::HandOver {
            election.hand_over();
            observed.historian.stop();
            info!("handed over: the XDP program, its maps and the addresses stay");
            return Ok(());
        }
        observed.historian.stop();
        drop((steering, channel));
        plane.detach()?;
        complete(&host.undo_all())
    }

    /// Handles events until one says stop or all senders are gone.
    pub(super) fn run(mut self, mut events: mpsc::Receiver<Event>) -> Self {
        while let Some(event) = self.next(&mut events) {
            let (steering, _, mut context) = self.lend();
            match event {
                Event::Tick => self.tick(),
                Event::Host(HostEvent::Link(change)) => self.link(&change),
                Event::Host(HostEvent::Neighbour(way)) => steering.neighbour(&way, &mut context),
                Event::Polled(polled) => steering.polled(polled, &mut context),
                Event::Health(event) => steering.pulse(event, &mut context),
                Event::Election(event) => self.elected(event),
                Event::Channel(event) => self.on_channel_event(event),
                Event::ConfigEdited => self.reload(),
                Event::Request(request) => self.answer(request),
                Event::Stop => break,
            }
        }
        self
    }

    /// The owners that handle most events, and what they need of the rest.
    fn lend(&mut self) -> (&mut Steering, &mut Operators, Context<'_>) {
        let context = Context::new(
            &self.running,
            &mut self.plane,
            &mut self.cluster,
            &mut self.observed,
        );
        (&mut self.steering, &mut self.operators, context)
    }

    /// The next event. Orders are done once no other waits behind them, together: what came while
    /// one was done costs as much as that one.
    fn next(&mut self, events: &mut mpsc::Receiver<Event>) -> Option<Event> {
        if let Ok(event) = events.try_recv() {
            return Some(event);
        }
        let (steering, operators, mut context) = self.lend();
        operators.operate_if_due(steering, &mut context, clock::boottime_ns());
        events.blocking_recv()
    }

    fn tick(&mut self) {
        let now_ns = clock::boottime_ns();
        self.cluster
            .take_stations(self.steering.backend_tasks(), now_ns);
        self.write_nodes_if_stale();
        let (steering, operators, mut context) = self.lend();
        steering.look_for_signs(&mut context, now_ns);
        context.cluster.tell_election_of_clocks();
        operators.operate_if_due(steering, &mut context, now_ns);
        steering.follow_orders_if_due(&mut context, now_ns);
        steering
            .admission
            .follow_adoption(context.plane, context.config, now_ns);
        if steering.last_sweep().is_due(now_ns) {
            operators.expire_denials(&mut steering.admission, &mut context);
            steering.sweep(context.config, context.plane, now_ns);
            operators.end_drains(steering, context.plane);
        }
        steering.read_told_if_due(context.plane, now_ns);
        context
            .observed
            .look(context.plane, &steering.members, steering.weigher());
        steering.tell_weights_if_due(context.cluster, now_ns);
        operators.tell_peers_if_due(&context.cluster.channel, now_ns);
        if steering.weigher().is_due(now_ns) {
            steering.weigh(&mut context, now_ns);
        }
        self.watchdog.tick(now_ns);
        if now_ns.saturating_sub(self.looked_ns) >= LOOK_NS {
            self.looked_ns = now_ns;
            self.look(now_ns);
        }
    }

    /// Looks at what changes without an event.
    fn look(&mut self, now_ns: u64) {
        // Without a word of the peers it follows the checks.
        if self.cluster.stations.is_mute(now_ns) {
            self.cluster.mark_nodes_stale();
        }
        self.cluster.tell_election_of_peers(now_ns);
        let (steering, _, mut context) = self.lend();
        steering.compare_reach(&mut context, now_ns);
        if self.interfaces.look_at_suspend(&mut self.plane, now_ns) {
            let (steering, _, mut context) = self.lend();
            steering.doubt_verdicts(false, &mut context, now_ns);
        }
        let mut context = Context::new(
            &self.running,
            &mut self.plane,
            &mut self.cluster,
            &mut self.observed,
        );
        self.interfaces.look_at_program(&mut context, now_ns);
        if let Some(missed) = self.cluster.election.missed() {
            warn!(
                "an election event was lost because the queue was full: taking the current state"
            );
            self.elected(missed);
        }
        if self.interfaces.is_any_waited_for() {
            log_failure("the names of node.interfaces", self.take_other_names());
        }
        self.look_at_attachment();
        let config = &self.running.config;
        let is_serving =
            self.steering.members.local().is_some() || !self.steering.weigher().leaving.is_empty();
        self.virtual_addresses
            .let_go(is_serving, &config.cluster, &mut self.host);
        self.virtual_addresses
            .look(config, &mut self.host, &mut self.observed);
        self.cluster.look_for_lost_events(&self.plane);
        self.operators.end_old_trace(&mut self.plane, now_ns);
    }

    /// An interface changed.
    fn link(&mut self, change: &LinkChange) {
        let mut context = Context::new(
            &self.running,
            &mut self.plane,
            &mut self.cluster,
            &mut self.observed,
        );
        if self.interfaces.link(change, &mut context) {
            self.look_at_attachment();
        }
    }

    /// Puts into the map whose frames were steered already.
    fn write_nodes_if_stale(&mut self) {
        if !self.cluster.take_nodes_stale() {
            return;
        }
        let macs = self
            .cluster
            .node_macs(&self.running.config, &self.steering.members);
        let written = self.plane.set_nodes(&macs);
        log_failure("the cluster's link-layer addresses", written);
    }

    /// The election moved, or an event of it was missed.
    fn elected(&mut self, event: advert::Event) {
        let now_ns = clock::boottime_ns();
        let master = self.master_name();
        let config = &self.running.config;
        let change = self
            .cluster
            .elected(event, config, master, &mut self.observed, now_ns);
        let (steering, _, mut context) = self.lend();
        match change {
            RoleChange::None => {}
            RoleChange::Master { is_former_gone } => {
                steering.become_master(is_former_gone, &mut context, now_ns);
            }
            RoleChange::Backup => steering.weigh(&mut context, now_ns),
            RoleChange::Rejoined => steering.doubt_verdicts(false, &mut context, now_ns),
        }
    }

    /// A peer told something.
    fn on_channel_event(&mut self, event: channel::Event) {
        let (steering, operators, mut context) = self.lend();
        match event {
            channel::Event::Joined => context.cluster.election.tell(Command::SyncDone),
            channel::Event::PeerJoined => {
                context.observed.historian.peer_joined();
                operators.tell_all(&context.cluster.channel);
                if context.cluster.election.is_master() {
                    steering.tell_weights(context.cluster, clock::boottime_ns());
                }
            }
            channel::Event::Weights { of, backends } => {
                steering.told_weights(of, backends, &mut context);
            }
            channel::Event::Orders(orders) => operators.told_orders(orders, steering),
            channel::Event::Denials(denials) => {
                operators.told_denials(denials, &mut steering.admission, &mut context);
            }
            channel::Event::NoNeighbour(clients) => steering.find_ways_to(clients),
            channel::Event::OtherWays(endpoints) => {
                let is_changed = steering.take_other_ways(endpoints, context.plane);
                if is_changed {
                    let taken = self.take_replies();
                    log_failure("replies", taken);
                    self.cluster.follow_ids(&self.running.config, &self.plane);
                }
                self.cluster.channel.other_ways_taken(is_changed);
            }
            channel::Event::Denied(sources) => context.observed.historian.denied(&sources),
            // Goes to the history's thread by itself.
            channel::Event::History { .. } => {}
        }
    }

    fn answer(&mut self, request: Request) {
        let (steering, operators, mut context) = self.lend();
        // A person who went away meanwhile needs no answer.
        match request {
            Request::Status(reply) => drop(reply.send(Box::new(self.view().status()))),
            Request::Explain(backend, reply) => {
                drop(reply.send(steering.explain(backend.as_deref())));
            }
            Request::Operator(request, reply) => operators.push(Ordered { request, reply }),
            Request::Access(source, reply) => {
                drop(reply.send(operators.access(context.config, source)));
            }
            Request::ChangeAccess(change, reply) => {
                let done = operators.change_access(&change, &mut steering.admission, &mut context);
                drop(reply.send(done));
            }
            Request::Flows(reply) => drop(reply.send(self.view().flow_view())),
            Request::PrepareTrace(request, reply) => {
                drop(reply.send(operators.prepare_trace(&request, context.plane)));
            }
            Request::BeginTrace(verified, reply) => {
                let names = operators.names_for_trace(&steering.members, &context);
                drop(reply.send(run_trace::begin(*verified, names, context.plane)));
            }
            Request::EndTrace => operators.end_trace(context.plane),
            Request::Events(after, reply) => {
                drop(reply.send(self.observed.recent.events.after(after)));
            }
            Request::History(reply) => {
                drop(reply.send(self.observed.recent.points.history()));
            }
            Request::Identity(reply) => drop(reply.send(self.running.identity())),
            Request::PushContext(reply) => {
                let is_master = self.cluster.election.is_master();
                let told = self.running.push_context(is_master, self.master_name());
                drop(reply.send(Box::new(told)));
            }
            Request::Reload(reply) => {
                self.reload();
                drop(reply.send(self.running.refused.clone()));
            }
            Request::TakeOver(what, reply) => {
                drop(reply.send(self.take_over(&what)));
            }
        }
    }

    fn view(&self) -> View<'_> {
        View {
            started_ns: self.started_ns,
            running: &self.running,
            plane: &self.plane,
            steering: &self.steering,
            cluster: &self.cluster,
            orders: self.operators.orders(),
            interfaces: &self.interfaces,
            historian: &self.observed.historian,
        }
    }

    fn master_name(&self) -> Option<String> {
        let election = &self.cluster.election;
        self.steering.master_name(&self.running.config, election)
    }

    /// The file was edited: takes it over, or keeps the running configuration and says why.
    fn reload(&mut self) {
        let Some(new) = self.running.read_edited(&mut self.observed) else {
            return;
        };
        let old = std::mem::replace(&mut self.running.config, new);
        match self.configure(Some(&old.cluster)) {
            Ok(()) => {
                let told = self.cluster.reconfigure_election(&self.running.config);
                log_failure("the election", told);
                self.running.is_taken_over(&mut self.observed);
            }
            Err(error) => {
                let refused = format!("{error:#}");
                warn!(
                    "the edited configuration could not be applied; the previous one is back in use: {refused}"
                );
                let new = std::mem::replace(&mut self.running.config, old);
                self.running.refused = Some(refused);
                log_failure("going back", self.configure(Some(&new.cluster)));
            }
        }
    }

    /// A pushed configuration is in place. Why it does not run, if so.
    fn take_over(&mut self, what: &push::TakeOver) -> Option<String> {
        let version = &what.version;
        let Version { number, by, on, .. } = version;
        let from = what
            .from
            .as_ref()
            .map_or(String::new(), |from| format!(", from {from}"));
        let said = format!("version {number} by {by} on {on} is in place{from}");
        self.observed
            .happened(Severity::Info, Kind::Config, None, said);
        self.follow_version(Some(version.clone()));
        if what.changed {
            self.reload();
        }
        self.running.refused.clone()
    }

    /// This node was given this version.
    pub(super) fn follow_version(&mut self, version: Option<Version>) {
        self.cluster.channel.tell_version(version.as_ref());
        self.running.version = version;
    }

    /// Brings owners, maps and tasks in line with the configuration; `before` is what they are in line
    /// with now.
    fn configure(&mut self, before: Option<&config::Cluster>) -> anyhow::Result<()> {
        let (steering, operators) = (&mut self.steering, &mut self.operators);
        let mut context = Context::new(
            &self.running,
            &mut self.plane,
            &mut self.cluster,
            &mut self.observed,
        );
        let config = context.config;
        context.cluster.known.follow(config);
        let has_new = steering.configure(config, context.plane)?;
        if before.is_none() {
            steering.adopt(&mut context)?;
        }
        operators.give_orders(&mut steering.members);
        steering.write_backends(config, context.plane)?;
        operators.admit(&mut steering.admission, &mut context)?;
        let macs = context.cluster.node_macs(config, &steering.members);
        context.plane.set_nodes(&macs)?;
        let is_backend = steering.members.local().is_some();
        self.virtual_addresses
            .hold(is_backend, config, before, &mut self.host)?;
        context.plane.set_vips(&vip_specs(&config.cluster))?;
        steering.take_replies(config, context.plane, &mut self.host)?;
        steering.reconfigure_policy(config);
        steering.follow_in_tasks(config, &self.running.path);
        context.cluster.follow_ids(config, context.plane);
        if has_new && before.is_some() {
            // A peer that was faster has told of sessions at endpoints that had no id here.
            context.cluster.channel.ask_for_tables();
        }
        context.observed.follow(config);
        Ok(())
    }

    fn take_replies(&mut self) -> anyhow::Result<()> {
        let (plane, host) = (&mut self.plane, &mut self.host);
        self.steering
            .take_replies(&self.running.config, plane, host)
    }

    /// An interface that was waited for may have come by another name than the one in the file.
    fn take_other_names(&mut self) -> anyhow::Result<()> {
        let config = &mut self.running.config;
        let facts = host::facts(config)?;
        if !config::name_interfaces(config, &facts) {
            return Ok(());
        }
        self.interfaces.rename(&config.node.interfaces);
        self.steering.follow_in_tasks(config, &self.running.path);
        self.interfaces.look_at_links(config, &mut self.plane)
    }

    /// Attaches the program again where it is not attached any more.
    fn look_at_attachment(&mut self) {
        let election = &mut self.cluster.election;
        let config = &self.running.config;
        if self
            .interfaces
            .has_lost_program(config, &self.plane, election)
        {
            let outcome = self.attach_again();
            let election = &mut self.cluster.election;
            self.interfaces.attached_again(outcome, election);
        }
    }

    fn attach_again(&mut self) -> anyhow::Result<()> {
        let config = &self.running.config;
        self.plane.attach_again(&load_options(config))?;
        // An interface that was made anew has another number, and none of our settings.
        self.interfaces.look_at_links(config, &mut self.plane)?;
        let cluster = config.cluster.clone();
        self.configure(Some(&cluster))?;
        self.cluster.reconfigure_election(&self.running.config)
    }
}
