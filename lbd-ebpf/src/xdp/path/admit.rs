//! Whether a frame without a flow may begin or continue a session here.
use lbd_common::{
    counters::Reason,
    director::{Director, flag, role},
    event::kind,
};

use super::{lists::Listed, rate, segment::ForVip};
use crate::xdp::{
    exit::{Exit, Stage},
    family::Family,
    tables::{clock, event, maps::DIRECTOR},
};

/// A frame without a flow that may begin or continue a session.
pub(crate) struct Admitted {
    /// What the daemon says.
    pub(crate) director: &'static Director,
    /// A SYN in a flood: it leaves no trace.
    pub(crate) flood: bool,
}

/// What becomes of a frame that was looked at.
pub(crate) enum Verdict {
    /// It goes on.
    In(Admitted),
    /// Its sender is told to go away.
    Reset(Reason),
}

/// Lets a frame in, or not: the lease, odd sources, the lists, then (for a SYN) the rates.
#[inline(always)]
pub(crate) fn admit<const K: usize, F: Family<K>>(frame: &ForVip<K>) -> Stage<Verdict> {
    let Some(director) = director() else {
        return Err(Exit::Drop(Reason::DropNotMaster));
    };
    if !holds_lease(director) {
        return Err(Exit::Drop(Reason::DropNotMaster));
    }
    if F::is_odd_source(&frame.key) {
        return Err(Exit::Drop(Reason::DropOddSource));
    }
    let mut listed = Listed::No;
    if director.flags & flag::LISTS != 0 {
        listed = F::listed(&frame.key);
        if listed == Listed::Denied {
            tell::<K, F>(frame, kind::DENIED);
            if director.flags & flag::RESET_DENIED != 0 {
                return Ok(Verdict::Reset(Reason::ResetDenied));
            }
            return Err(Exit::Drop(Reason::DropDenied));
        }
    }
    let mut flood = false;
    if frame.is_syn() {
        if listed == Listed::No
            && director.new_per_second != 0
            && rate::source_may_open(F::source_hash(&frame.key), director.new_per_second) == 0
        {
            tell::<K, F>(frame, kind::RATE_LIMITED);
            return Err(Exit::Drop(Reason::DropRateLimited));
        }
        flood = rate::is_flood(director.flood_per_second);
    }
    Ok(Verdict::In(Admitted { director, flood }))
}

/// Tells the daemon who was denied, for people who want to know.
#[inline(always)]
fn tell<const K: usize, F: Family<K>>(frame: &ForVip<K>, kind: u8) {
    if rate::may_tell_denied() {
        event::emit::<K, F>(&frame.key, 0, kind);
    }
}

/// What the daemon says now.
#[inline(always)]
pub(crate) fn director() -> Option<&'static Director> {
    DIRECTOR.get(0)
}

/// Whether this box is the master and its lease holds.
#[inline(always)]
pub(crate) fn is_leased_master() -> bool {
    director().is_some_and(holds_lease)
}

/// Reads each field once: the daemon stores them at any moment.
#[inline(always)]
pub(crate) fn holds_lease(director: &Director) -> bool {
    // SAFETY: both point into a live map value.
    let (now_role, until) = unsafe {
        (
            (&raw const director.role).read_volatile(),
            (&raw const director.lease_until_ns).read_volatile(),
        )
    };
    now_role == role::MASTER && clock::is_before(until)
}
