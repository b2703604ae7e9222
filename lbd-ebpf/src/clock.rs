//! The two clocks.
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns};
use lbd_common::flow::SEEN_SHIFT;

/// Jiffies from one look at the clock to the next, as a power of two: 64 ms to 640 ms.
const KEPT_SHIFT: u32 = 6;

/// The last look at the clock: its jiffies without the low [`KEPT_SHIFT`] bits, above the 16 bits of
/// what was seen. One word, so that every CPU reads both or neither.
static mut LAST_LOOK: u64 = 0;

/// Now, in the units of `FlowWord::seen`.
///
/// A call of the coarse clock costs more than everything else that is done for an open session;
/// reading the jiffies is one load.
#[inline(always)]
pub(crate) fn seen() -> u16 {
    let last = &raw const LAST_LOOK;
    // SAFETY: the helper takes nothing; the word is aligned and always there, and the map that holds
    // it is shared with other CPUs, so it is read once and whole.
    let (jiffies, last) = unsafe { (bpf_jiffies64() >> KEPT_SHIFT, last.read_volatile()) };
    // Nothing but what was seen is left when the jiffies are the same.
    match last.wrapping_sub(jiffies << 16) {
        seen @ 0..=0xffff => seen as u16,
        _ => look(jiffies),
    }
}

#[cold]
#[inline(always)]
fn look(jiffies: u64) -> u16 {
    // SAFETY: the helper takes nothing and only reads a clock.
    let seen = (unsafe { bpf_ktime_get_coarse_ns() } >> SEEN_SHIFT) as u16;
    // SAFETY: as in `seen`; whichever CPU writes last wrote the truth.
    unsafe { (&raw mut LAST_LOOK).write_volatile(jiffies << 16 | seen as u64) };
    seen
}

/// `CLOCK_BOOTTIME`, in which leases are written.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
