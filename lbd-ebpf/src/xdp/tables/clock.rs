//! The two clocks.
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns};
use lbd_common::flow::{FINE_SHIFT, SEEN_SHIFT};

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

/// The last look at the fine clock: its jiffies above the 20 bits that it showed.
static mut LAST_FINE: u64 = 0;

/// Now on the fine clock of 20 bits ([`FINE_SHIFT`]), whose upper 16 are `FlowWord::seen`. One look at
/// the clock in a jiffy.
#[inline(always)]
pub(crate) fn fine() -> u32 {
    const BITS: u32 = 20;
    let last = &raw mut LAST_FINE;
    // SAFETY: as in `seen`.
    let (jiffies, then) = unsafe { (bpf_jiffies64(), last.read_volatile()) };
    let fine = then.wrapping_sub(jiffies << BITS);
    if fine >> BITS == 0 {
        return fine as u32;
    }
    let fine = (coarse_ns() >> FINE_SHIFT) & ((1 << BITS) - 1);
    // SAFETY: as in `look`.
    unsafe { last.write_volatile(jiffies << BITS | fine) };
    fine as u32
}

/// Now, in nanoseconds of `CLOCK_MONOTONIC`, as of the last tick.
#[inline(always)]
pub(crate) fn coarse_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// The lease that was last found to hold, and the jiffy in which it was. Mixed into one word, so
/// that every CPU reads both or neither.
static mut HELD: u64 = 0;

/// Whether `CLOCK_BOOTTIME`, in which leases are written, has not come to `until_ns`.
///
/// The clock is looked at once in a jiffy, because one look costs a fifth of all that is done for a
/// new session. So a lease that is not renewed ends with the jiffy (1 to 10 ms) in which it ran out;
/// one that is given up ends at once.
#[inline(always)]
pub(crate) fn is_before(until_ns: u64) -> bool {
    let held = &raw mut HELD;
    // SAFETY: the helper takes nothing; the word is aligned and always there, and the map that holds
    // it is shared with other CPUs, so it is read once and whole.
    let (jiffies, last) = unsafe { (bpf_jiffies64(), held.read_volatile()) };
    // Neither a lease nor the jiffies go back, so no other pair gives the same word soon.
    let now = until_ns.rotate_left(32) ^ jiffies;
    if last == now {
        return true;
    }
    // SAFETY: the helper takes nothing and only reads a clock.
    let before = unsafe { bpf_ktime_get_boot_ns() } < until_ns;
    if before {
        // SAFETY: as above.
        unsafe { held.write_volatile(now) };
    }
    before
}
