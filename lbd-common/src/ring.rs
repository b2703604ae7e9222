//! The Maglev ring as the program reads it.

/// Slots of a ring; a prime, as Maglev wants (Eisenbud et al., NSDI 2016, section 3.4).
pub const RING_SLOTS: u32 = 65_537;

/// A slot without a backend (no backend has a weight).
pub const NO_BACKEND: u32 = u32::MAX;

/// The two candidate slots of a flow, from its [`crate::hash::mix`]ed key.
///
/// By multiply and shift instead of a remainder: a division costs more than the lookup.
#[inline(always)]
#[must_use]
pub const fn candidates(hash: u64) -> (u32, u32) {
    let first = ((hash & 0xffff_ffff) * RING_SLOTS as u64) >> 32;
    let second = ((hash >> 32) * RING_SLOTS as u64) >> 32;
    (first as u32, second as u32)
}
