//! Whether a frame without a flow may begin or continue a session here.
use lbd_common::director::{Director, role};

use crate::{clock, maps::DIRECTOR};

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
    now_role == role::MASTER && clock::boot_ns() < until
}
