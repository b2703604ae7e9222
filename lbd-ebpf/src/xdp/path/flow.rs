//! The flow table. The protocol that keeps a reader from another flow's backend is written down
//! in [`lbd_common::flow`].
use lbd_common::{
    backend,
    counters::Reason,
    flow::{self, FlowWord, NOTED_UNITS, age, buckets, flag, is_kept, keep_order, state, tag},
};

use super::segment::ForVip;
use crate::xdp::{
    exit::count,
    family::{Family, Key},
    tables::{
        atomic,
        backend::{Target, count_in, count_out},
        clock,
    },
};

/// A flow that the table knows.
pub(crate) struct Known {
    at: *mut u64,
    bits: u64,
}

impl Known {
    /// The flow whose word, which was read as `bits`, is at `at`: what a function of its own is told.
    #[inline(always)]
    pub(crate) fn at(at: *mut u64, bits: u64) -> Self {
        Self { at, bits }
    }

    /// The inverse of [`Self::at`].
    #[inline(always)]
    pub(crate) fn place(&self) -> (*mut u64, u64) {
        (self.at, self.bits)
    }

    /// The id of its backend.
    #[inline(always)]
    pub(crate) fn backend(&self) -> u16 {
        FlowWord::from_bits(self.bits).backend
    }

    /// Whether its client was noted so lately that it need not be again.
    #[inline(always)]
    pub(crate) fn is_noted(&self) -> bool {
        clock::seen().wrapping_sub(self.word().seen) < NOTED_UNITS
    }

    /// Whether its backend's box has had the session, and has not said that it is over.
    #[inline(always)]
    pub(crate) fn is_proven(&self) -> bool {
        matches!(self.word().state, state::ESTABLISHED | state::CLOSING)
    }

    /// What is known of it but its key.
    #[inline(always)]
    pub(crate) fn word(&self) -> FlowWord {
        FlowWord::from_bits(self.bits)
    }
}

/// Looks a flow up in its two buckets.
#[inline(always)]
pub(crate) fn find<const K: usize, F: Family<K>>(frame: &ForVip<K>) -> Option<Known> {
    let (first, second) = buckets(frame.hash, F::mask());
    let tag = tag(frame.hash);
    let accept = |bits| is_live(bits, tag);
    // No `or_else`: the compiler would not inline its closure into every search.
    if let Some(known) = search(F::bucket(first)?, &frame.key, tag, accept) {
        return Some(known);
    }
    search(F::bucket(second)?, &frame.key, tag, accept)
}

/// Whether a word is of a flow with this tag.
#[inline(always)]
fn is_live(bits: u64, tag: u16) -> bool {
    let word = FlowWord::from_bits(bits);
    flow::is_live(word.state) && word.tag == tag
}

/// The backend of an open session that a frame without SYN, FIN and RST leaves as it is, as nearly
/// every frame does. `None` for all others: they are for [`find`] and [`super::follow`].
#[inline(always)]
pub(crate) fn steady<const K: usize, F: Family<K>>(frame: &ForVip<K>) -> Option<Target> {
    const STATE_AND_TAG: u64 = 0xffff_00ff_0000;
    let (first, second) = buckets(frame.hash, F::mask());
    let tag = tag(frame.hash);
    let wanted = FlowWord {
        state: state::ESTABLISHED,
        tag,
        ..FlowWord::default()
    };
    // One comparison of the whole word, because every instruction counts here.
    let is_open = |bits| (bits ^ wanted.to_bits()) & STATE_AND_TAG == 0;
    let known = search(F::bucket(first)?, &frame.key, tag, is_open)
        .or_else(|| search(F::bucket(second)?, &frame.key, tag, is_open))?;
    let word = FlowWord::from_bits(known.bits);
    if clock::seen().wrapping_sub(word.seen) >= NOTED_UNITS {
        return None;
    }
    Target::get(word.backend).filter(|target| target.backend.state == backend::state::UP)
}

/// The slot of a bucket with this key and a word that is acceptable.
#[inline(always)]
fn search<const K: usize>(
    bucket: *mut u64,
    key: &Key<K>,
    tag: u16,
    accept: impl Fn(u64) -> bool,
) -> Option<Known> {
    for turn in 0..8 / (K + 1) {
        let slot = nth_slot::<K>(tag, turn);
        // SAFETY: a bucket is eight words, and slot and word stay below that.
        unsafe {
            let start = bucket.add(slot * (K + 1));
            if !holds(start, key) {
                continue;
            }
            let at = start.add(K);
            let bits = at.read_volatile();
            if accept(bits) && holds(start, key) {
                return Some(Known { at, bits });
            }
        }
    }
    None
}

/// The slots of a bucket in the order in which a flow is put and sought.
///
/// It begins where the flow's tag says. In a table that is half full four flows of five are then
/// found at the first look, where the first slot to the last would find less than half there, and
/// each branch that goes another way than foreseen waits for the cache line to arrive. And half-open
/// flows are displaced in no fixed order: always the first would let a flood wear out one slot, in
/// which a real client's SYN has just been put.
#[inline(always)]
const fn nth_slot<const K: usize>(tag: u16, turn: usize) -> usize {
    (turn + tag as usize) & (8 / (K + 1) - 1)
}

/// # Safety
/// `start` points to the key of a slot.
#[inline(always)]
unsafe fn holds<const K: usize>(start: *const u64, key: &Key<K>) -> bool {
    for (word, wanted) in key.iter().enumerate() {
        // SAFETY: a key is K words.
        if unsafe { start.add(word).read_volatile() } != *wanted {
            return false;
        }
    }
    true
}

/// Replaces the word of a known flow, and counts `LOAD` accordingly; false if a frame of the flow, or the
/// sweep, was faster.
#[inline(always)]
pub(crate) fn change(known: &Known, new: FlowWord) -> bool {
    // SAFETY: `at` is the flow word of a live slot.
    if !unsafe { atomic::compare_exchange(known.at, known.bits, new.to_bits()) } {
        return false;
    }
    let old = known.word();
    let (was_counted, is_counted) = (old.flags & flag::COUNTED, new.flags & flag::COUNTED);
    if was_counted != 0 && is_counted == 0 {
        count_out(old.backend);
    } else if was_counted == 0 && is_counted != 0 {
        count_in(new.backend);
    }
    true
}

/// Gives a flow to a backend as an open session that this box knows of itself; false if that changed
/// nothing.
#[inline(always)]
pub(crate) fn redirect(known: &Known, backend: u16) -> bool {
    let word = known.word();
    if word.state == state::DOOMED {
        return false;
    }
    let new = FlowWord {
        backend,
        state: state::ESTABLISHED,
        flags: flag::COUNTED,
        tag: word.tag,
        seen: clock::seen(),
    };
    // SAFETY: `at` is the flow word of a live slot.
    let won = unsafe { atomic::compare_exchange(known.at, known.bits, new.to_bits()) };
    if won {
        if word.flags & flag::COUNTED != 0 {
            count_out(word.backend);
        }
        count_in(backend);
    }
    won
}

/// Frees a known flow's slot.
#[inline(always)]
pub(crate) fn retire(known: &Known) {
    let word = FlowWord::from_bits(known.bits);
    // SAFETY: `at` is the flow word of a live slot.
    let won = unsafe { atomic::compare_exchange(known.at, known.bits, 0) };
    if won && word.flags & flag::COUNTED != 0 {
        count_out(word.backend);
    }
}

/// Whether a new flow may take the place of what a slot holds.
#[inline(always)]
fn may_go(bits: u64, now: u16, idle_units: u32) -> bool {
    !is_kept(keep_order(bits, now)) || is_idle(bits, now, idle_units)
}

/// Whether an open session has not been heard for too long.
#[inline(always)]
fn is_idle(bits: u64, now: u16, idle_units: u32) -> bool {
    let word = FlowWord::from_bits(bits);
    word.state == state::ESTABLISHED && idle_units != 0 && age(now, word.seen) as u32 > idle_units
}

/// The slot to be given up: the one that yields most readily, in both buckets ([`keep_order`]).
///
/// Without branches: which slots hold what is as good as random, and each branch that goes another
/// way than foreseen waits for the cache line.
#[inline(always)]
fn least<const K: usize>(buckets: [*mut u64; 2], tag: u16, now: u16) -> Option<*mut u64> {
    const PLACE_BITS: u32 = 4;
    let slots = 8 / (K + 1);
    let mut best = u64::MAX >> 1;
    for (which, bucket) in buckets.into_iter().enumerate() {
        for turn in 0..slots {
            // SAFETY: the flow word of one of the bucket's slots.
            let bits = unsafe { word_at::<K>(bucket, tag, turn).read_volatile() };
            let place = keep_order(bits, now) << PLACE_BITS | (which * slots + turn) as u64;
            best = lower(best, place);
        }
        if best >> (PLACE_BITS + 16) == 0 {
            break;
        }
    }
    if is_kept(best >> PLACE_BITS) {
        return None;
    }
    let [first, second] = buckets;
    let turn = best as usize & (slots - 1);
    Some(if best as usize & slots == 0 {
        word_at::<K>(first, tag, turn)
    } else {
        word_at::<K>(second, tag, turn)
    })
}

/// The lower of two numbers below 2^63, by arithmetic: a comparison would become a branch.
#[inline(always)]
pub(super) fn lower(a: u64, b: u64) -> u64 {
    let difference = b.wrapping_sub(a).cast_signed();
    a.wrapping_add_signed(difference & (difference >> 63))
}

/// The first slot of an open session that has not been heard for too long.
#[inline(always)]
fn idle<const K: usize>(
    buckets: [*mut u64; 2],
    tag: u16,
    now: u16,
    idle_units: u32,
) -> Option<*mut u64> {
    for bucket in buckets {
        for turn in 0..8 / (K + 1) {
            let at = word_at::<K>(bucket, tag, turn);
            // SAFETY: the flow word of one of the bucket's slots.
            if is_idle(unsafe { at.read_volatile() }, now, idle_units) {
                return Some(at);
            }
        }
    }
    None
}

/// The flow word of a bucket's slot, in the order of [`nth_slot`].
#[inline(always)]
fn word_at<const K: usize>(bucket: *mut u64, tag: u16, turn: usize) -> *mut u64 {
    // SAFETY: a bucket is eight words, and slot and word stay below that.
    unsafe { bucket.add(nth_slot::<K>(tag, turn) * (K + 1) + K) }
}

/// Puts a flow into the best slot of its two buckets and counts it in; false if an open session is in every
/// one.
///
/// One that a frame in mid-session made is not on its way, and counts when it is proven: a stranger needs
/// one frame for it.
#[inline(always)]
pub(crate) fn insert<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    backend: u16,
    state: u8,
    flags: u8,
    idle_units: u32,
) -> bool {
    let placed = place::<K, F>(frame, backend, state, flags, idle_units);
    if placed && flags & flag::ADOPTED == 0 {
        count_in(backend);
    }
    placed
}

/// [`insert`] of a flow that is counted in already.
#[inline(always)]
pub(crate) fn place<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    backend: u16,
    state: u8,
    flags: u8,
    idle_units: u32,
) -> bool {
    let fine = clock::fine();
    let now = (fine >> 4) as u16;
    let tag = tag(frame.hash);
    let (first, second) = buckets(frame.hash, F::mask());
    let (Some(first), Some(second)) = (F::bucket(first), F::bucket(second)) else {
        return false;
    };
    let mut best = least::<K>([first, second], tag, now);
    if best.is_none() && idle_units != 0 {
        best = idle::<K>([first, second], tag, now, idle_units);
    }
    let Some(best) = best else {
        return false;
    };
    // SAFETY: the flow word of a slot.
    let best_bits = unsafe { best.read_volatile() };
    let old = FlowWord::from_bits(best_bits);
    if !may_go(best_bits, now, idle_units) {
        // Another CPU has just put an open session there.
        return false;
    }
    let mut word = FlowWord {
        backend,
        state,
        flags,
        tag,
        seen: now,
    };
    if flags & flag::ADOPTED == 0 {
        word.flags |= flag::COUNTED;
    }
    if state == state::HALF_OPEN {
        word = word.with_fine((fine & 0xf) as u8);
    }
    let claim = FlowWord {
        state: state::CLAIMING,
        flags: 0,
        ..word
    };
    // SAFETY: `best` is the flow word of a slot, with the K words of its key before it.
    if !unsafe { atomic::compare_exchange(best, best_bits, claim.to_bits()) } {
        return false;
    }
    // The claim of a slot displaces its flow, even if the claim fails later.
    if old.state != state::FREE {
        if old.flags & flag::COUNTED != 0 {
            count_out(old.backend);
        }
        count(Reason::FlowDisplaced);
    }
    // SAFETY: as above.
    unsafe {
        for (index, part) in frame.key.iter().enumerate() {
            best.sub(K).add(index).write_volatile(*part);
        }
        // By compare-and-swap, because the sweep frees a claim that stands too long.
        if !atomic::compare_exchange(best, claim.to_bits(), word.to_bits()) {
            return false;
        }
    }
    true
}
