//! The event loop's side of the election: its thread, and what that told last.
use std::{collections::BTreeMap, net::IpAddr};

use super::advert::{self, AdvertThread, Command};
use crate::{
    election::{Health, Leader, Role, Status, WhyBackup},
    units::Priority,
};

/// The event that makes a node's known role what it is.
fn missed(status: &Status, is_master: bool) -> Option<advert::Event> {
    let leader = status.leader;
    match status.role {
        Role::Master(why) if !is_master => Some(advert::Event::BecameMaster { why }),
        Role::Backup(why) if is_master => Some(advert::Event::BecameBackup { why, leader }),
        Role::Faulty(fault) if is_master => Some(advert::Event::BecameBackup {
            why: WhyBackup::Fault(fault),
            leader,
        }),
        Role::Stopped | Role::Master(_) | Role::Backup(_) | Role::Faulty(_) => None,
    }
}

/// The election as its thread last told it.
#[derive(Debug)]
pub(in crate::daemon) struct ElectionView {
    /// `None` until the daemon has joined.
    thread: Option<AdvertThread>,
    master: bool,
    leader: Option<Leader>,
    /// The last one of which this node heard.
    former: Option<Leader>,
    reason: String,
    since_ns: u64,
    times_master: u64,
    health: Option<Health>,
    leased: Vec<IpAddr>,
    isolated: bool,
    rejoined_ns: Option<u64>,
    /// The thread's role was another than this one when it was looked last.
    differs: bool,
}

impl ElectionView {
    /// A node that has just started: nobody's master.
    pub(in crate::daemon) fn starting(now_ns: u64) -> Self {
        Self {
            thread: None,
            master: false,
            leader: None,
            former: None,
            reason: "starting".to_owned(),
            since_ns: now_ns,
            times_master: 0,
            health: None,
            leased: Vec::new(),
            isolated: false,
            rejoined_ns: None,
            differs: false,
        }
    }

    pub(in crate::daemon) fn joined(&mut self, thread: AdvertThread) {
        self.thread = Some(thread);
    }

    pub(in crate::daemon) fn tell(&self, command: Command) {
        if let Some(thread) = &self.thread {
            thread.send(command);
        }
    }

    /// Tells it, and returns what an operator should know when it is news.
    pub(in crate::daemon) fn tell_health(&mut self, health: Health) -> Option<&'static str> {
        self.tell(Command::Health(health));
        let had_backends = self.health.replace(health).map(|health| health.backends);
        match (had_backends, health.backends) {
            (Some(true), false) => Some("no backend is healthy"),
            (Some(false), true) => Some("a backend is healthy again"),
            _ => None,
        }
    }

    /// Where adverts of masters come from that hold leases.
    pub(in crate::daemon) fn tell_leased(&mut self, mut leased: Vec<IpAddr>) {
        leased.sort_unstable();
        if self.leased != leased {
            self.leased.clone_from(&leased);
            self.tell(Command::Leased(leased));
        }
    }

    /// The event of a change of the role that did not come, when this finds for the second time in a row
    /// that the thread has another one.
    pub(in crate::daemon) fn missed(&mut self) -> Option<advert::Event> {
        let view = self.thread.as_ref().and_then(AdvertThread::view)?;
        let event = missed(&view.status, self.master);
        let differed = std::mem::replace(&mut self.differs, event.is_some());
        event.filter(|_| differed)
    }

    /// What is advertised, or would be: the configured priority, or 1 without a healthy backend.
    pub(in crate::daemon) fn effective_priority(&self) -> Option<Priority> {
        let view = self.thread.as_ref().and_then(AdvertThread::view)?;
        Some(view.status.priority)
    }

    /// Hands mastership over and waits until the addresses are gone.
    pub(in crate::daemon) fn stop(self) {
        if let Some(thread) = self.thread {
            thread.stop();
        }
    }

    /// Leaves everything to the daemon that follows on this box.
    pub(in crate::daemon) fn hand_over(self) {
        if let Some(thread) = self.thread {
            thread.hand_over();
        }
    }

    pub(in crate::daemon) fn become_master(&mut self, reason: String, now_ns: u64) {
        self.master = true;
        self.leader = None;
        self.reason = reason;
        self.since_ns = now_ns;
        self.times_master += 1;
    }

    pub(in crate::daemon) fn become_backup(
        &mut self,
        leader: Option<Leader>,
        reason: String,
        now_ns: u64,
    ) {
        self.master = false;
        self.former = leader.or(self.former);
        self.leader = leader;
        self.reason = reason;
        self.since_ns = now_ns;
    }

    pub(in crate::daemon) fn led_by(&mut self, leader: Option<Leader>) {
        self.former = leader.or(self.former);
        self.leader = leader;
    }

    /// The election says that this box is cut off, or that it was and is back.
    pub(in crate::daemon) fn isolate(&mut self, isolated: bool, now_ns: u64) {
        self.isolated = isolated;
        if !isolated {
            self.rejoined_ns = Some(now_ns);
        }
    }

    /// Whether this box hears neither a node nor a gateway. What it concludes of others meanwhile is
    /// about itself.
    pub(in crate::daemon) fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// What an operator has to see to.
    pub(in crate::daemon) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.isolated {
            warnings.push("this box is cut off: it hears neither a node nor a gateway".to_owned());
        }
        let status = self.thread.as_ref().and_then(AdvertThread::view);
        let status = status.map(|view| view.status);
        if let Some((silent, leader)) =
            status.and_then(|status| status.silent_family.zip(status.leader))
        {
            warnings.push(format!(
                "the master {} sends no {silent} adverts, nor does another box: nothing serves the {silent} \
                 virtual addresses",
                leader.address
            ));
        }
        warnings
    }

    /// When this box found last that it had been cut off or paused: conclusions about others from
    /// before are void.
    pub(in crate::daemon) fn rejoined_ns(&self) -> Option<u64> {
        self.rejoined_ns
    }

    /// The last master of which this node heard.
    pub(in crate::daemon) fn former(&self) -> Option<Leader> {
        self.former
    }

    pub(in crate::daemon) fn is_master(&self) -> bool {
        self.master
    }

    /// Whether an address is the master's, while that is another box.
    pub(in crate::daemon) fn is_leader(&self, address: IpAddr) -> bool {
        self.leader.is_some_and(|leader| {
            leader.address == address || leader.other_address == Some(address)
        })
    }

    pub(in crate::daemon) fn leader_address(&self) -> Option<IpAddr> {
        self.leader.map(|leader| leader.address)
    }

    pub(in crate::daemon) fn reason(&self) -> &str {
        &self.reason
    }

    pub(in crate::daemon) fn since_ns(&self) -> u64 {
        self.since_ns
    }

    pub(in crate::daemon) fn times_master(&self) -> u64 {
        self.times_master
    }

    /// The election's and the wire's counters, by their names.
    pub(in crate::daemon) fn counters(&self) -> BTreeMap<String, u64> {
        let Some(view) = self.thread.as_ref().and_then(AdvertThread::view) else {
            return BTreeMap::new();
        };
        let election = view.election.iter();
        election
            .chain(view.wire.iter())
            .map(|(name, value, _)| (name.to_owned(), value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_whose_event_was_lost_is_taken_from_the_thread() {
        use crate::election::{Fault, Takeover};
        let status = |role| Status {
            role,
            since_ns: 0,
            priority: Priority(100),
            leader: None,
            lease_until_ns: None,
            silent_family: None,
        };
        let master = status(Role::Master(Takeover::MasterDown));
        let backup = status(Role::Backup(WhyBackup::Yielded));
        let faulty = status(Role::Faulty(Fault::LinkDown));
        assert!(matches!(
            missed(&master, false),
            Some(advert::Event::BecameMaster { .. })
        ));
        for status in [backup, faulty] {
            assert!(matches!(
                missed(&status, true),
                Some(advert::Event::BecameBackup { .. })
            ));
            assert!(missed(&status, false).is_none());
        }
        assert!(missed(&master, true).is_none());
    }
}
