//! Backends by id.
use lbd_common::{
    backend::{Backend, mode},
    weigh::is_at_limit,
};

use super::{
    atomic,
    maps::{BACKEND_STATS, BACKENDS, LOAD, WEIGHTS},
};

/// How often a count that other CPUs change is tried. Each failure is a session that began or ended
/// elsewhere in these nanoseconds.
const ATTEMPTS: u32 = 8;

/// A backend that a frame goes to.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) id: u16,
    pub(crate) backend: &'static Backend,
}

impl Target {
    /// The backend of this id, in any state.
    #[inline(always)]
    pub(crate) fn get(id: u16) -> Option<Self> {
        let backend = BACKENDS.get(id as u32)?;
        Some(Self { id, backend })
    }

    /// Whether it is this box.
    #[inline(always)]
    pub(crate) fn is_local(self) -> bool {
        self.backend.mode == mode::LOCAL
    }

    /// Counts a frame of `bytes`, and a connection if it opened one.
    #[inline(always)]
    pub(crate) fn count(self, bytes: usize, opened: bool) {
        if let Some(stats) = BACKEND_STATS.get_ptr_mut(self.id as u32) {
            // SAFETY: the entry is this CPU's own, and nothing else holds a reference to it.
            unsafe {
                (*stats).packets += 1;
                (*stats).bytes += bytes as u64;
                if opened {
                    (*stats).connections += 1;
                }
            }
        }
    }
}

/// The effective weight in permille.
#[inline(always)]
pub(crate) fn weight(id: u32) -> u32 {
    WEIGHTS.get(id).copied().unwrap_or(0)
}

/// Live connections.
#[inline(always)]
pub(crate) fn load(id: u32) -> u64 {
    LOAD.get(id).copied().unwrap_or(0)
}

/// Counts a flow in.
#[inline(always)]
pub(crate) fn count_in(id: u16) {
    change_load(id, 1);
}

/// Counts a flow in where the backend has fewer than `limit`; false where it has not.
///
/// The count is taken before the flow has its place, so that of two CPUs that see the last room only one
/// gets it.
#[inline(always)]
pub(crate) fn count_in_below(id: u16, limit: u32) -> bool {
    let Some(load) = LOAD.get_ptr_mut(id as u32) else {
        return false;
    };
    for _ in 0..ATTEMPTS {
        // SAFETY: a live, aligned map value.
        let sessions = unsafe { load.read_volatile() };
        if is_at_limit(sessions, limit) {
            return false;
        }
        // SAFETY: as above.
        if unsafe { atomic::compare_exchange(load, sessions, sessions.wrapping_add(1)) } {
            return true;
        }
    }
    false
}

/// Counts a flow out.
#[inline(always)]
pub(crate) fn count_out(id: u16) {
    change_load(id, u64::MAX);
}

#[inline(always)]
fn change_load(id: u16, by: u64) {
    if let Some(load) = LOAD.get_ptr_mut(id as u32) {
        // SAFETY: a live, aligned map value.
        unsafe { atomic::add(load, by) };
    }
}
