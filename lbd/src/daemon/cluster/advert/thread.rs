//! The loop: everything that was heard, then commands, then the timer.

mod hear;
mod speak;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arc_swap::ArcSwapOption;

use super::address_mover::{AddressMover, Ticket};
use super::control::LeaseControl;
use super::event::{Event, Notice, NoticeKind, WireCounters};
use super::packet::{Announcer, Listener};
use super::realtime;
use super::relays::Relays;
use super::settings::Settings;
use super::wake::{Bell, Timer, wait};
use super::wire::Wire;
use super::{Command, View};
use crate::daemon::clock::{boottime_ns, moment, unix_ns};
use crate::daemon::log_limiter::LogLimiter;
use crate::election::{Found, Health, Input, Machine, Output, WhyBackup};
use crate::units::Priority;
use crate::vrrp::{Authenticator, PeerClock};

/// How often the view is renewed and a socket that failed is tried again.
const HOUSEKEEPING_NS: u64 = 1_000_000_000;

/// Packets taken in one turn: a flood of adverts must not keep ours from being sent.
const PACKETS_A_TURN: usize = 64;

pub(super) struct Worker {
    settings: Settings,
    machine: Machine,
    health: Health,
    authenticator: Option<Authenticator>,
    lease: Box<dyn LeaseControl>,
    addresses_by: AddressMover,
    wires: Vec<Wire>,
    listeners: Vec<Listener>,
    /// For announcements and questions; opened when first used.
    packets: Option<Announcer>,
    commands: Receiver<Command>,
    bell: Bell,
    timer: Timer,
    view: Arc<ArcSwapOption<View>>,
    tell: Box<dyn Fn(Event) + Send>,
    log: LogLimiter<NoticeKind>,
    counters: WireCounters,
    /// The leader's addresses, as last told.
    leader: BTreeSet<IpAddr>,
    housekeeping_ns: u64,
    renew_ns: u64,
    /// The addresses of this mastership are there when this is done.
    held: Ticket,
    announcement_waits: bool,
    /// The address that was last asked whether it is there.
    asked: Option<IpAddr>,
    /// The witness whose turn it is.
    witness: usize,
    relays: Relays,
    /// See [`Command::Leased`].
    leased: Vec<IpAddr>,
    /// See [`Command::Clocks`].
    clocks: Vec<PeerClock>,
    /// An advert was verified with the keys that we have.
    has_believed: bool,
    outputs: Vec<Output>,
    message: Vec<u8>,
}

impl Worker {
    pub(super) fn new(
        settings: Settings,
        lease: Box<dyn LeaseControl>,
        addresses_by: AddressMover,
        commands: Receiver<Command>,
        bell: Bell,
        view: Arc<ArcSwapOption<View>>,
        tell: Box<dyn Fn(Event) + Send>,
    ) -> io::Result<Self> {
        Ok(Self {
            machine: Machine::new(settings.election, boottime_ns()),
            authenticator: settings.authenticator(),
            settings,
            health: Health::UNKNOWN,
            lease,
            addresses_by,
            wires: Vec::new(),
            listeners: Vec::new(),
            packets: None,
            commands,
            bell,
            timer: Timer::new()?,
            view,
            tell,
            log: LogLimiter::default(),
            counters: WireCounters::default(),
            leader: BTreeSet::new(),
            housekeeping_ns: 0,
            renew_ns: 0,
            held: Ticket::default(),
            announcement_waits: false,
            asked: None,
            witness: 0,
            relays: Relays::default(),
            leased: Vec::new(),
            clocks: Vec::new(),
            has_believed: false,
            outputs: Vec::with_capacity(16),
            message: Vec::with_capacity(256),
        })
    }

    pub(super) fn run(mut self, health: Health, found: Found) {
        if let Err(error) = realtime::lock_memory() {
            self.notice(Notice::NotLocked(error));
        }
        if let Err(error) = realtime::prioritize() {
            self.notice(Notice::NoRealTime(error));
        }
        self.begin_authentication();
        self.open_sockets();
        self.health = health;
        self.tell_health();
        self.handle(Input::Start { found });
        while self.turn() {}
    }

    /// One round; false after the last.
    fn turn(&mut self) -> bool {
        if let Err(error) = self.sleep() {
            // Only a bug or a lack of memory gets here: without a timer there is no election.
            self.notice(Notice::NoSocket {
                family: "timer",
                error,
            });
            self.handle(Input::Stop);
            return false;
        }
        self.announce_what_waits();
        let drained = self.hear() & self.hear_claims();
        while let Ok(command) = self.commands.try_recv() {
            if !self.obey(command) {
                return false;
            }
        }
        if self
            .machine
            .deadline_ns()
            .is_some_and(|at| self.may_act(at, drained))
        {
            self.handle(Input::Timer);
        }
        self.keep_house();
        true
    }

    /// Whether a deadline that has passed counts. Not before the sockets are empty: a backup that was
    /// away must hear of a master first. Yet a flood must not keep it for more than an interval, and
    /// a master's adverts not at all: its lease tells it whether it was away.
    fn may_act(&self, deadline_ns: u64, drained: bool) -> bool {
        let now_ns = boottime_ns();
        let patience_ns = self.settings.election.interval.ns();
        now_ns >= deadline_ns
            && (drained || self.machine.is_master() || now_ns - deadline_ns > patience_ns)
    }

    fn sleep(&mut self) -> io::Result<()> {
        let next_ns = self.housekeeping_ns + HOUSEKEEPING_NS;
        let deadline_ns = self
            .machine
            .deadline_ns()
            .map_or(next_ns, |at| at.min(next_ns));
        self.timer.set(Some(deadline_ns))?;
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.timer.as_fd(), self.bell.as_fd()];
        fds.extend(self.wires.iter().map(AsFd::as_fd));
        fds.extend(self.listeners.iter().map(AsFd::as_fd));
        wait(&fds)?;
        self.bell.silence();
        Ok(())
    }

    /// False when it was the last one.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Health(health) => {
                self.health = health;
                self.tell_health();
            }
            Command::SyncDone => self.handle(Input::SyncDone),
            Command::Reconfigure(settings) => self.reconfigure(*settings),
            Command::Leased(addresses) => self.leased = addresses,
            Command::Clocks(clocks) => {
                if let Some(authenticator) = &mut self.authenticator {
                    authenticator.set_clocks(clocks.clone());
                }
                self.clocks = clocks;
            }
            Command::Stop => {
                self.handle(Input::Stop);
                return false;
            }
            Command::HandOver => {
                if self.machine.is_master() {
                    // Before the advert, so that the box has each address that it answers for.
                    let valid_s = Settings::successor_valid_s(self.settings.election.interval);
                    self.addresses_by.hold(self.settings.placed(), valid_s);
                }
                self.handle(Input::HandOver);
                return false;
            }
        }
        true
    }

    /// Recordings of the time before do not count.
    fn begin_authentication(&mut self) {
        if let Some(authenticator) = &mut self.authenticator {
            authenticator.start(moment());
            authenticator.set_clocks(self.clocks.clone());
        }
    }

    fn tell_health(&mut self) {
        let health = Health {
            link: self.health.link && !self.wires.is_empty(),
            ..self.health
        };
        self.handle(Input::Health(health));
    }

    fn reconfigure(&mut self, settings: Settings) {
        let old = std::mem::replace(&mut self.settings, settings);
        let new = self.settings.clone();
        if let (Some(authenticator), Some(auth)) = (&mut self.authenticator, &new.authenticate) {
            // The replay window outlives a roll-over of keys.
            authenticator.set_keys(auth.mode, auth.keys.clone());
        } else {
            self.authenticator = new.authenticator();
            self.begin_authentication();
        }
        self.has_believed &= old.authenticate == new.authenticate;
        if self.machine.is_master() {
            let placed = new.placed();
            let mut gone = old.placed();
            // An interface that only got another MAC keeps its addresses.
            gone.retain(|old| {
                let mut placed = placed.iter();
                !placed.any(|new| (new.address, new.ifindex) == (old.address, old.ifindex))
            });
            self.addresses_by.remove(gone);
            self.held = self.addresses_by.hold(placed, new.valid_s());
            self.announce();
        }
        if old.interface != self.settings.interface
            || old.elsewhere != self.settings.elsewhere
            || old.election.families != self.settings.election.families
        {
            self.wires.clear();
            self.listeners.clear();
            self.packets = None;
            self.open_sockets();
        }
        self.handle(Input::ConfigChanged(self.settings.election));
        self.tell_health();
    }

    /// Opens what is not open.
    fn open_sockets(&mut self) {
        let families = self.settings.election.families;
        let ifindex = self.settings.interface.ifindex;
        let sources = [
            (families.v4.map(IpAddr::V4), "IPv4"),
            (families.v6.map(IpAddr::V6), "IPv6"),
        ];
        for (source, family) in sources {
            let Some(source) = source else { continue };
            if self.wires.iter().any(|wire| wire.source() == source) {
                continue;
            }
            match Wire::open(source, ifindex) {
                Ok(wire) => self.wires.push(wire),
                Err(error) => self.notice(Notice::NoSocket { family, error }),
            }
        }
        if self.listeners.is_empty() {
            let elsewhere = self.settings.elsewhere.iter().map(|vip| vip.ifindex);
            let interfaces: BTreeSet<u32> = elsewhere.chain([ifindex]).collect();
            for listener in interfaces.into_iter().flat_map(|ifindex| {
                [
                    Listener::arp(ifindex),
                    Listener::neighbour_advertisements(ifindex),
                ]
            }) {
                match listener {
                    Ok(listener) => self.listeners.push(listener),
                    Err(error) => self.notice(Notice::NoPacketSocket(error)),
                }
            }
        }
    }

    /// Hands an input to the machine and does what it wants, in order.
    fn handle(&mut self, input: Input) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.machine.handle(boottime_ns(), input, &mut outputs);
        let mut mute = false;
        for output in outputs.drain(..) {
            match output {
                Output::SendAdvert { priority, interval } => {
                    mute = !self.send(priority, interval) && priority != Priority::STOPPING;
                }
                // Who cannot speak must not draw the clients to itself.
                Output::HoldLease { .. } | Output::BecomeMaster { .. } | Output::Announce
                    if mute => {}
                output => self.act(output),
            }
        }
        self.outputs = outputs;
        if mute && self.machine.is_master() {
            self.handle(Input::AdvertFailed);
        }
        self.tell_leader();
    }

    fn act(&mut self, output: Output) {
        match output {
            // Done by the caller, which must know whether it went out.
            Output::SendAdvert { .. } => {}
            Output::LeaveFamily { family, interval } => {
                self.send_in(Some(family), Priority::STOPPING, interval);
            }
            Output::HoldLease { until_ns } => {
                self.lease.hold(until_ns);
                if self.renew_ns != 0 && boottime_ns() >= self.renew_ns {
                    self.hold_addresses();
                }
            }
            Output::ReleaseLease => self.lease.release(),
            Output::BecomeMaster { why } => {
                self.held = self.hold_addresses();
                (self.tell)(Event::BecameMaster { why });
                self.publish();
            }
            Output::BecomeBackup { why } => {
                if matches!(why, WhyBackup::Yielded | WhyBackup::Rejoined) {
                    self.relays.begin(boottime_ns());
                }
                self.renew_ns = 0;
                self.announcement_waits = false;
                self.addresses_by.remove(self.settings.placed());
                let leader = self.machine.status().leader;
                self.leader = leader.map(|leader| leader.addresses()).unwrap_or_default();
                (self.tell)(Event::BecameBackup { why, leader });
                self.publish();
            }
            Output::Announce => self.announce(),
            Output::Probe { master } => self.probe(master),
            Output::AskWitnesses { all } => self.ask_witnesses(all),
            Output::AskAddresses => self.ask_addresses(),
            Output::Isolated => {
                (self.tell)(Event::Isolated);
                self.publish();
            }
            Output::Rejoined => {
                (self.tell)(Event::Rejoined);
                self.publish();
            }
            Output::WantSync => (self.tell)(Event::WantSync {
                leader: self.machine.status().leader,
            }),
            Output::Notice(notice) => self.notice(Notice::Election(notice)),
        }
    }

    fn hold_addresses(&mut self) -> Ticket {
        let valid_s = self.settings.valid_s();
        self.renew_ns = boottime_ns() + u64::from(valid_s) * 1_000_000_000 / 3;
        self.addresses_by.hold(self.settings.placed(), valid_s)
    }

    fn tell_leader(&mut self) {
        let leader = self.machine.status().leader;
        // Its second address is news too: the configuration may know the box by that one.
        let addresses = leader.map(|leader| leader.addresses()).unwrap_or_default();
        if self.leader != addresses {
            self.leader = addresses;
            (self.tell)(Event::LeaderChanged(leader));
            self.publish();
        }
    }

    fn notice(&mut self, notice: Notice) {
        let (kind, now_ns) = (notice.kind(), boottime_ns());
        if self.log.allows(kind, Notice::EVERY_NS, now_ns) {
            (self.tell)(Event::Notice(notice));
        }
    }

    fn keep_house(&mut self) {
        let now_ns = boottime_ns();
        if now_ns < self.housekeeping_ns + HOUSEKEEPING_NS {
            return;
        }
        self.housekeeping_ns = now_ns;
        self.publish();
        let before = self.wires.len();
        self.open_sockets();
        if before == 0 && !self.wires.is_empty() {
            self.tell_health();
        }
    }

    fn publish(&self) {
        self.view.store(Some(Arc::new(View {
            status: self.machine.status(),
            election: *self.machine.counters(),
            wire: self.counters,
            at_ns: boottime_ns(),
        })));
    }
}
