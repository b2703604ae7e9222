//! Taking over, serving, and giving it up.
use std::cmp::Ordering;
use std::net::IpAddr;

use super::ties::Ties;
use super::{Leader, Machine, State};
use crate::election::announce::{Cause, Schedule};
use crate::election::timing::{SUCCESSOR, lease_ns, master_down_ns};
use crate::election::{Heard, Notice, Output, Takeover, WhyBackup};
use crate::units::Priority;
use crate::vrrp::Interval;

/// Answers to losing adverts between two of our own. Two boxes that both think they win must not
/// answer each other for ever.
pub(super) const ANSWERS_PER_INTERVAL: u8 = 4;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Master {
    pub(super) why: Takeover,
    pub(super) advert_ns: u64,
    /// Between adverts; shorter than the configured interval just after that was made longer.
    pub(super) pace: Interval,
    pub(super) old_pace_left: u8,
    pub(super) lease_until_ns: u64,
    /// The lease before the last advert, in case that could not be sent.
    pub(super) lease_before_ns: u64,
    pub(super) answers_left: u8,
    pub(super) announcements: Schedule,
}

impl Machine {
    /// Gives mastership up, if we have it: stop serving, then say so.
    pub(super) fn give_up(&mut self, why: WhyBackup, out: &mut Vec<Output>) {
        if self.is_master() {
            self.hand_over(why, out);
        }
    }

    pub(super) fn hand_over(&mut self, why: WhyBackup, out: &mut Vec<Output>) {
        out.extend([Output::ReleaseLease, Output::BecomeBackup { why }]);
        self.send(Priority::STOPPING, out);
    }

    /// A backup waits by the interval of the master's last advert (RFC 9568, 6.1), so a long one
    /// keeps it where it is for as long as the lease that the same interval earns. Said twice: a
    /// backup that heard neither would take over from a box that serves.
    pub(super) fn leave_to_successor(&mut self, out: &mut Vec<Output>) {
        if !self.is_master() {
            return;
        }
        let (interval, priority) = (self.config.interval.max(SUCCESSOR), self.priority());
        for _ in 0..2 {
            self.counters.adverts_sent += 1;
            out.push(Output::SendAdvert { priority, interval });
        }
        let until_ns = self.now_ns + lease_ns(interval);
        out.push(Output::HoldLease { until_ns });
    }

    pub(super) fn send(&mut self, priority: Priority, out: &mut Vec<Output>) {
        self.counters.adverts_sent += 1;
        out.push(Output::SendAdvert {
            priority,
            interval: self.config.interval,
        });
    }

    /// Sends an advert and holds the lease that it earns.
    pub(super) fn advertise(&mut self, out: &mut Vec<Output>) {
        if self.is_master() {
            self.send(self.priority(), out);
            self.hold_lease(out);
        }
    }

    pub(super) fn hold_lease(&mut self, out: &mut Vec<Output>) {
        let (now_ns, interval) = (self.now_ns, self.config.interval);
        let State::Master(master) = &mut self.state else {
            return;
        };
        master.lease_before_ns = master.lease_until_ns;
        master.lease_until_ns = now_ns + lease_ns(interval);
        let until_ns = master.lease_until_ns;
        out.push(Output::HoldLease { until_ns });
    }

    pub(super) fn take_over(&mut self, why: Takeover, out: &mut Vec<Output>) {
        let now_ns = self.now_ns;
        let is_silent = matches!(
            why,
            Takeover::MasterDown | Takeover::MasterGone | Takeover::LeaseEnded
        );
        self.contact
            .replace(self.leader.take().filter(|_| is_silent));
        self.ties = Ties::default();
        self.spoken.serves();
        self.counters.takeovers += 1;
        let mut announcements = Schedule::default();
        announcements.request(Cause::Advert, now_ns, &self.config.announce);
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

    pub(super) fn announce(&mut self, out: &mut Vec<Output>) {
        let is_mute = self.is_mute();
        if let State::Master(master) = &mut self.state
            && master
                .announcements
                .take(self.now_ns, &self.config.announce)
            && !is_mute
        {
            self.counters.announcements += 1;
            out.push(Output::Announce);
        }
    }

    pub(super) fn request_announcement(&mut self, cause: Cause) {
        if let State::Master(master) = &mut self.state {
            master
                .announcements
                .request(cause, self.now_ns, &self.config.announce);
        }
    }

    /// A master that could not speak for three intervals may have a successor: it finds itself
    /// deposed without a contest, and comes back, if it should, as any backup does.
    pub(super) fn lose_lease(&mut self, out: &mut Vec<Output>) {
        if let State::Master(master) = &self.state
            && self.now_ns >= master.lease_until_ns
        {
            self.depose(self.one_round_ns(), out);
        }
    }

    pub(super) fn depose(&mut self, wait_ns: u64, out: &mut Vec<Output>) {
        let why = WhyBackup::LeaseLost;
        self.counters.leases_lost += 1;
        out.extend([Output::ReleaseLease, Output::BecomeBackup { why }]);
        self.enter_backup(why, wait_ns);
        self.returned(out);
    }

    pub(super) fn advert_failed(&mut self, out: &mut Vec<Output>) {
        self.counters.adverts_failed += 1;
        // No node heard us, so none waits longer: the lease of the advert before still stands.
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

    pub(super) fn master_hears(&mut self, heard: &Heard, out: &mut Vec<Output>) {
        if heard.priority == Priority::STOPPING {
            // Another node served and stopped: say that we do (RFC 9568, 6.4.3).
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
        if won && self.was_away(heard.from) {
            self.rejoin(out);
            return;
        }
        self.contact.heard_rival(heard.from, self.now_ns);
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
        self.leave_other_family(heard);
        // Its answer is what the clients are told: see the caller.
        out.push(Output::AskAddresses);
    }

    /// We against the sender: greater when we stay. `None` when this family does not decide.
    pub(super) fn rank(&mut self, heard: &Heard) -> Option<Ordering> {
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

    pub(super) fn answer(&mut self, out: &mut Vec<Output>) {
        self.request_announcement(Cause::Advert);
        if let State::Master(master) = &mut self.state
            && master.answers_left > 0
        {
            master.answers_left -= 1;
            master.advert_ns = self.now_ns + master.pace.ns();
            self.advertise(out);
        }
    }

    pub(super) fn rival_claim(&mut self, address: IpAddr, out: &mut Vec<Output>) {
        if self.is_master() && self.looks_for_successor() {
            self.rejoin(out);
        } else if self.is_master() {
            self.counters.foreign_claims += 1;
            out.push(Output::Notice(Notice::ForeignClaim { address }));
            self.request_announcement(Cause::Claim);
        } else {
            self.claimed(address, out);
        }
    }
}
