//! The two clocks.
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns};
use lbd_common::flow::SEEN_SHIFT;

/// Now, in the units of `FlowWord::seen`. The coarse clock (a tick old at most) costs no read of
/// the hardware's counter.
#[inline(always)]
pub(crate) fn seen() -> u16 {
    // SAFETY: the helper takes nothing and only reads a clock.
    (unsafe { bpf_ktime_get_coarse_ns() } >> SEEN_SHIFT) as u16
}

/// `CLOCK_BOOTTIME`, in which leases are written.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
