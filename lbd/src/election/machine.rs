//! The machine.
use std::cmp::Ordering;
use std::net::IpAddr;

use serde::Serialize;

use super::announce::Schedule;
use super::config::Config;
use super::counters::Counters;
use super::event::{Fault, Found, Health, Heard, Input, Notice, Output, Takeover, WhyBackup};
use super::timing::{handover_ns, late_ns, lease_ns, master_down_ns, skew_ns};
use crate::config::{NoHealthyBackend, StartAs};
use crate::units::Priority;
use crate::vrrp::Interval;

/// Sent by a node that is master only until anybody else will be: taken over from also where
/// preemption is off. The config leaves it to this use.
const RELIEVE_ME: Priority = Priority(1);

/// Answers to losing adverts between two of our own. Two boxes that both think they win must not
/// answer each other for ever.
const ANSWERS_PER_INTERVAL: u8 = 4;

/// Adverts still sent at the old pace after the interval was made longer: a backup that lost the
/// first of them still waits by the old interval.
const OLD_PACE_ADVERTS: u8 = 3;

/// Whom we take for the master.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Leader {
    /// Where its last advert came from.
    pub address: IpAddr,
    /// The other family's address, when heard.
    pub other_address: Option<IpAddr>,
    /// As last heard.
    pub priority: Priority,
    /// Adopted from it.
    pub interval: Interval,
    /// When it was last heard.
    pub heard_ns: u64,
}

impl Leader {
    fn is(&self, address: IpAddr) -> bool {
        self.address == address || self.other_address == Some(address)
    }

    /// Whether `address` may be of this leader: it is, or its family was not heard yet.
    fn may_be(&self, address: IpAddr) -> bool {
        self.is(address)
            || (self.other_address.is_none() && self.address.is_ipv4() != address.is_ipv4())
    }

    fn following(heard: &Heard, before: Option<Self>, now_ns: u64) -> Self {
        let other_address = before
            .filter(|leader| leader.priority == heard.priority)
            .and_then(|leader| {
                [Some(leader.address), leader.other_address]
                    .into_iter()
                    .flatten()
                    .find(|a| a.is_ipv4() != heard.from.is_ipv4())
            });
        Self {
            address: heard.from,
            other_address,
            priority: heard.priority,
            interval: heard.interval,
            heard_ns: now_ns,
        }
    }
}

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
    /// The master, when that is somebody else.
    pub leader: Option<Leader>,
    /// Until when the data plane may serve.
    pub lease_until_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Preemption {
    not_before_ns: u64,
    /// Until the flows are here: when to go on without them.
    sync_by_ns: Option<u64>,
}

impl Preemption {
    fn due_ns(&self) -> u64 {
        self.sync_by_ns.unwrap_or(self.not_before_ns)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Backup {
    why: WhyBackup,
    down_ns: u64,
    /// What it would mean if nobody is heard until then.
    takeover: Takeover,
    /// The timer was late once, and the sockets were looked at again.
    looked: bool,
    preemption: Option<Preemption>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Master {
    why: Takeover,
    advert_ns: u64,
    /// Between adverts; shorter than the configured interval just after that was made longer.
    pace: Interval,
    old_pace_left: u8,
    lease_until_ns: u64,
    /// The lease before the last advert, in case that could not be sent.
    lease_before_ns: u64,
    answers_left: u8,
    announcements: Schedule,
}

/// When equal priorities were heard, and in which family (see [the module](crate::election)).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Ties {
    primary_ns: Option<u64>,
    /// The first and the last of an unbroken row.
    secondary_ns: Option<(u64, u64)>,
}

impl Ties {
    /// Whether a tie just heard decides. One in the secondary family does after `wait_ns` without
    /// one in the primary.
    fn decides(&mut self, primary: bool, now_ns: u64, wait_ns: u64) -> bool {
        if primary {
            self.primary_ns = Some(now_ns);
            return true;
        }
        let from_ns = match self.secondary_ns {
            Some((from_ns, last_ns)) if now_ns - last_ns <= wait_ns => from_ns,
            _ => now_ns,
        };
        self.secondary_ns = Some((from_ns, now_ns));
        now_ns - from_ns >= wait_ns && self.primary_ns.is_none_or(|tie| now_ns - tie >= wait_ns)
    }
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
            begun: false,
            counters: Counters::default(),
        }
    }

    /// When to hand in [`Input::Timer`], if nothing else comes before.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        match &self.state {
            State::Stopped | State::Faulty(_) => None,
            State::Backup(backup) => Some(
                backup
                    .preemption
                    .map_or(backup.down_ns, |p| backup.down_ns.min(p.due_ns())),
            ),
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
        }
    }

    /// Takes one input at `now_ns` and appends to `out` what is to be done, in order.
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
            Input::Timer => self.timer(out),
            Input::Advert(heard) => self.advert(&heard, out),
            Input::AdvertFailed => self.advert_failed(out),
            Input::RivalClaim { address } => self.rival_claim(address, out),
            Input::Health(health) => self.health(health, out),
            Input::SyncDone => self.sync_done(out),
            Input::ConfigChanged(config) => self.reconfigure(config, out),
            Input::PeerGone {
                address,
                silent_from_ns,
            } => self.peer_gone(address, silent_from_ns),
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
        self.since_ns = self.now_ns;
    }

    fn enter_backup(&mut self, why: WhyBackup, wait_ns: u64) {
        self.enter(State::Backup(Backup {
            why,
            down_ns: self.now_ns + wait_ns,
            takeover: Takeover::MasterDown,
            looked: false,
            preemption: None,
        }));
    }

    /// Long enough to hear any master there is, now that its adverts would have come.
    fn one_round_ns(&self) -> u64 {
        let interval_ns = self.config.interval.ns();
        interval_ns + skew_ns(self.priority(), interval_ns)
    }

    fn start(&mut self, found: Found, out: &mut Vec<Output>) {
        if self.state != State::Stopped {
            return;
        }
        self.leader = None;
        self.begun = false;
        if let Some(fault) = self.fault() {
            if found != Found::Nothing {
                self.hand_over(WhyBackup::Fault(fault), out);
            }
            self.enter(State::Faulty(fault));
            self.notice_fault(fault, out);
            return;
        }
        self.begin(found, out);
    }

    fn begin(&mut self, found: Found, out: &mut Vec<Output>) {
        self.begun = true;
        match found {
            // Nobody can have taken over before a lease ends: go on as if never away.
            Found::LeaseHeld => return self.take_over(Takeover::Adopted, out),
            // Somebody may serve already, or nobody. Priority 0 tells both what to do at once, and
            // either is heard within a round.
            Found::LeaseOver => {
                self.hand_over(WhyBackup::HandedOver, out);
                self.enter_backup(WhyBackup::HandedOver, self.one_round_ns());
            }
            Found::Nothing => {
                out.push(Output::BecomeBackup {
                    why: WhyBackup::Started,
                });
                let wait_ns = master_down_ns(self.priority(), self.config.interval);
                self.enter_backup(WhyBackup::Started, wait_ns);
            }
        }
        if self.config.start_as == StartAs::Master || self.config.priority == Priority::OWNER {
            self.begin_preemption(out);
        }
    }

    /// Gives mastership up, if we have it: serve no more, then say so.
    fn give_up(&mut self, why: WhyBackup, out: &mut Vec<Output>) {
        if self.is_master() {
            self.hand_over(why, out);
        }
    }

    fn hand_over(&mut self, why: WhyBackup, out: &mut Vec<Output>) {
        out.extend([Output::ReleaseLease, Output::BecomeBackup { why }]);
        self.send(Priority::STOPPING, out);
    }

    fn send(&mut self, priority: Priority, out: &mut Vec<Output>) {
        self.counters.adverts_sent += 1;
        out.push(Output::SendAdvert {
            priority,
            interval: self.config.interval,
        });
    }

    /// Sends an advert and holds the lease that it earns.
    fn advertise(&mut self, out: &mut Vec<Output>) {
        let (now_ns, interval, priority) = (self.now_ns, self.config.interval, self.priority());
        let State::Master(master) = &mut self.state else {
            return;
        };
        master.lease_before_ns = master.lease_until_ns;
        master.lease_until_ns = now_ns + lease_ns(interval);
        let until_ns = master.lease_until_ns;
        self.send(priority, out);
        out.push(Output::HoldLease { until_ns });
    }

    fn take_over(&mut self, why: Takeover, out: &mut Vec<Output>) {
        let now_ns = self.now_ns;
        self.leader = None;
        self.ties = Ties::default();
        self.counters.takeovers += 1;
        let mut announcements = Schedule::default();
        announcements.request(now_ns, &self.config.announce);
        self.enter(State::Master(Master {
            why,
            advert_ns: now_ns + self.config.interval.ns(),
            pace: self.config.interval,
            old_pace_left: 0,
            lease_until_ns: now_ns,
            lease_before_ns: now_ns,
            answers_left: ANSWERS_PER_INTERVAL,
            announcements,
        }));
        // The advert first: it keeps the other backups where they are. Then the lease and the
        // role, then the addresses; the announcement comes last.
        self.advertise(out);
        out.push(Output::BecomeMaster { why });
    }

    fn announce(&mut self, out: &mut Vec<Output>) {
        if let State::Master(master) = &mut self.state
            && master
                .announcements
                .take(self.now_ns, &self.config.announce)
        {
            self.counters.announcements += 1;
            out.push(Output::Announce);
        }
    }

    fn request_announcement(&mut self) {
        if let State::Master(master) = &mut self.state {
            master
                .announcements
                .request(self.now_ns, &self.config.announce);
        }
    }

    /// A master that could not speak for three intervals may have a successor: it finds itself
    /// deposed without a fight, and comes back, if it is to, as any backup does.
    fn lose_lease(&mut self, out: &mut Vec<Output>) {
        if let State::Master(master) = &self.state
            && self.now_ns >= master.lease_until_ns
        {
            self.depose(self.one_round_ns(), out);
        }
    }

    fn depose(&mut self, wait_ns: u64, out: &mut Vec<Output>) {
        let why = WhyBackup::LeaseLost;
        self.counters.leases_lost += 1;
        out.extend([Output::ReleaseLease, Output::BecomeBackup { why }]);
        self.enter_backup(why, wait_ns);
    }

    fn timer(&mut self, out: &mut Vec<Output>) {
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
                        self.take_over(why, out);
                    }
                } else if let Some(preemption) = backup.preemption
                    && now_ns >= preemption.due_ns()
                {
                    if preemption.sync_by_ns.is_some() {
                        self.counters.syncs_timed_out += 1;
                        out.push(Output::Notice(Notice::SyncTimedOut));
                    }
                    self.take_over(Takeover::Preempted, out);
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
                self.advertise(out);
            }
        }
    }

    fn advert_failed(&mut self, out: &mut Vec<Output>) {
        self.counters.adverts_failed += 1;
        // Nobody heard us, so nobody waits longer: the lease of the advert before still stands.
        let State::Master(master) = &mut self.state else {
            return;
        };
        master.lease_until_ns = master.lease_before_ns;
        if master.lease_until_ns > self.now_ns {
            out.push(Output::HoldLease {
                until_ns: master.lease_until_ns,
            });
        } else {
            let wait_ns = master_down_ns(self.priority(), self.config.interval);
            self.depose(wait_ns, out);
        }
    }

    fn advert(&mut self, heard: &Heard, out: &mut Vec<Output>) {
        self.counters.adverts_heard += 1;
        if self.config.families.like(heard.from) == Some(heard.from) {
            out.push(Output::Notice(Notice::OwnAddress { from: heard.from }));
            return;
        }
        if heard.priority == Priority::STOPPING {
            self.counters.stops_heard += 1;
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

    fn backup_hears_stop(&mut self, mut backup: Backup, heard: &Heard, out: &mut Vec<Output>) {
        if self.leader.is_some_and(|leader| !leader.may_be(heard.from)) {
            out.push(Output::Notice(Notice::StrangerStopped { from: heard.from }));
            return;
        }
        let due_ns = self.now_ns + handover_ns(self.priority(), heard.interval);
        if due_ns < backup.down_ns {
            backup.down_ns = due_ns;
            backup.takeover = Takeover::MasterStopped;
        }
        backup.looked = false;
        self.state = State::Backup(backup);
        self.leader_stops();
    }

    /// Its address stays known until somebody else is heard: the other family's word is to come.
    fn leader_stops(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.priority = Priority::STOPPING;
        }
    }

    fn backup_hears(&mut self, mut backup: Backup, heard: &Heard, out: &mut Vec<Output>) {
        let preemptible = heard.priority < self.priority()
            && (self.config.preempt || heard.priority == RELIEVE_ME);
        if preemptible && self.better_leader_is_alive(heard) {
            return;
        }
        self.leader = Some(Leader::following(heard, self.leader, self.now_ns));
        backup.down_ns = self.now_ns + master_down_ns(self.priority(), heard.interval);
        backup.takeover = Takeover::MasterDown;
        backup.looked = false;
        if !preemptible {
            backup.preemption = None;
        }
        self.state = State::Backup(backup);
        if preemptible && backup.preemption.is_none() {
            self.begin_preemption(out);
        }
    }

    /// Whether `heard` is the loser of two masters, the better of which still speaks. Silence of
    /// one and a half intervals is enough to doubt it: waiting for its master-down interval would
    /// be longer than its own successor waits.
    fn better_leader_is_alive(&self, heard: &Heard) -> bool {
        self.leader.is_some_and(|leader| {
            !leader.is(heard.from)
                && leader.priority > heard.priority
                && self.now_ns - leader.heard_ns < leader.interval.ns() * 3 / 2
        })
    }

    fn begin_preemption(&mut self, out: &mut Vec<Output>) {
        let now_ns = self.now_ns;
        let State::Backup(backup) = &mut self.state else {
            return;
        };
        let not_before_ns = now_ns + self.config.preempt_delay_ns;
        let sync_by_ns = not_before_ns.max(now_ns + self.config.sync_timeout_ns);
        backup.preemption = Some(Preemption {
            not_before_ns,
            sync_by_ns: Some(sync_by_ns),
        });
        out.push(Output::WantSync);
    }

    fn sync_done(&mut self, out: &mut Vec<Output>) {
        if let State::Backup(Backup {
            preemption: Some(preemption),
            ..
        }) = &mut self.state
        {
            preemption.sync_by_ns = None;
            if self.now_ns >= preemption.not_before_ns {
                self.take_over(Takeover::Preempted, out);
            }
        }
    }

    fn master_hears(&mut self, heard: &Heard, out: &mut Vec<Output>) {
        if heard.priority == Priority::STOPPING {
            // Somebody served and does no more: say that we do (RFC 9568, 6.4.3).
            self.answer(out);
            return;
        }
        let won = match self.rank(heard) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Less) => false,
            Some(Ordering::Equal) | None => return,
        };
        self.counters.rivals += 1;
        out.push(Output::Notice(Notice::Rival {
            from: heard.from,
            priority: heard.priority,
            won,
        }));
        if won {
            self.answer(out);
            return;
        }
        // Once more, losing: the winner hears it, answers, and its announcement comes after ours.
        self.counters.yields += 1;
        self.send(self.priority(), out);
        out.extend([
            Output::ReleaseLease,
            Output::BecomeBackup {
                why: WhyBackup::Yielded,
            },
        ]);
        self.leader = Some(Leader::following(heard, None, self.now_ns));
        let wait_ns = master_down_ns(self.priority(), heard.interval);
        self.enter_backup(WhyBackup::Yielded, wait_ns);
    }

    /// We against the sender: greater when we stay. `None` when this family does not decide.
    fn rank(&mut self, heard: &Heard) -> Option<Ordering> {
        let by_priority = self.priority().cmp(&heard.priority);
        if by_priority != Ordering::Equal {
            return Some(by_priority);
        }
        let wait_ns = master_down_ns(self.priority(), heard.interval);
        let primary = self.config.families.is_primary(heard.from);
        if !self.ties.decides(primary, self.now_ns, wait_ns) {
            return None;
        }
        let ours = self.config.families.like(heard.from)?;
        Some(ours.cmp(&heard.from))
    }

    fn answer(&mut self, out: &mut Vec<Output>) {
        self.request_announcement();
        if let State::Master(master) = &mut self.state
            && master.answers_left > 0
        {
            master.answers_left -= 1;
            master.advert_ns = self.now_ns + master.pace.ns();
            self.advertise(out);
        }
    }

    fn rival_claim(&mut self, address: IpAddr, out: &mut Vec<Output>) {
        if self.is_master() {
            self.counters.foreign_claims += 1;
            out.push(Output::Notice(Notice::ForeignClaim { address }));
            self.request_announcement();
        }
    }

    fn notice_fault(&mut self, fault: Fault, out: &mut Vec<Output>) {
        self.counters.faults += 1;
        out.push(Output::Notice(Notice::Fault(fault)));
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
                    self.enter(State::Faulty(fault));
                    self.notice_fault(fault, out);
                }
            }
            (State::Backup(_) | State::Master(_), Some(fault)) => {
                self.give_up(WhyBackup::Fault(fault), out);
                self.enter(State::Faulty(fault));
                self.notice_fault(fault, out);
            }
            (State::Faulty(_), None) => {
                out.push(Output::Notice(Notice::Cured));
                if !self.begun {
                    return self.begin(Found::Nothing, out);
                }
                let wait_ns = master_down_ns(self.priority(), self.interval());
                self.enter_backup(WhyBackup::Started, wait_ns);
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

    fn peer_gone(&mut self, address: IpAddr, silent_from_ns: u64) {
        let priority = self.priority();
        if let State::Backup(backup) = &mut self.state
            && let Some(leader) = self.leader.filter(|leader| leader.is(address))
        {
            let due_ns = silent_from_ns.max(self.now_ns) + handover_ns(priority, leader.interval);
            if due_ns < backup.down_ns {
                backup.down_ns = due_ns;
                backup.takeover = Takeover::MasterGone;
                backup.looked = false;
            }
            self.leader_stops();
        }
    }
}
