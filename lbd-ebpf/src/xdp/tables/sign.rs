//! What the cluster knows of a backend besides its address and its weight.
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

/// What the choice reads of a backend, all of it in one cache line.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    /// Bits of [`flag`].
    pub(crate) flags: u32,
    /// See [`Sign::queued_sessions`].
    pub(crate) queued_sessions: u32,
    /// See [`Sign::session_limit`].
    pub(crate) session_limit: u32,
    /// See [`Sign::no_listener`].
    no_listener: u64,
}

impl Standing {
    /// Whether it gets no new session of a service while another backend can take it: it is suspect, or
    /// its box refuses what comes for that service.
    #[inline(always)]
    pub(crate) fn is_avoided(&self, vip_id: u16) -> bool {
        self.flags & flag::SUSPECT != 0
            || self.flags & flag::REFUSES != 0 && self.no_listener & service_bit(vip_id) != 0
    }
}

/// What the choice reads of a backend.
#[inline(always)]
pub(crate) fn standing(id: u16) -> Standing {
    let Some(sign) = SIGNS.get(id as u32) else {
        return Standing {
            flags: 0,
            queued_sessions: 0,
            session_limit: 0,
            no_listener: 0,
        };
    };
    // SAFETY: a live map value, whose fields the daemon stores whole.
    unsafe {
        Standing {
            flags: (&raw const sign.flags).read_volatile(),
            queued_sessions: (&raw const sign.queued_sessions).read_volatile(),
            session_limit: (&raw const sign.session_limit).read_volatile(),
            no_listener: (&raw const sign.no_listener).read_volatile(),
        }
    }
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

/// [`Standing::is_avoided`].
#[inline(always)]
pub(crate) fn is_avoided(id: u16, vip_id: u16) -> bool {
    standing(id).is_avoided(vip_id)
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

/// Counts a session that frames have proven.
#[inline(always)]
pub(crate) fn proven(id: u16) {
    if let Some(sign) = SIGNS.get_ptr_mut(id as u32) {
        let sign: *mut Sign = sign;
        // SAFETY: a live, aligned map value.
        unsafe { atomic::add(&raw mut (*sign).proven, 1) };
    }
}
