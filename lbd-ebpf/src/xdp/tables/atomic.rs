//! The two atomic operations of this target.
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

/// Replaces `old` by `new`; false if another was there.
///
/// # Safety
/// `at` points to a live map value, 8-byte aligned.
#[inline(always)]
pub(crate) unsafe fn compare_exchange(at: *mut u64, old: u64, new: u64) -> bool {
    // The kernel's BPF_CMPXCHG is fully ordered, whichever ordering is requested here.
    // SAFETY: the caller's promise.
    let (found, _) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::Relaxed }, { AtomicOrdering::Relaxed }>(at, old, new)
    };
    found == old
}

/// Adds, wrapping, so that `u64::MAX` takes one away.
///
/// # Safety
/// `at` points to a live map value, 8-byte aligned.
#[inline(always)]
pub(crate) unsafe fn add(at: *mut u64, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(at, value) };
}
