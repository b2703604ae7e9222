//! What tells whether a backend's box lives, and how far its word goes.
use lbd_common::{
    flow::FINE_SHIFT,
    sign::{Sign, flag, service_bit},
};

use super::{atomic, clock, maps::SIGNS};

/// The bits of [`flag`] that are set for a backend.
#[inline(always)]
pub(crate) fn flags(id: u16) -> u32 {
    let Some(sign) = SIGNS.get(id as u32) else {
        return 0;
    };
    // SAFETY: a live map value, whose flags the daemon stores whole.
    unsafe { (&raw const sign.flags).read_volatile() }
}

/// Whether its box has said that it has no listening socket for a service.
#[inline(always)]
fn lacks_listener(id: u16, vip_id: u16) -> bool {
    let Some(sign) = SIGNS.get(id as u32) else {
        return false;
    };
    // SAFETY: as in `flags`.
    let services = unsafe { (&raw const sign.no_listener).read_volatile() };
    services & service_bit(vip_id) != 0
}

/// Whether its box tells of every session of a service that it opens and ends.
#[inline(always)]
pub(crate) fn speaks(id: u16, vip_id: u16) -> bool {
    flags(id) & flag::SPEAKS != 0 && !lacks_listener(id, vip_id)
}

/// Whether its box runs lbd, which takes a mark off again.
#[inline(always)]
pub(crate) fn takes_mark(id: u16) -> bool {
    flags(id) & flag::TAKES_MARK != 0
}

/// Whether it gets no new session of a service while another backend can take it: it is suspect, or its
/// box refuses what comes for that service.
#[inline(always)]
pub(crate) fn is_avoided(id: u16, vip_id: u16) -> bool {
    let flags = flags(id);
    flags & flag::SUSPECT != 0 || flags & flag::REFUSES != 0 && lacks_listener(id, vip_id)
}

/// Whether its box has given a sign of life in the last so many units of the fine clock.
#[inline(always)]
pub(crate) fn lived_within(id: u16, fine: u32) -> bool {
    let Some(sign) = SIGNS.get(id as u32) else {
        return true;
    };
    // SAFETY: as in `flags`.
    let last_ns = unsafe { (&raw const sign.last_ns).read_volatile() };
    last_ns >= clock::coarse_ns().wrapping_sub((fine as u64) << FINE_SHIFT)
}

/// Whether a sign of life in this unit of the fine clock is noted already.
#[inline(always)]
pub(crate) fn is_fresh(id: u16) -> bool {
    let Some(sign) = SIGNS.get(id as u32) else {
        return true;
    };
    // SAFETY: as in `flags`.
    let last_ns = unsafe { (&raw const sign.last_ns).read_volatile() };
    (last_ns >> FINE_SHIFT) as u32 & 0xf_ffff == clock::fine()
}

/// Notes a sign of life.
#[inline(always)]
pub(crate) fn heard(id: u16) {
    if let Some(sign) = SIGNS.get_ptr_mut(id as u32) {
        // SAFETY: a live, aligned map value; whoever writes last wrote the truth.
        unsafe { (&raw mut (*sign).last_ns).write_volatile(clock::coarse_ns()) };
    }
}

/// Counts a SYN that came again without a sign of life since it came first.
#[inline(always)]
pub(crate) fn unanswered(id: u16) {
    if let Some(sign) = SIGNS.get_ptr_mut(id as u32) {
        let sign: *mut Sign = sign;
        // SAFETY: a live, aligned map value.
        unsafe { atomic::add(&raw mut (*sign).unanswered, 1) };
    }
}
