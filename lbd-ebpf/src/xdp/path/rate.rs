//! How fast sessions may begin.
use lbd_common::{
    maps::SOURCE_SLOTS,
    rate::{Rates, SourceRate},
};

use crate::xdp::tables::{
    clock,
    maps::{RATES, SOURCES},
};

/// Counts a SYN without a flow; true from the one after `limit` on in a second on this CPU.
#[inline(always)]
pub(crate) fn is_flood(limit: u32) -> bool {
    limit != 0
        && this_second().is_some_and(|rates| {
            rates.syns = rates.syns.wrapping_add(1);
            rates.syns > limit
        })
}

/// Whether one more flow may be adopted in this second on this CPU; if so, it is counted.
#[inline(always)]
pub(crate) fn may_adopt(limit: u32) -> bool {
    limit != 0
        && this_second().is_some_and(|rates| {
            let may = rates.adopted < limit;
            rates.adopted += may as u32;
            may
        })
}

/// Whether one more frame that is too big may be answered in this second on this CPU; if so, it is
/// counted.
#[inline(always)]
pub(crate) fn may_answer_too_big(limit: u16) -> bool {
    this_second().is_some_and(|rates| {
        let may = rates.too_big < limit;
        rates.too_big += may as u16;
        may
    })
}

/// Next hops a second on each CPU that the daemon is told of.
const NEIGHBOURS: u16 = 16;

/// Whether the daemon may be told of one more next hop in this second on this CPU; if so, it is
/// counted.
#[inline(always)]
pub(crate) fn may_ask_for_neighbour() -> bool {
    this_second().is_some_and(|rates| {
        let may = rates.neighbours < NEIGHBOURS;
        rates.neighbours += may as u16;
        may
    })
}

/// Denied frames a second on each CPU that the daemon is told of: enough to name who it is, and too few
/// to load the daemon.
const DENIED: u32 = 64;

/// Whether the daemon may be told of one more denied frame in this second on this CPU; if so, it is
/// counted.
#[inline(always)]
pub(crate) fn may_tell_denied() -> bool {
    this_second().is_some_and(|rates| {
        let may = rates.denied < DENIED;
        rates.denied += may as u32;
        may
    })
}

#[inline(always)]
fn this_second() -> Option<&'static mut Rates> {
    let rates = RATES.get_ptr_mut(0)?;
    // SAFETY: the entry is this CPU's own, and nothing else holds a reference to it.
    let rates = unsafe { &mut *rates };
    let now = clock::seen() as u32;
    if rates.seen != now {
        let words = (&raw mut *rates).cast::<u32>();
        for word in 1..size_of::<Rates>() / size_of::<u32>() {
            // One by one, because the compiler would call memset.
            // SAFETY: the words of a `Rates`, which consists of integers only.
            unsafe { words.add(word).write_volatile(0) };
        }
        rates.seen = now;
    }
    Some(rates)
}

/// Counts a new connection of a source; 0 if it is one more than `limit` in this second.
///
/// Two slots a source, without exact keys: a source whose slots both count others in this second is
/// let in, because a rate must never stop a source that is within it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn source_may_open(hash: u64, limit: u32) -> u32 {
    let now = clock::seen();
    // The slots take 16 bits at each end; these are between.
    let tag = (hash >> 16) as u32;
    for turn in [0, 48] {
        let index = (hash >> turn) as u32 & (SOURCE_SLOTS - 1);
        let Some(slot) = SOURCES.get_ptr_mut(index) else {
            return 1;
        };
        let slot = slot.cast::<u64>();
        // SAFETY: a live, aligned map value, that other CPUs use too: read and written whole.
        let rate = SourceRate::from_bits(unsafe { slot.read_volatile() });
        let ours = rate.tag == tag && rate.seen == now;
        if ours && rate.count as u32 >= limit {
            return 0;
        }
        if ours || rate.seen != now {
            let count = if ours { rate.count + 1 } else { 1 };
            let new = SourceRate {
                tag,
                seen: now,
                count,
            };
            // SAFETY: as above.
            unsafe { slot.write_volatile(new.to_bits()) };
            return 1;
        }
    }
    1
}
