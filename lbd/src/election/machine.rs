//! The machine: its state, and where each input goes.

mod away;
mod backup;
mod doubt;
mod families;
mod leader;
mod master;
mod ties;

pub use leader::Leader;

use serde::Serialize;

use self::away::Contact;
use self::backup::Backup;
use self::doubt::Doubt;
use self::families::Spoken;
use self::master::{ANSWERS_PER_INTERVAL, Master};
use self::ties::Ties;
use super::config::{Config, Family};
use super::counters::Counters;
use super::event::{Fault, Found, Health, Heard, Input, Notice, Output, Takeover, WhyBackup};
use super::timing::{late_ns, master_down_ns, probe_gap_ns};
use crate::config::{NoHealthyBackend, StartAs};
use crate::units::Priority;
use crate::vrrp::Interval;

/// Sent by a node that is master only until another node is: taken over from also where
/// preemption is off.
const RELIEVE_ME: Priority = Priority(1);

/// Adverts still sent at the old pace after the interval was made longer: a backup that lost the
/// first of them still waits by the old interval.
const OLD_PACE_ADVERTS: u8 = 3;

/// What the machine is, for `status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Not started, or stopped.
    Stopped,
    /// May not be master.
    Faulty(Fault),
    /// Waits.
    Backup(WhyBackup),
    /// Serves.
    Master(Takeover),
}

/// A view of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Status {
    /// What it is, and why.
    pub role: Role,
    /// Since when.
    pub since_ns: u64,
    /// What it advertises, or would: the configured priority, or 1 without a backend.
    pub priority: Priority,
    /// The master, when that is another node.
    pub leader: Option<Leader>,
    /// Until when the data plane may serve.
    pub lease_until_ns: Option<u64>,
    /// The family in which no master is heard, while the leader speaks in the other one.
    pub silent_family: Option<Family>,
    /// It hears neither a node nor a gateway.
    pub is_isolated: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Stopped,
    Faulty(Fault),
    Backup(Backup),
    Master(Master),
}

/// The election's state. See [the module](crate::election).
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
    health: Health,
    state: State,
    since_ns: u64,
    now_ns: u64,
    leader: Option<Leader>,
    ties: Ties,
    doubt: Doubt,
    contact: Contact,
    spoken: Spoken,
    /// It has been started without a fault since, so that a cure is no start any more.
    begun: bool,
    counters: Counters,
}

impl Machine {
    /// A stopped machine that knows nothing of its health: give it [`Input::Health`] before
    /// [`Input::Start`].
    #[must_use]
    pub fn new(config: Config, now_ns: u64) -> Self {
        Self {
            config,
            health: Health::UNKNOWN,
            state: State::Stopped,
            since_ns: now_ns,
            now_ns,
            leader: None,
            ties: Ties::default(),
            doubt: Doubt::default(),
            contact: Contact::default(),
            spoken: Spoken::default(),
            begun: false,
            counters: Counters::default(),
        }
    }

    /// When to hand in [`Input::Timer`], if nothing else comes before.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        match &self.state {
            State::Stopped | State::Faulty(_) => None,
            State::Backup(backup) => [backup.preemption.map(|p| p.due_ns()), self.doubt.next_ns()]
                .into_iter()
                .flatten()
                .chain(self.spoken.due_ns())
                .chain([backup.down_ns])
                .min(),
            State::Master(master) => {
                let announce_ns = master.announcements.due_ns().unwrap_or(u64::MAX);
                Some(master.advert_ns.min(announce_ns))
            }
        }
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether it is master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        matches!(self.state, State::Master(_))
    }

    /// What it is, for people.
    #[must_use]
    pub fn status(&self) -> Status {
        let (role, lease_until_ns) = match &self.state {
            State::Stopped => (Role::Stopped, None),
            State::Faulty(fault) => (Role::Faulty(*fault), None),
            State::Backup(backup) => (Role::Backup(backup.why), None),
            State::Master(master) => (Role::Master(master.why), Some(master.lease_until_ns)),
        };
        Status {
            role,
            since_ns: self.since_ns,
            priority: self.priority(),
            leader: self.leader,
            lease_until_ns,
            silent_family: self.spoken.silent(),
            is_isolated: self.contact.is_isolated(),
        }
    }

    /// Takes one input at `now_ns` and appends to `out` what to do, in order.
    ///
    /// A `now_ns` before an earlier one counts as that one.
    pub fn handle(&mut self, now_ns: u64, input: Input, out: &mut Vec<Output>) {
        self.now_ns = self.now_ns.max(now_ns);
        self.lose_lease(out);
        match input {
            Input::Start { found } => self.start(found, out),
            Input::Stop => {
                self.give_up(WhyBackup::Stopped, out);
                self.enter(State::Stopped);
            }
            Input::HandOver => {
                self.leave_to_successor(out);
                self.enter(State::Stopped);
            }
            Input::Timer => self.timer(out),
            Input::Advert(heard) => self.advert(&heard, out),
            Input::AdvertFailed => self.advert_failed(out),
            Input::RivalClaim { address } => {
                self.sign(address, out);
                self.rival_claim(address, out);
            }
            Input::Health(health) => self.health(health, out),
            Input::SyncDone => self.sync_done(out),
            Input::ConfigChanged(config) => self.reconfigure(config, out),
            Input::Alive { address } => {
                self.sign(address, out);
                self.alive(address);
            }
            Input::Unbelieved { from } => self.unbelieved(from, out),
        }
        self.announce(out);
    }

    /// The configured priority, or that of a node that asks to be relieved.
    fn priority(&self) -> Priority {
        if !self.health.backends
            && self.config.no_healthy_backend == NoHealthyBackend::LowerPriority
        {
            RELIEVE_ME
        } else {
            self.config.priority
        }
    }

    fn fault(&self) -> Option<Fault> {
        if !self.health.data_plane {
            Some(Fault::NoDataPlane)
        } else if !self.health.link {
            Some(Fault::LinkDown)
        } else {
            None
        }
    }

    /// The master's interval, or ours while there is none.
    fn interval(&self) -> Interval {
        self.leader
            .map_or(self.config.interval, |leader| leader.interval)
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.doubt = Doubt::default();
        self.since_ns = self.now_ns;
    }

    fn start(&mut self, found: Found, out: &mut Vec<Output>) {
        if self.state != State::Stopped {
            return;
        }
        self.leader = None;
        self.begun = false;
        if let Some(fault) = self.fault() {
            return self.fail(fault, found != Found::Nothing, out);
        }
        self.begin(found, out);
    }

    fn begin(&mut self, found: Found, out: &mut Vec<Output>) {
        self.begun = true;
        match found {
            // No other box can have taken over before a lease ends: go on as if never away.
            Found::LeaseHeld => return self.take_over(Takeover::Adopted, out),
            // Another node may serve already, or none. Priority 0 tells both what to do at once, and
            // either is heard within a round.
            Found::LeaseOver => {
                self.hand_over(WhyBackup::HandedOver, out);
                self.enter_backup(WhyBackup::HandedOver, self.one_round_ns());
            }
            Found::Nothing => {
                out.push(Output::BecomeBackup {
                    why: WhyBackup::Started,
                });
                out.push(Output::AskAddresses);
                let wait_ns = master_down_ns(self.priority(), self.config.interval);
                self.enter_backup(WhyBackup::Started, wait_ns);
            }
        }
        if self.config.start_as == StartAs::Master || self.config.priority == Priority::OWNER {
            let listen_ns = if self.config.enforces {
                self.one_round_ns()
            } else {
                // Long enough for an answer by another box that has the virtual addresses.
                probe_gap_ns(self.config.interval)
            };
            self.begin_preemption(listen_ns, out);
        }
    }

    fn timer(&mut self, out: &mut Vec<Output>) {
        self.leave_due_family(out);
        let now_ns = self.now_ns;
        let grace_ns = late_ns(self.interval());
        match &mut self.state {
            State::Stopped | State::Faulty(_) => {}
            State::Backup(backup) => {
                if now_ns >= backup.down_ns {
                    let late = now_ns - backup.down_ns;
                    if late > grace_ns && !backup.looked {
                        backup.looked = true;
                        backup.down_ns = now_ns + grace_ns;
                        self.counters.late_timers += 1;
                        out.push(Output::Notice(Notice::LateTimer { late_ns: late }));
                    } else {
                        let why = backup.takeover;
                        if self.asks_before_contested(out) {
                            return;
                        }
                        if self.doubt.deaf {
                            self.contact.lose(out);
                        }
                        self.take_over(why, out);
                    }
                } else if let Some(preemption) = backup.preemption
                    && now_ns >= preemption.due_ns()
                {
                    if self.waits_for_successor() {
                        return;
                    }
                    if preemption.sync_by_ns.is_some() {
                        self.counters.syncs_timed_out += 1;
                        out.push(Output::Notice(Notice::SyncTimedOut));
                    }
                    self.take_over(Takeover::Preempted, out);
                } else if self.doubt.next_ns().is_some_and(|next| now_ns >= next) {
                    self.doubt_timer(out);
                }
            }
            State::Master(master) => {
                if now_ns < master.advert_ns {
                    return;
                }
                if now_ns - master.advert_ns > late_ns(self.config.interval) {
                    self.counters.late_timers += 1;
                }
                master.answers_left = ANSWERS_PER_INTERVAL;
                master.old_pace_left = master.old_pace_left.saturating_sub(1);
                if master.old_pace_left == 0 {
                    master.pace = self.config.interval;
                }
                // Keep the beat; after a gap, begin a new one instead of catching up in a burst.
                master.advert_ns += master.pace.ns();
                if master.advert_ns <= now_ns {
                    master.advert_ns = now_ns + master.pace.ns();
                }
                if self.is_mute() {
                    self.hold_lease(out);
                } else {
                    self.advertise(out);
                }
                self.ask_witnesses(out);
            }
        }
    }

    fn advert(&mut self, heard: &Heard, out: &mut Vec<Output>) {
        self.counters.adverts_heard += 1;
        if self.config.families.like(heard.from) == Some(heard.from) {
            out.push(Output::Notice(Notice::OwnAddress { from: heard.from }));
            return;
        }
        self.sign(heard.from, out);
        if heard.priority == Priority::STOPPING {
            self.counters.stops_heard += 1;
        } else {
            self.note_family(heard.from);
        }
        match self.state {
            State::Stopped => {}
            State::Faulty(_) => {
                self.leader = (heard.priority != Priority::STOPPING)
                    .then(|| Leader::following(heard, self.leader, self.now_ns));
            }
            State::Backup(backup) if heard.priority == Priority::STOPPING => {
                self.backup_hears_stop(backup, heard, out);
            }
            State::Backup(backup) => self.backup_hears(backup, heard, out),
            State::Master(_) => self.master_hears(heard, out),
        }
    }

    fn notice_fault(&mut self, fault: Fault, out: &mut Vec<Output>) {
        self.counters.faults += 1;
        out.push(Output::Notice(Notice::Fault(fault)));
    }

    fn fail(&mut self, fault: Fault, may_serve: bool, out: &mut Vec<Output>) {
        let why = WhyBackup::Fault(fault);
        if may_serve {
            self.hand_over(why, out);
        } else {
            out.push(Output::BecomeBackup { why });
        }
        self.enter(State::Faulty(fault));
        self.notice_fault(fault, out);
    }

    fn health(&mut self, health: Health, out: &mut Vec<Output>) {
        let before = self.priority();
        self.health = health;
        self.settle(before, out);
    }

    /// After health or config changed: gives up or comes back; says a new priority at once.
    fn settle(&mut self, before: Priority, out: &mut Vec<Output>) {
        match (self.state, self.fault()) {
            (State::Stopped, _) => {}
            (State::Backup(mut backup), None) => {
                if self
                    .leader
                    .is_some_and(|leader| leader.priority >= self.priority())
                {
                    backup.preemption = None;
                    self.state = State::Backup(backup);
                }
            }
            (State::Faulty(old), Some(fault)) => {
                if old != fault {
                    self.fail(fault, false, out);
                }
            }
            (State::Backup(_) | State::Master(_), Some(fault)) => {
                self.fail(fault, self.is_master(), out);
            }
            (State::Faulty(_), None) => {
                out.push(Output::Notice(Notice::Cured));
                if !self.begun {
                    return self.begin(Found::Nothing, out);
                }
                self.returned(out);
                let why = WhyBackup::Started;
                out.push(Output::BecomeBackup { why });
                let wait_ns = master_down_ns(self.priority(), self.interval());
                self.enter_backup(why, wait_ns);
            }
            (State::Master(_), None) => {
                if before != self.priority() {
                    self.advertise(out);
                }
            }
        }
    }

    fn reconfigure(&mut self, config: Config, out: &mut Vec<Output>) {
        let (before, old) = (self.priority(), self.config);
        self.config = config;
        if let State::Master(master) = &mut self.state
            && old.interval != config.interval
        {
            master.old_pace_left = OLD_PACE_ADVERTS;
            master.pace = old.interval.min(config.interval);
            master.advert_ns = self.now_ns + master.pace.ns();
            self.advertise(out);
        }
        self.settle(before, out);
    }
}
