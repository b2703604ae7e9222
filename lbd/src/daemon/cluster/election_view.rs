//! The event loop's side of the election: its thread, and what that told last.
use std::{collections::BTreeMap, net::IpAddr};

use super::advert::{self, AdvertThread, Command};
use crate::{
    daemon::clock,
    election::{Health, Leader, Role, Status, WhyBackup},
    units::Priority,
    vrrp::PeerClock,
};

/// A clock that moved by less against ours is the same as before.
const CLOCK_NEWS_NS: u64 = 100_000_000;
/// Clocks that differ by more are worth a word. Hellos take no such time.
const SKEW_NS: u64 = 2_000_000_000;

/// What to say of a node's clock that differs from ours, which shows `unix_ns` at `now_ns`.
fn skewed(name: &str, clock: &PeerClock, unix_ns: u64, now_ns: u64) -> Option<String> {
    let theirs_ns = clock.at(now_ns);
    let differ_ns = theirs_ns.abs_diff(unix_ns);
    (differ_ns > SKEW_NS).then(|| {
        let which = if theirs_ns > unix_ns {
            "ahead of"
        } else {
            "behind"
        };
        let differ_s = differ_ns / 1_000_000_000;
        format!("{name}'s clock is {differ_s} s {which} this box's: set both by NTP")
    })
}

/// What the events told: whether this node is master, else who is, and whether it is cut off.
#[derive(Clone, Copy, Debug, Default)]
struct Announced {
    master: bool,
    leader: Option<Leader>,
    isolated: bool,
}

/// The event that makes what is known of the election what it is. The role comes first: its event brings
/// the leader along.
fn missed(status: &Status, told: Announced) -> Option<advert::Event> {
    let addresses = |leader: Option<Leader>| leader.map(|leader| leader.addresses());
    let leader = status.leader;
    match status.role {
        Role::Master(why) if !told.master => return Some(advert::Event::BecameMaster { why }),
        Role::Backup(why) if told.master => {
            return Some(advert::Event::BecameBackup { why, leader });
        }
        Role::Faulty(fault) if told.master => {
            return Some(advert::Event::BecameBackup {
                why: WhyBackup::Fault(fault),
                leader,
            });
        }
        Role::Backup(_) | Role::Faulty(_) if addresses(leader) != addresses(told.leader) => {
            return Some(advert::Event::LeaderChanged(leader));
        }
        Role::Stopped | Role::Master(_) | Role::Backup(_) | Role::Faulty(_) => {}
    }
    match (status.is_isolated, told.isolated) {
        (true, false) => Some(advert::Event::Isolated),
        (false, true) => Some(advert::Event::Rejoined),
        _ => None,
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
    /// What it was told of this box.
    health: Health,
    leased: Vec<IpAddr>,
    /// The nodes' wall clocks, by their names.
    clocks: Vec<(String, PeerClock)>,
    isolated: bool,
    rejoined_ns: Option<u64>,
    /// The thread knew otherwise when it was looked last.
    differs: bool,
}

impl ElectionView {
    /// A node that has just started and is not master.
    pub(in crate::daemon) fn starting(now_ns: u64) -> Self {
        Self {
            thread: None,
            master: false,
            leader: None,
            former: None,
            reason: "starting".to_owned(),
            since_ns: now_ns,
            times_master: 0,
            health: Health {
                data_plane: true,
                link: true,
                backends: true,
            },
            leased: Vec::new(),
            clocks: Vec::new(),
            isolated: false,
            rejoined_ns: None,
            differs: false,
        }
    }

    pub(in crate::daemon) fn joined(&mut self, thread: AdvertThread, health: Health) {
        self.thread = Some(thread);
        self.health = health;
    }

    pub(in crate::daemon) fn tell(&self, command: Command) {
        if let Some(thread) = &self.thread {
            thread.send(command);
        }
    }

    /// Tells it whether a backend can take sessions, and returns what an operator should know when that
    /// is news.
    pub(in crate::daemon) fn tell_backends(&mut self, backends: bool) -> Option<&'static str> {
        let had_backends = std::mem::replace(&mut self.health.backends, backends);
        self.tell(Command::Health(self.health));
        match (had_backends, backends) {
            (true, false) => Some("no backend is healthy"),
            (false, true) => Some("a backend is healthy again"),
            _ => None,
        }
    }

    /// Tells it whether the program is attached, and whether the interfaces can send and receive. Without
    /// either a box must not be master.
    pub(in crate::daemon) fn tell_interfaces(&mut self, data_plane: bool, link: bool) {
        (self.health.data_plane, self.health.link) = (data_plane, link);
        self.tell(Command::Health(self.health));
    }

    /// Where adverts of masters come from that hold leases.
    pub(in crate::daemon) fn tell_leased(&mut self, mut leased: Vec<IpAddr>) {
        leased.sort_unstable();
        if self.leased != leased {
            self.leased.clone_from(&leased);
            self.tell(Command::Leased(leased));
        }
    }

    /// Tells it what the nodes' wall clocks show, where that is news; returns what an operator should
    /// know then.
    pub(in crate::daemon) fn tell_clocks(
        &mut self,
        clocks: Vec<(String, PeerClock)>,
    ) -> Vec<String> {
        let known = |name: &String, clock: &PeerClock| {
            self.clocks.iter().any(|(known, before)| {
                known == name
                    && before.address == clock.address
                    && before.at(clock.at_boot_ns).abs_diff(clock.unix_ns) < CLOCK_NEWS_NS
            })
        };
        let is_same = self.clocks.len() == clocks.len()
            && clocks.iter().all(|(name, clock)| known(name, clock));
        if is_same {
            return Vec::new();
        }
        let (unix_ns, now_ns) = (clock::unix_ns(), clock::boottime_ns());
        let said = clocks
            .iter()
            .filter(|(name, clock)| !known(name, clock))
            .filter_map(|(name, clock)| skewed(name, clock, unix_ns, now_ns))
            .collect();
        let told = clocks.iter().map(|(_, clock)| *clock).collect();
        self.tell(Command::Clocks(told));
        self.clocks = clocks;
        said
    }

    /// The event of a change of role, leader or isolation that did not come, when this finds for the
    /// second time in a row that the thread knows otherwise.
    pub(in crate::daemon) fn missed(&mut self) -> Option<advert::Event> {
        let view = self.thread.as_ref().and_then(AdvertThread::view)?;
        let told = Announced {
            master: self.master,
            leader: self.leader,
            isolated: self.isolated,
        };
        let event = missed(&view.status, told);
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
    pub(in crate::daemon) fn warnings(&self, now_ns: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.isolated {
            warnings.push("this box is cut off: it hears no other node and no gateway".to_owned());
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
        let unix_ns = clock::unix_ns();
        warnings.extend(
            self.clocks
                .iter()
                .filter_map(|(name, clock)| skewed(name, clock, unix_ns, now_ns)),
        );
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
            is_isolated: false,
        };
        let told = |master| Announced {
            master,
            ..Announced::default()
        };
        let master = status(Role::Master(Takeover::MasterDown));
        let backup = status(Role::Backup(WhyBackup::Yielded));
        let faulty = status(Role::Faulty(Fault::LinkDown));
        assert!(matches!(
            missed(&master, told(false)),
            Some(advert::Event::BecameMaster { .. })
        ));
        for status in [backup, faulty] {
            assert!(matches!(
                missed(&status, told(true)),
                Some(advert::Event::BecameBackup { .. })
            ));
            assert!(missed(&status, told(false)).is_none());
        }
        assert!(missed(&master, told(true)).is_none());
    }

    #[test]
    fn a_leader_or_a_return_whose_event_was_lost_is_taken_from_the_thread() {
        use crate::vrrp::Interval;
        let leader = |last: u8| {
            Some(Leader {
                address: [192, 0, 2, last].into(),
                other_address: None,
                priority: Priority(100),
                interval: Interval::DEFAULT,
                heard_ns: 0,
                leased: true,
            })
        };
        let backup = |leader, is_isolated| Status {
            role: Role::Backup(WhyBackup::Yielded),
            since_ns: 0,
            priority: Priority(100),
            leader,
            lease_until_ns: None,
            silent_family: None,
            is_isolated,
        };
        let told = |leader, isolated| Announced {
            master: false,
            leader,
            isolated,
        };
        for (status, told, expected) in [
            (backup(leader(11), false), told(leader(11), false), "None"),
            (
                backup(leader(12), false),
                told(leader(11), false),
                "Some(LeaderChanged(Some(",
            ),
            (
                backup(None, false),
                told(leader(11), false),
                "Some(LeaderChanged(None))",
            ),
            (backup(None, true), told(None, false), "Some(Isolated)"),
            (backup(None, false), told(None, true), "Some(Rejoined)"),
        ] {
            let event = format!("{:?}", missed(&status, told));
            assert!(event.starts_with(expected), "{event}");
        }
    }

    #[test]
    fn a_clock_that_differs_is_named_and_one_that_does_not_is_not() {
        const SECOND: u64 = 1_000_000_000;
        let clock = |unix_s: u64| PeerClock {
            address: [192, 0, 2, 12].into(),
            unix_ns: unix_s * SECOND,
            at_boot_ns: 50 * SECOND,
        };
        // Ours shows 1000 s ten seconds after that word came.
        let said = |unix_s| skewed("mx2", &clock(unix_s), 1000 * SECOND, 60 * SECOND);
        assert_eq!(said(990), None);
        assert_eq!(said(991), None);
        assert!(said(959).unwrap().contains("mx2's clock is 31 s behind"));
        assert!(said(4590).unwrap().contains("3600 s ahead of"));
    }
}
