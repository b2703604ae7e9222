//! The loop: everything that was heard, then commands, then the timer.
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arc_swap::ArcSwapOption;

use super::clock::{boottime_ns, unix_ns};
use super::control::LeaseControl;
use super::event::{Event, Notice, WireCounters};
use super::hands::Hands;
use super::limiter::Limiter;
use super::packet::Listener;
use super::realtime;
use super::settings::Settings;
use super::wake::{Bell, Timer, wait};
use super::wire::{Packet, Wire};
use super::{Command, View};
use crate::election::{Found, Health, Heard, Input, Leader, Machine, Output};
use crate::units::Priority;
use crate::vrrp::advert::fill_checksum;
use crate::vrrp::{Advert, Authenticator, ChecksumForm, Interval, Received, VrrpError};

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
    hands: Hands,
    wires: Vec<Wire>,
    listeners: Vec<Listener>,
    commands: Receiver<Command>,
    bell: Bell,
    timer: Timer,
    view: Arc<ArcSwapOption<View>>,
    tell: Box<dyn Fn(Event) + Send>,
    limiter: Limiter,
    counters: WireCounters,
    leader: Option<IpAddr>,
    housekeeping_ns: u64,
    renew_ns: u64,
    outputs: Vec<Output>,
    message: Vec<u8>,
}

impl Worker {
    pub(super) fn new(
        settings: Settings,
        lease: Box<dyn LeaseControl>,
        hands: Hands,
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
            hands,
            wires: Vec::new(),
            listeners: Vec::new(),
            commands,
            bell,
            timer: Timer::new()?,
            view,
            tell,
            limiter: Limiter::default(),
            counters: WireCounters::default(),
            leader: None,
            housekeeping_ns: 0,
            renew_ns: 0,
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
        let drained = self.hear();
        self.hear_claims();
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

    /// Hands in what the sockets hold. False when there is more.
    fn hear(&mut self) -> bool {
        let mut packets = Vec::new();
        let mut drained = true;
        for wire in &self.wires {
            let mut taken = 0;
            // A socket error (the interface went down) is the sender's and the host's to report.
            while let Ok(Some(packet)) = wire.next() {
                packets.push(packet);
                taken += 1;
                if taken == PACKETS_A_TURN {
                    drained = false;
                    break;
                }
            }
        }
        for packet in packets {
            if let Some(heard) = self.judge(&packet) {
                self.handle(Input::Advert(heard));
            }
        }
        drained
    }

    /// Whether a packet is an advert to be believed.
    fn judge(&mut self, packet: &Packet) -> Option<Heard> {
        let from = packet.source;
        let peers = &self.settings.unicast_peers;
        if !peers.is_empty() && !peers.contains(&from) {
            self.counters.not_a_peer += 1;
            self.notice(Notice::NotAPeer { from });
            return None;
        }
        let received = Received {
            source: from,
            destination: packet.destination,
            ttl: packet.ttl,
            payload: &packet.payload,
        };
        let parsed = match Advert::parse(&received, self.settings.virtual_router_id) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.counters.count_bad(why);
                // Several virtual routers on a segment are quite ordinary.
                if !matches!(why, VrrpError::VirtualRouterId { .. }) {
                    self.notice(Notice::BadAdvert { from, why });
                }
                return None;
            }
        };
        if let Some(authenticator) = &mut self.authenticator
            && let Err(why) = authenticator.verify(&received, &parsed, unix_ns())
        {
            self.counters.count_unbelieved(why);
            self.notice(Notice::Unauthenticated { from, why });
            return None;
        }
        match parsed.checksum {
            ChecksumForm::WithPseudoHeader => {
                self.counters.checksum_with_pseudo_header += 1;
            }
            ChecksumForm::MessageOnly => self.counters.checksum_message_only += 1,
        }
        if !parsed
            .advert
            .addresses
            .same_set(&self.settings.advertised(from))
        {
            self.counters.other_addresses += 1;
            self.notice(Notice::OtherAddresses { from });
        }
        Some(Heard {
            from,
            priority: parsed.advert.priority,
            interval: parsed.advert.interval,
        })
    }

    fn hear_claims(&mut self) {
        let mut claimed = Vec::new();
        for listener in &self.listeners {
            for _ in 0..PACKETS_A_TURN {
                let Ok(Some(claim)) = listener.next() else {
                    break;
                };
                if claim.mac != self.settings.interface.mac
                    && self.settings.virtual_addresses.contains(&claim.address)
                {
                    claimed.push(claim.address);
                }
            }
        }
        for address in claimed {
            self.handle(Input::RivalClaim { address });
        }
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
            Command::PeerGone {
                address,
                silent_from_ns,
            } => self.handle(Input::PeerGone {
                address,
                silent_from_ns,
            }),
            Command::Stop => {
                self.handle(Input::Stop);
                return false;
            }
            Command::HandOver => {
                if self.machine.is_master() {
                    // Before the advert: whatever the box answers for, it has the address.
                    let valid_s = Settings::successor_valid_s(self.settings.election.interval);
                    self.hands.hold(&self.settings.virtual_addresses, valid_s);
                }
                self.handle(Input::HandOver);
                return false;
            }
        }
        true
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
        let new = &self.settings;
        match (&mut self.authenticator, &new.authenticate) {
            // The replay window outlives a roll-over of keys.
            (Some(authenticator), Some(auth)) => {
                authenticator.set_keys(auth.mode, auth.keys.clone());
            }
            _ => self.authenticator = new.authenticator(),
        }
        if self.machine.is_master() {
            let gone: Vec<IpAddr> = old
                .virtual_addresses
                .iter()
                .copied()
                .filter(|address| !new.virtual_addresses.contains(address))
                .collect();
            self.hands.remove(&gone);
            self.hands.hold(&new.virtual_addresses, new.valid_s());
            self.announce();
        }
        if old.interface != self.settings.interface
            || old.election.families != self.settings.election.families
        {
            self.wires.clear();
            self.listeners.clear();
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
            for listener in [
                Listener::arp(ifindex),
                Listener::neighbour_advertisements(ifindex),
            ] {
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
            Output::HoldLease { until_ns } => {
                self.lease.hold(until_ns);
                if self.renew_ns != 0 && boottime_ns() >= self.renew_ns {
                    self.hold_addresses();
                }
            }
            Output::ReleaseLease => self.lease.release(),
            Output::BecomeMaster { why } => {
                self.hold_addresses();
                (self.tell)(Event::BecameMaster { why });
                self.publish();
            }
            Output::BecomeBackup { why } => {
                self.renew_ns = 0;
                self.hands.remove(&self.settings.virtual_addresses);
                (self.tell)(Event::BecameBackup {
                    why,
                    leader: self.machine.status().leader,
                });
                self.publish();
            }
            Output::Announce => self.announce(),
            Output::WantSync => (self.tell)(Event::WantSync {
                leader: self.machine.status().leader,
            }),
            Output::Notice(notice) => self.notice(Notice::Election(notice)),
        }
    }

    fn hold_addresses(&mut self) {
        let valid_s = self.settings.valid_s();
        self.hands.hold(&self.settings.virtual_addresses, valid_s);
        self.renew_ns = boottime_ns() + u64::from(valid_s) * 1_000_000_000 / 3;
    }

    fn announce(&mut self) {
        let interface = &self.settings.interface;
        self.hands.announce(
            &self.settings.virtual_addresses,
            interface.ifindex,
            interface.mac,
        );
    }

    /// Sends an advert in each family. False when it went out in none.
    fn send(&mut self, priority: Priority, interval: Interval) -> bool {
        let mut sent = false;
        let mut failed = Vec::new();
        for wire in &self.wires {
            let source = wire.source();
            let advert = Advert {
                virtual_router_id: self.settings.virtual_router_id,
                priority,
                interval,
                addresses: self.settings.advertised(source),
            };
            let pdu_bytes = advert.emitted_bytes();
            advert.emit(&mut self.message);
            if let Some(authenticator) = &mut self.authenticator {
                authenticator.sign(&mut self.message, source, unix_ns());
            }
            let group = [wire.group()];
            let peers = &self.settings.unicast_peers;
            let destinations = if peers.is_empty() { &group[..] } else { peers };
            for &to in destinations {
                if to == source || to.is_ipv4() != source.is_ipv4() {
                    continue;
                }
                let form = self.settings.checksum;
                fill_checksum(&mut self.message, pdu_bytes, source, to, form);
                match wire.send(&self.message, to) {
                    Ok(()) => sent = true,
                    Err(error) => failed.push(Notice::NotSent { to, error }),
                }
            }
        }
        for notice in failed {
            self.notice(notice);
        }
        sent
    }

    fn tell_leader(&mut self) {
        let leader = self.machine.status().leader;
        let address = leader.map(|leader: Leader| leader.address);
        let same = match (self.leader, leader) {
            (None, None) => true,
            // The other family's advert is no other leader.
            (Some(told), Some(now)) => now.address == told || now.other_address == Some(told),
            _ => false,
        };
        if !same {
            self.leader = address;
            (self.tell)(Event::LeaderChanged(leader));
        }
    }

    fn notice(&mut self, notice: Notice) {
        if self.limiter.allows(&notice, boottime_ns()) {
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
