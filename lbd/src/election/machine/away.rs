//! A box that was cut off, paused or deaf comes back as a node that starts.
//!
//! A master whose switch port stops forwarding stays master in its own eyes, and so does a virtual
//! machine that is paused: its clocks stand still and its lease outlives the pause. Another box
//! serves meanwhile and has sessions that this one knows nothing of. Were it to go on as master,
//! all of those would be lost. So it gives its lease up on the first sign of the other one, fetches
//! what happened, and preempts then, as it does at a start.
//!
//! # The signs
//! - **A rival's advert after silence.** A backup speaks only when it heard no master for its
//!   master-down interval. A master that hears one which it outranks, and heard no rival for that
//!   long before, was not heard: see [`Machine::was_away`]. It says priority 0, so that the other
//!   one, which yields to it in the same moment, goes on. But when the rival is the very box from whose
//!   silence this one took over, and was not heard since, it is the rival that was away (a virtual machine
//!   that goes on after a pause is master in its own eyes): this one serves on. A rival that speaks all the time (deaf
//!   itself) is answered as RFC 9568 has it: yielding to it again and again would not help.
//! - **Isolation.** A master asks the gateway and the other nodes by ARP or ND whenever it heard none of
//!   them for a second. When two of them were heard and now none is for a master-down interval, this
//!   box is cut off. (One that falls silent may as well be off itself.) The first sign of life after
//!   that has it ask who has the virtual addresses, and an answer by another box is a rival.
//!   It may be deaf and still be heard, where frames are lost on the way in alone: its adverts would keep
//!   every successor away from addresses at which it hears no node. So it says priority 0 once and then
//!   nothing until it hears again. It holds its lease on: where the others are off, it serves.
//! - **A lease that ended** while the daemon or the box slept: [`Machine::lose_lease`].
//!
//! Without a cluster channel there are no sessions to fetch, and a rival is answered as in VRRP.
use std::net::IpAddr;

use super::{Leader, Machine, State};
use crate::election::timing::master_down_ns;
use crate::election::{Notice, Output, WhyBackup};
use crate::units::Priority;

/// Silence after which a master asks whether any node is there, and at least so long between two
/// questions.
const ASK_NS: u64 = 1_000_000_000;
/// Questions without an answer before a box counts as cut off.
const QUESTIONS: u8 = 3;
/// A box that was not heard for so long before is not missed.
const KNOWN_NS: u64 = 30_000_000_000;
/// Boxes that are remembered.
const BOXES: usize = 16;

/// The nodes that this box hears, other than by a master's adverts.
#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    /// When each was heard last.
    heard: Vec<(IpAddr, u64)>,
    asked_ns: Option<u64>,
    /// Since the last sign.
    questions: u8,
    isolated: bool,
    /// When a rival's advert was heard last.
    rival_ns: Option<u64>,
    /// The master from whose silence this one took over, and when it was first heard again.
    replaced: Option<(Leader, Option<u64>)>,
    /// Until when another box's answer for a virtual address counts as a successor's.
    looks_until_ns: u64,
}

impl Contact {
    pub(super) fn heard_rival(&mut self, from: IpAddr, now_ns: u64) {
        self.rival_ns = Some(now_ns);
        self.heard_again(from, now_ns);
    }

    /// This box serves in the place of a master that fell silent, if of any. Where it hears no other node
    /// at all, it is this box that was cut off.
    pub(super) fn replace(&mut self, silent: Option<Leader>) {
        self.replaced = silent
            .filter(|_| !self.isolated)
            .map(|leader| (leader, None));
    }

    fn heard_again(&mut self, address: IpAddr, now_ns: u64) {
        if let Some((leader, again_ns @ None)) = &mut self.replaced
            && leader.is(address)
        {
            *again_ns = Some(now_ns);
        }
    }

    /// Whether `from` is the master that was replaced, and has just come back.
    fn is_replaced(&self, from: IpAddr, now_ns: u64, down_ns: u64) -> bool {
        self.replaced.is_some_and(|(leader, again_ns)| {
            leader.may_be(from) && again_ns.is_none_or(|at| now_ns - at < down_ns)
        })
    }

    fn last_ns(&self) -> Option<u64> {
        self.heard.iter().map(|(_, at)| *at).max()
    }

    fn note(&mut self, address: IpAddr, now_ns: u64) {
        self.questions = 0;
        self.heard_again(address, now_ns);
        if let Some(known) = self.heard.iter_mut().find(|(known, _)| *known == address) {
            known.1 = now_ns;
            return;
        }
        if self.heard.len() == BOXES {
            let oldest = self.heard.iter().enumerate().min_by_key(|(_, (_, at))| *at);
            if let Some(index) = oldest.map(|(index, _)| index) {
                self.heard.swap_remove(index);
            }
        }
        self.heard.push((address, now_ns));
    }

    /// Whether two or more were heard shortly before the last one fell silent.
    fn knew_others(&self) -> bool {
        let Some(last_ns) = self.last_ns() else {
            return false;
        };
        let known = self.heard.iter().filter(|(_, at)| last_ns - at < KNOWN_NS);
        known.count() >= 2
    }

    pub(super) fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// No other node is heard.
    pub(super) fn lose(&mut self, out: &mut Vec<Output>) {
        if !self.isolated {
            self.isolated = true;
            self.replaced = None;
            out.extend([Output::Isolated, Output::Notice(Notice::Isolated)]);
        }
    }
}

impl Machine {
    /// The master asks whether any node is there when it has heard none for a while.
    pub(super) fn ask_witnesses(&mut self, out: &mut Vec<Output>) {
        let (now_ns, interval) = (self.now_ns, self.config.interval);
        let contact = &mut self.contact;
        let was_isolated = contact.isolated;
        let is_due = |at: Option<u64>| at.is_none_or(|at| now_ns - at >= ASK_NS);
        if !is_due(contact.last_ns()) || !is_due(contact.asked_ns) {
            return;
        }
        let down_ns = master_down_ns(self.config.priority, interval);
        let is_silent = contact.last_ns().is_some_and(|at| now_ns - at >= down_ns);
        if contact.questions >= QUESTIONS && is_silent && contact.knew_others() {
            if !contact.isolated {
                self.counters.isolated += 1;
            }
            contact.lose(out);
        }
        contact.asked_ns = Some(now_ns);
        // The next one in turn; all of them once one is missed.
        let all = contact.questions > 0;
        contact.questions = contact.questions.saturating_add(1);
        if contact.isolated && !was_isolated {
            self.send(Priority::STOPPING, out);
        }
        out.push(Output::AskWitnesses { all });
    }

    /// Whether this master keeps silent because it hears no other node. One that has just become master has to
    /// be found, by its first adverts and announcements.
    pub(super) fn is_mute(&self) -> bool {
        let down_ns = master_down_ns(self.config.priority, self.config.interval);
        self.contact.isolated && self.now_ns - self.since_ns >= down_ns
    }

    /// Another box was heard, in any way.
    pub(super) fn sign(&mut self, address: IpAddr, out: &mut Vec<Output>) {
        self.contact.note(address, self.now_ns);
        if !self.contact.isolated {
            return;
        }
        self.returned(out);
        if self.is_master() && self.config.has_channel {
            let wait_ns = master_down_ns(self.priority(), self.config.interval);
            self.contact.looks_until_ns = self.now_ns + wait_ns;
            out.push(Output::AskAddresses);
        }
    }

    /// This box was away and is back.
    pub(super) fn returned(&mut self, out: &mut Vec<Output>) {
        self.contact.isolated = false;
        out.extend([Output::Rejoined, Output::Notice(Notice::Rejoined)]);
    }

    /// Back from isolation, it has asked who has the virtual addresses.
    pub(super) fn looks_for_successor(&self) -> bool {
        self.now_ns < self.contact.looks_until_ns
    }

    /// Whether a rival that this master outranks has served while this one was not heard.
    pub(super) fn was_away(&self, rival: IpAddr) -> bool {
        let quiet_from_ns = self.contact.rival_ns.unwrap_or(0).max(self.since_ns);
        let down_ns = master_down_ns(self.priority(), self.config.interval);
        self.config.has_channel
            && self.now_ns - quiet_from_ns >= down_ns
            && !self.contact.is_replaced(rival, self.now_ns, down_ns)
    }

    /// Another box serves: leaves mastership to it, and comes back as a node that starts.
    pub(super) fn rejoin(&mut self, out: &mut Vec<Output>) {
        debug_assert!(matches!(self.state, State::Master(_)), "only a master can");
        self.counters.rejoined += 1;
        self.hand_over(WhyBackup::Rejoined, out);
        self.leader = None;
        let wait_ns = master_down_ns(self.priority(), self.config.interval);
        self.enter_backup(WhyBackup::Rejoined, wait_ns);
        out.push(Output::AskAddresses);
        self.returned(out);
    }
}
