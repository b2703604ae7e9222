//! Doubting a silent master, and asking its box.
//!
//! Three intervals of silence are VRRP's only sign that a master is gone, since it cannot ask. A
//! backup here does ask. Once one advert is overdue it sends [`PROBES`] questions (ARP or neighbour
//! solicitations) for the master's own address and, with each, one for every *witness*: the
//! gateway and the other nodes. What comes back tells three cases apart:
//!
//! - **A witness answers, the master's box does not.** The box is off, or cut off from where the
//!   clients are: the backup takes over at once.
//! - **The master's box answers.** Its kernel lives, so its data plane may serve for as long as its
//!   lease lasts, also when its daemon was lost (killed, stopped, starved). The backup waits for the
//!   end of that lease where the master is known to hold one ([`Heard::leased`]), and for the whole
//!   master-down interval where it is not (keepalived).
//! - **No box answers.** It may be this box that is cut off: it waits for the master-down interval. If
//!   a witness has answered before, it waits two intervals more: a busy box can be deaf for a while
//!   (the kernel's receive work waits for a CPU behind ordinary processes) though this thread is not,
//!   and would take its own deafness for the master's death.
//!
//! # Why this makes no second master
//! Two boxes that answer for the VIP are one too many only where a client can reach both. What would
//! answer for the VIP on the old master is what answers for its own address: the same kernel, on the
//! same interface, asked by the same kind of frame (the data plane lets ARP and ND for the VIP *up*,
//! it answers none itself). A box that answers no question for its own address answers none for the
//! VIP; when it is heard again, it finds the new master's adverts, and the better of the two stays,
//! as after any partition. A box that does answer keeps its lease's time. So:
//!
//! - *daemon dead, box alive*: it answers the probes; no backup takes over before its lease has ended;
//! - *box dead*: it serves nothing; there is nothing to wait for;
//! - *segment split*: both sides have a master, as VRRP always does, only sooner; the side without a
//!   witness waits as VRRP does. Split or not, the new master needs the answer of a third party in
//!   the same moment, so a box whose own link is broken takes nothing over early;
//! - *loss*: a living master is taken for dead when one advert and all [`PROBES`] exchanges are lost.
//!   At a loss of p that is p (1 - (1 - p)²)⁸ against VRRP's own p³, and less than that for p up to
//!   0.7; with adverts in both families p² (1 - (1 - p)²)⁸ against p⁶, and less for p up to 0.37;
//! - *a forged answer* makes a backup wait no longer than VRRP does; to forge silence, an attacker
//!   has to be able to silence the box.
//!
//! A box that was never seen to answer (a filter, ARP off) is not doubted: [`Doubt::is_known`].
use std::net::IpAddr;

use super::{Leader, Machine, State};
use crate::election::timing::{
    PROBES, handover_ns, late_ns, lease_ns, master_down_ns, overdue_ns, probe_gap_ns,
};
use crate::election::{Notice, Output, Takeover};
use crate::units::Priority;

/// While its adverts come, a master is asked that often, to know that it does answer.
const ASK_AGAIN_NS: u64 = 10_000_000_000;
/// The same while it has never answered.
const ASK_FIRST_NS: u64 = 1_000_000_000;
/// An answer older than that says nothing: some questions since were in vain.
const KNOWN_NS: u64 = 3 * ASK_AGAIN_NS;
/// To wait that much longer where none answers that did before.
const DEAF_INTERVALS: u64 = 2;

/// What is known of the master's box besides its adverts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Doubt {
    asked_ns: Option<u64>,
    answered_ns: Option<u64>,
    /// When to ask, or to conclude; `None` when there is no doubt.
    next_ns: Option<u64>,
    /// Questions since the adverts are overdue.
    sent: u8,
    witnessed: bool,
    /// When a witness answered last, doubt or not.
    witness_ns: Option<u64>,
    /// None answered that did before, and none has since.
    pub(super) deaf: bool,
}

impl Doubt {
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// Whether the box has shown that it answers at all.
    fn is_known(&self, now_ns: u64) -> bool {
        self.answered_ns.is_some_and(|at| now_ns - at < KNOWN_NS)
    }

    fn ask(&mut self, leader: &Leader, now_ns: u64, out: &mut Vec<Output>) {
        self.asked_ns = Some(now_ns);
        out.push(Output::Probe {
            master: leader.question(),
        });
    }
}

impl Machine {
    /// An advert of the master came: no doubt until the next one is overdue.
    pub(super) fn trust(&mut self, is_same_master: bool, out: &mut Vec<Output>) {
        let Some(leader) = self.leader else { return };
        let doubt = &mut self.doubt;
        if !is_same_master {
            doubt.answered_ns = None;
        }
        (doubt.sent, doubt.witnessed) = (0, false);
        doubt.next_ns = doubt
            .is_known(self.now_ns)
            .then(|| self.now_ns + overdue_ns(leader.interval));
        let pause_ns = match doubt.answered_ns {
            Some(_) => ASK_AGAIN_NS,
            None => ASK_FIRST_NS,
        };
        if doubt.asked_ns.is_none_or(|at| self.now_ns - at >= pause_ns) {
            doubt.ask(&leader, self.now_ns, out);
            self.counters.probes += 1;
        }
    }

    /// Time to ask again, or to draw the conclusion.
    pub(super) fn doubt_timer(&mut self, out: &mut Vec<Output>) {
        let (now_ns, priority) = (self.now_ns, self.priority());
        let Some(leader) = self.leader else { return };
        let doubt = &mut self.doubt;
        let due_ns = doubt.next_ns.unwrap_or(now_ns);
        if doubt.sent > 0 && now_ns - due_ns > late_ns(leader.interval) {
            // Away in between: what was answered then says nothing of now.
            (doubt.sent, doubt.witnessed) = (0, false);
        }
        if doubt.sent < PROBES {
            doubt.sent += 1;
            let mut wait_ns = probe_gap_ns(leader.interval);
            if doubt.sent == PROBES {
                wait_ns += handover_ns(priority, leader.interval);
            }
            doubt.next_ns = Some(now_ns + wait_ns);
            doubt.ask(&leader, now_ns, out);
            self.counters.probes += 1;
        } else {
            doubt.next_ns = None;
            let has_witness = doubt.witness_ns.is_some_and(|at| now_ns - at < KNOWN_NS);
            if doubt.witnessed {
                self.take_over(Takeover::MasterGone, out);
            } else if has_witness && let State::Backup(backup) = &mut self.state {
                backup.down_ns += DEAF_INTERVALS * leader.interval.ns();
                // Once: whoever stays deaf has to become master at some time.
                doubt.witness_ns = None;
                self.counters.deaf += 1;
                out.push(Output::Notice(Notice::Deaf));
                self.doubt.deaf = true;
            }
        }
    }

    /// A box answered for an address of its own.
    pub(super) fn alive(&mut self, address: IpAddr) {
        let State::Backup(mut backup) = self.state else {
            return;
        };
        let Some(leader) = self.leader else { return };
        if !leader.is(address) {
            let doubt = &mut self.doubt;
            (doubt.witness_ns, doubt.deaf) = (Some(self.now_ns), false);
            if doubt.sent == PROBES && doubt.next_ns.is_none() {
                // No longer deaf: the probes sent meanwhile prove nothing.
                (doubt.sent, doubt.witnessed) = (0, false);
                doubt.next_ns = Some(self.now_ns + probe_gap_ns(leader.interval));
            }
            doubt.witnessed |= doubt.sent > 0;
            return;
        }
        self.doubt.answered_ns = Some(self.now_ns);
        if leader.priority == Priority::STOPPING {
            return;
        }
        if self.doubt.sent == 0 {
            self.doubt.next_ns = Some(leader.heard_ns + overdue_ns(leader.interval));
            return;
        }
        // Its kernel lives, and with it what it serves until the lease ends.
        self.doubt.next_ns = None;
        let down_ns = leader.heard_ns + master_down_ns(self.priority(), leader.interval);
        let lease_end_ns = leader.heard_ns
            + lease_ns(leader.interval)
            + handover_ns(self.priority(), leader.interval);
        if leader.leased && backup.down_ns == down_ns && lease_end_ns < down_ns {
            // An answer that comes so late may have adverts right behind it.
            backup.down_ns = lease_end_ns.max(self.now_ns + late_ns(leader.interval));
            backup.takeover = Takeover::LeaseEnded;
            self.state = State::Backup(backup);
        }
    }
}
