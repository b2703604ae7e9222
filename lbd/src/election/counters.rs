//! What the election counts.
use serde::Serialize;

/// Totals since the start. Each says whether it is expected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counters {
    /// Adverts handed to the sockets. Expected while master.
    pub adverts_sent: u64,
    /// Adverts that could not be sent in any family. Not expected.
    pub adverts_failed: u64,
    /// Verified adverts of others. Expected while backup.
    pub adverts_heard: u64,
    /// Adverts with priority 0: a master stopped.
    pub stops_heard: u64,
    /// Times this node became master.
    pub takeovers: u64,
    /// Times this node yielded to a better master.
    pub yields: u64,
    /// Adverts of another master while this node was master. A few after a partition.
    pub rivals: u64,
    /// Claims of a virtual address by another box while this node was master.
    pub foreign_claims: u64,
    /// Bursts of announcements.
    pub announcements: u64,
    /// Timers that fired late. Not expected; many mean that the thread has no real-time priority.
    pub late_timers: u64,
    /// Leases that ended while master. Not expected unless the box was stopped.
    pub leases_lost: u64,
    /// Preemptions that did not get the flows in time.
    pub syncs_timed_out: u64,
    /// Times that health took mastership, or the right to it, away.
    pub faults: u64,
}
