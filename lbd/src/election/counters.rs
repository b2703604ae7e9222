//! What the election counts.
use serde::Serialize;

use crate::counters::counters;

counters! {
    /// Totals since the start. Each says whether it is expected.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
    Counters:
    /// Adverts handed to the sockets. Expected while master.
    adverts_sent,
    /// Adverts that could not be sent in any family. Not expected.
    adverts_failed,
    /// Verified adverts of others. Expected while backup.
    adverts_heard,
    /// Adverts with priority 0: a master stopped.
    stops_heard,
    /// Times this node became master.
    takeovers,
    /// Times this node yielded to a better master.
    yields,
    /// Adverts of another master while this node was master. A few after a partition.
    rivals,
    /// Claims of a virtual address by another box while this node was master.
    foreign_claims,
    /// Bursts of announcements.
    announcements,
    /// Timers that fired late. Not expected; many mean that the thread has no real-time priority.
    late_timers,
    /// Probes of the master's box. Expected: one every ten seconds, and some when adverts are late.
    probes,
    /// Times that neither the master nor any witness answered, though one had before. Not expected: this box is cut off, or so busy that it hears late.
    deaf,
    /// Times that no other node and no gateway was heard any longer, though two had been. Not expected: this box was cut off.
    isolated,
    /// Times that this node, while it was master, found that it had been cut off or paused, and rejoined as a node that starts. Not expected.
    rejoined,
    /// Adverts that no key verifies, when none has been verified since the start: they keep this node from becoming master. Not expected: `secret_file` differs.
    contested,
    /// Leases that ended while master. Not expected unless the box was stopped.
    leases_lost,
    /// Preemptions that did not get the flows in time.
    syncs_timed_out,
    /// Times that health took mastership, or the right to it, away.
    faults,
}
