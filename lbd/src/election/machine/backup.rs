//! What a backup does with what it hears.
use std::net::IpAddr;

use super::doubt::Doubt;
use super::{Leader, Machine, RELIEVE_ME, State};
use crate::election::timing::{SUCCESSOR, handover_ns, master_down_ns, probe_gap_ns, skew_ns};
use crate::election::{Heard, Notice, Output, Takeover, WhyBackup};
use crate::units::Priority;
use crate::vrrp::Interval;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Backup {
    pub(super) why: WhyBackup,
    pub(super) down_ns: u64,
    /// What it would mean if no node is heard until then.
    pub(super) takeover: Takeover,
    /// The timer was late once, and the sockets were looked at again.
    pub(super) looked: bool,
    pub(super) preemption: Option<Preemption>,
    /// Adverts that no key verifies keep it from taking over, since then.
    pub(super) contested_ns: Option<u64>,
    /// Whether it waited for the adverts of a box that answered for a virtual address.
    pub(super) has_waited: bool,
    /// Who has the virtual addresses is being asked, before a contested takeover.
    pub(super) asks: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Preemption {
    pub(super) not_before_ns: u64,
    /// Until the flows are here: when to go on without them.
    pub(super) sync_by_ns: Option<u64>,
}

impl Preemption {
    pub(super) fn due_ns(&self) -> u64 {
        self.sync_by_ns.unwrap_or(self.not_before_ns)
    }
}

impl Machine {
    pub(super) fn enter_backup(&mut self, why: WhyBackup, wait_ns: u64) {
        self.enter(State::Backup(Backup {
            why,
            down_ns: self.now_ns + wait_ns,
            takeover: Takeover::MasterDown,
            looked: false,
            preemption: None,
            contested_ns: None,
            has_waited: false,
            asks: false,
        }));
    }

    /// Long enough to hear any master there is, now that its adverts would have come.
    pub(super) fn one_round_ns(&self) -> u64 {
        let interval_ns = self.config.interval.ns();
        interval_ns + skew_ns(self.priority(), interval_ns)
    }

    pub(super) fn backup_hears_stop(
        &mut self,
        mut backup: Backup,
        heard: &Heard,
        out: &mut Vec<Output>,
    ) {
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
        self.doubt = Doubt::default();
        self.leader_stops();
    }

    /// Its address stays known until another master is heard: the other family's advert will follow.
    pub(super) fn leader_stops(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.priority = Priority::STOPPING;
        }
    }

    pub(super) fn backup_hears(
        &mut self,
        mut backup: Backup,
        heard: &Heard,
        out: &mut Vec<Output>,
    ) {
        let preemptible = heard.priority < self.priority()
            && (self.config.preempt || heard.priority == RELIEVE_ME);
        if preemptible && self.better_leader_is_alive(heard) {
            return;
        }
        let is_same_master = self
            .leader
            .is_some_and(|leader| leader.priority == heard.priority && leader.may_be(heard.from));
        self.leader = Some(Leader::following(heard, self.leader, self.now_ns));
        backup.down_ns = self.now_ns + master_down_ns(self.priority(), heard.interval);
        backup.takeover = Takeover::MasterDown;
        backup.looked = false;
        if !preemptible || backup.has_waited {
            backup.preemption = None;
        }
        (backup.has_waited, backup.contested_ns, backup.asks) = (false, None, false);
        self.state = State::Backup(backup);
        self.trust(is_same_master, out);
        self.miss_family(heard, out);
        if preemptible && backup.preemption.is_none() {
            self.begin_preemption(0, out);
        }
    }

    /// Whether `heard` is the loser of two masters, the better of which still speaks. Silence of
    /// one and a half intervals is enough to doubt it: waiting for its master-down interval would
    /// be longer than its own successor waits.
    pub(super) fn better_leader_is_alive(&self, heard: &Heard) -> bool {
        self.leader.is_some_and(|leader| {
            !leader.is(heard.from)
                && leader.priority > heard.priority
                && self.now_ns - leader.heard_ns < leader.interval.ns() * 3 / 2
        })
    }

    /// `listen_ns`: to wait at least that long, besides what is configured.
    pub(super) fn begin_preemption(&mut self, listen_ns: u64, out: &mut Vec<Output>) {
        let now_ns = self.now_ns;
        let State::Backup(backup) = &mut self.state else {
            return;
        };
        let not_before_ns = now_ns + self.config.preempt_delay_ns.max(listen_ns);
        let sync_by_ns = not_before_ns.max(now_ns + self.config.sync_timeout_ns);
        backup.preemption = Some(Preemption {
            not_before_ns,
            sync_by_ns: Some(sync_by_ns),
        });
        out.push(Output::WantSync);
    }

    /// Whether the master has left its box to a successor that is not there yet; puts a preemption off
    /// then. That box serves until its lease ends without sharing the sessions it takes: whoever
    /// takes over from it now would not know those. A cluster whose own interval is as long cannot tell.
    pub(super) fn waits_for_successor(&mut self) -> bool {
        let own = self.config.interval;
        let is_away = self
            .leader
            .is_some_and(|leader| leader.interval >= SUCCESSOR && own < SUCCESSOR);
        if let State::Backup(Backup {
            preemption: Some(preemption),
            ..
        }) = &mut self.state
            && is_away
        {
            preemption.not_before_ns = self.now_ns + own.ns();
            preemption.sync_by_ns = None;
        }
        is_away
    }

    pub(super) fn sync_done(&mut self, out: &mut Vec<Output>) {
        if let State::Backup(Backup {
            preemption: Some(preemption),
            ..
        }) = &mut self.state
        {
            preemption.sync_by_ns = None;
            if self.now_ns >= preemption.not_before_ns && !self.waits_for_successor() {
                self.take_over(Takeover::Preempted, out);
            }
        }
    }

    /// A node serves, or claims to, that no key here verifies, and none was verified since the
    /// start. Of the two that do not believe each other one has the wrong key, and it is rather the
    /// one that just came: becoming master now would make two. So a node that has proved nothing
    /// waits for one master-down interval more, and asks then who has the virtual addresses. An
    /// answer by another box means that the adverts tell the truth: it waits on. Without one they are
    /// junk, and it serves. So junk delays a start by one interval; who forges the answer too has
    /// the virtual addresses by that already. A node that has verified one advert knows its key to be
    /// right, and never hears of this input again.
    pub(super) fn unbelieved(&mut self, from: IpAddr, out: &mut Vec<Output>) {
        let wait_ns = master_down_ns(self.priority(), self.config.interval);
        let State::Backup(backup) = &mut self.state else {
            return;
        };
        self.counters.contested += 1;
        backup.preemption = None;
        backup.takeover = Takeover::MasterDown;
        let since_ns = *backup.contested_ns.get_or_insert(self.now_ns);
        if !backup.asks {
            backup.down_ns = backup.down_ns.max(since_ns + wait_ns);
        }
        out.push(Output::Notice(Notice::Contested { from }));
        if backup.why != WhyBackup::Contested {
            backup.why = WhyBackup::Contested;
            out.push(Output::BecomeBackup {
                why: WhyBackup::Contested,
            });
        }
    }

    /// Whether a contested takeover is put off, to ask who has the virtual addresses.
    pub(super) fn asks_before_contested(&mut self, out: &mut Vec<Output>) -> bool {
        let gap_ns = probe_gap_ns(self.config.interval);
        let State::Backup(backup) = &mut self.state else {
            return false;
        };
        if backup.contested_ns.is_none() || backup.asks {
            return false;
        }
        backup.asks = true;
        backup.down_ns = self.now_ns + gap_ns;
        out.push(Output::AskAddresses);
        true
    }

    /// Another box answered for a virtual address, and no master was heard yet: its adverts may be
    /// seconds apart, where our own are not. Once; a box that answers and never speaks is no master.
    pub(super) fn claimed(&mut self, address: IpAddr, out: &mut Vec<Output>) {
        let slower = self.config.interval.max(Interval::DEFAULT);
        let wait_ns = master_down_ns(self.priority(), slower);
        let (now_ns, has_leader) = (self.now_ns, self.leader.is_some());
        let State::Backup(backup) = &mut self.state else {
            return;
        };
        if backup.contested_ns.is_some() {
            if std::mem::take(&mut backup.asks) {
                (backup.contested_ns, backup.down_ns) = (Some(now_ns), now_ns + wait_ns);
            }
            return;
        }
        if has_leader || backup.has_waited || backup.why != WhyBackup::Started {
            return;
        }
        backup.has_waited = true;
        backup.down_ns = backup.down_ns.max(now_ns + wait_ns);
        if let Some(preemption) = &mut backup.preemption {
            preemption.not_before_ns = now_ns + wait_ns;
            preemption.sync_by_ns = None;
        }
        out.push(Output::Notice(Notice::Answered { address }));
    }
}
