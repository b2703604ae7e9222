//! The one place that owns netlink, and the list of what lbd changes on the box.
//!
//! - [`links`] reads interfaces, [`neighbours`] decides which MAC stands for an address, [`watch`]
//!   follows both by rtnetlink's multicast groups;
//! - [`vip`] holds the VIP as a lease on the interface that faces the clients, [`loopback`] keeps it
//!   on a backend's `lo` without the box answering for it;
//! - [`routing`] makes the box a gateway, for `forwarding: nat`;
//! - [`facts()`] is what a configuration is checked against;
//! - [`Host`] makes and undoes every [`Change`], and [`journal`] remembers them through a crash.
//!
//! All of it works in the network namespace of the thread that opens it: run lbd inside one, and it
//! changes that one only. Nothing else in lbd writes a sysctl or sends a netlink message.

pub mod change;
pub mod error;
pub mod facts;
pub mod gateways;
pub mod journal;
pub mod links;
pub mod loopback;
mod messages;
pub mod neighbours;
mod netlink;
pub mod routing;
pub mod sysctl;
pub mod vip;
pub mod watch;

use std::path::Path;

pub use change::{Change, Outcome};
pub use error::HostError;
pub use facts::{facts, name, short_name};
pub use gateways::gateways;
pub use journal::{Journal, Recovered};
pub use vip::VipSocket;
pub use watch::{HostEvent, Watch};

use netlink::Netlink;

/// What lbd has changed on this box, and the means to change more and to undo it.
///
/// Every change is in the journal before it is made. A process that dies leaves the journal; the
/// next one makes what it wants again, which adopts the entries that are already there together
/// with the *old* values they remember, and then calls [`Host::undo_unclaimed`] for the rest.
#[derive(Debug)]
pub struct Host {
    netlink: Netlink,
    journal: Journal,
}

/// What an undoing came to, in the order it was done (the last change first).
#[derive(Debug, Default)]
pub struct Undone {
    /// Each change that is settled, and how.
    pub settled: Vec<(Change, Outcome)>,
    /// Changes that could not be undone; they stay in the journal for the next try.
    pub failed: Vec<(Change, HostError)>,
}

impl Undone {
    /// Whether nothing is left to undo.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

impl Host {
    /// Opens (or creates) the journal and takes its lock, which one process at a time may hold.
    ///
    /// Fails with [`HostError::JournalBusy`] while another lbd holds it.
    pub fn open(journal: &Path) -> Result<(Self, Recovered), HostError> {
        let netlink = Netlink::open()?;
        let (journal, recovered) = Journal::open(journal)?;
        Ok((Self { netlink, journal }, recovered))
    }

    /// Records a change and makes it. Making it a second time changes nothing.
    ///
    /// For [`Change::Lease`], [`Change::Pin`], [`Change::Xdp`] and [`Change::File`] this only
    /// records: their owners (the election's thread, the data plane, the control socket) make them,
    /// after this returned.
    pub fn make(&mut self, change: &Change) -> Result<(), HostError> {
        let (id, is_new) = self.journal.record(change)?;
        let made = change.make(&mut self.netlink);
        if made.is_err() && is_new {
            // A change that was not made needs no undoing.
            self.journal.settle(id)?;
        }
        made
    }

    /// Raises a sysctl to `at_least`, unless it is there already. Whether it was lower.
    ///
    /// One that a dead process of ours raised stays ours: its journal entry is claimed.
    pub fn raise_sysctl(&mut self, key: &str, at_least: u32) -> Result<bool, HostError> {
        self.set_sysctl(key, at_least, |current| current >= at_least)
    }

    /// Lowers a sysctl to `at_most`, likewise.
    pub fn lower_sysctl(&mut self, key: &str, at_most: u32) -> Result<bool, HostError> {
        self.set_sysctl(key, at_most, |current| current <= at_most)
    }

    fn set_sysctl(
        &mut self,
        key: &str,
        new: u32,
        is_fine: impl Fn(u32) -> bool,
    ) -> Result<bool, HostError> {
        let current = sysctl::read(key)?;
        if is_fine(current) {
            self.journal.claim_sysctl(key);
            return Ok(false);
        }
        self.make(&Change::Sysctl {
            key: key.to_owned(),
            old: self.journal.sysctl_old(key).unwrap_or(current),
            new,
        })?;
        Ok(true)
    }

    /// Those of the interfaces of these names that there are.
    fn those_there<'a>(&mut self, names: &'a [String]) -> Result<Vec<&'a str>, HostError> {
        let links = links::read(&mut self.netlink)?;
        let names = names.iter().map(String::as_str);
        Ok(names.filter(|name| links.named(name).is_ok()).collect())
    }

    /// Undoes one change now: a VIP that a new configuration no longer has.
    pub fn release(&mut self, change: &Change) -> Result<Outcome, HostError> {
        let outcome = change.undo(&mut self.netlink)?;
        self.journal.forget(change)?;
        Ok(outcome)
    }

    /// Undoes what a dead process left and this one has not made again.
    pub fn undo_unclaimed(&mut self) -> Undone {
        self.undo(false)
    }

    /// Undoes everything, the last change first, and leaves no journal behind.
    pub fn undo_all(mut self) -> Undone {
        let undone = self.undo(true);
        if undone.is_complete() {
            self.journal.remove();
        }
        undone
    }

    /// The changes that stand now, oldest first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.journal.changes()
    }

    fn undo(&mut self, claimed_too: bool) -> Undone {
        let mut undone = Undone::default();
        for (id, change) in self.journal.newest_first(claimed_too) {
            let settled = change
                .undo(&mut self.netlink)
                .and_then(|outcome| self.journal.settle(id).map(|()| outcome));
            match settled {
                Ok(outcome) => undone.settled.push((change, outcome)),
                Err(error) => undone.failed.push((change, error)),
            }
        }
        undone
    }
}

/// Undoes all that a journal lists: `lbd cleanup`. A journal that is not there lists nothing.
pub fn cleanup(journal: &Path) -> Result<(Undone, Recovered), HostError> {
    if !journal.exists() {
        return Ok((Undone::default(), Recovered::default()));
    }
    let (host, recovered) = Host::open(journal)?;
    Ok((host.undo_all(), recovered))
}
