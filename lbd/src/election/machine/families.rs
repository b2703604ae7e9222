//! One election for two families, among boxes that hold one in each.
//!
//! keepalived and routers elect a master of the IPv4 addresses and, apart from it, one of the IPv6 addresses.
//! A node that yields to such a box in one family leaves the other family as well, where that box may be a
//! backup: it would wait for a master-down interval. So the node says priority 0 in the family in which no
//! other master speaks. And where no other box speaks in that family at all, nothing serves its addresses:
//! the operator is told.
use std::net::IpAddr;

use super::Machine;
use crate::election::config::Family;
use crate::election::timing::{both_families_ns, master_down_ns};
use crate::election::{Heard, Notice, Output};
use crate::vrrp::Interval;

/// What was heard of other masters in each family.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spoken {
    v4_ns: Option<u64>,
    v6_ns: Option<u64>,
    /// When to leave this family, which the winner has not spoken in.
    leaves: Option<(Family, u64)>,
    /// The master speaks, and nothing is heard in this family.
    silent: Option<Family>,
}

impl Spoken {
    fn last_ns(&self, family: Family) -> Option<u64> {
        match family {
            Family::Ipv4 => self.v4_ns,
            Family::Ipv6 => self.v6_ns,
        }
    }

    fn note(&mut self, family: Family, now_ns: u64) {
        *match family {
            Family::Ipv4 => &mut self.v4_ns,
            Family::Ipv6 => &mut self.v6_ns,
        } = Some(now_ns);
        self.leaves.take_if(|(leaves, _)| *leaves == family);
        self.silent.take_if(|silent| *silent == family);
    }

    /// When a family is left.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.leaves.map(|(_, due_ns)| due_ns)
    }

    /// The family that is left now.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<Family> {
        let due = self.leaves.take_if(|(_, due_ns)| now_ns >= *due_ns);
        due.map(|(family, _)| family)
    }

    /// The family in which nothing is heard while the master speaks in the other one.
    pub(super) fn silent(&self) -> Option<Family> {
        self.silent
    }

    /// This node serves both families.
    pub(super) fn serves(&mut self) {
        (self.leaves, self.silent) = (None, None);
    }
}

impl Machine {
    pub(super) fn note_family(&mut self, of: IpAddr) {
        self.spoken.note(Family::of(of), self.now_ns);
    }

    /// The other family than an advert's, where the cluster has addresses of both and no master was heard
    /// in it for as long as `since_ns` and a master-down interval allow.
    fn other_is_silent(&self, heard: &Heard, since_ns: u64) -> Option<Family> {
        let other = Family::of(heard.from).other();
        let slowest = heard
            .interval
            .max(self.config.interval)
            .max(Interval::DEFAULT);
        let down_ns = master_down_ns(self.priority(), slowest);
        let quiet_from_ns = self.spoken.last_ns(other).unwrap_or(0).max(since_ns);
        let is_silent = self.now_ns - quiet_from_ns >= down_ns;
        (self.config.families.has(other) && is_silent).then_some(other)
    }

    /// This node has yielded to an advert. The winner's other advert follows at once, if there is one.
    pub(super) fn leave_other_family(&mut self, heard: &Heard) {
        if let Some(other) = self.other_is_silent(heard, 0) {
            let due_ns = self.now_ns + both_families_ns(heard.interval);
            self.spoken.leaves = Some((other, due_ns));
        }
    }

    /// Says once that the master speaks in one family only.
    pub(super) fn miss_family(&mut self, heard: &Heard, out: &mut Vec<Output>) {
        let Some(silent) = self.other_is_silent(heard, self.since_ns) else {
            return;
        };
        if self.spoken.silent.replace(silent) != Some(silent) {
            out.push(Output::Notice(Notice::SilentFamily {
                from: heard.from,
                silent,
            }));
        }
    }

    /// Says priority 0 in a family whose time has come.
    pub(super) fn leave_due_family(&mut self, out: &mut Vec<Output>) {
        if let Some(family) = self.spoken.take_due(self.now_ns) {
            self.counters.adverts_sent += 1;
            let interval = self.config.interval;
            out.push(Output::LeaveFamily { family, interval });
        }
    }
}
