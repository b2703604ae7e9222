//! The Maglev ring as the program reads it.

/// Slots of a ring; a prime, as Maglev wants (Eisenbud et al., NSDI 2016, section 3.4).
pub const RING_SLOTS: u32 = 65_537;

/// A slot without a backend (no backend has a weight).
pub const NO_BACKEND: u32 = u32::MAX;

/// Slots that are looked at for a second candidate that is another backend than the first.
pub const OTHER_PROBES: u32 = 16;

/// The two candidate slots of a flow, from its [`crate::hash::mix`]ed key. Where both name the same
/// backend, [`other`] has the second one.
///
/// By multiply and shift instead of a remainder: a division costs more than the lookup.
#[inline(always)]
#[must_use]
pub const fn candidates(hash: u64) -> (u32, u32) {
    let first = ((hash & 0xffff_ffff) * RING_SLOTS as u64) >> 32;
    let second = ((hash >> 32) * RING_SLOTS as u64) >> 32;
    (first as u32, second as u32)
}

/// The slot behind another one; the first is behind the last.
#[inline(always)]
#[must_use]
pub const fn next(slot: u32) -> u32 {
    if slot + 1 < RING_SLOTS { slot + 1 } else { 0 }
}

/// The byte of a flow's hash that [`crate::weigh::first_is_lighter`] takes: the one that tells least of
/// the candidates.
#[inline(always)]
#[must_use]
pub const fn part_256ths(hash: u64) -> u8 {
    hash as u8
}

/// The slot of a flow's second candidate: the next one from `second` on with another backend than that
/// of `first`, by what `at` says of each slot.
///
/// Two hashes meet the same backend for a third of the sessions to three equal ones: no choice between
/// loads, and no second chance. `second` when all [`OTHER_PROBES`] slots are the first one's backend or
/// no backend's.
#[inline(always)]
pub fn other(first: u32, second: u32, at: impl Fn(u32) -> Option<u32>) -> u32 {
    let of_first = at(first);
    let mut slot = second;
    for _ in 0..OTHER_PROBES {
        let id = at(slot);
        if id != of_first && id != Some(NO_BACKEND) {
            return slot;
        }
        slot = next(slot);
    }
    second
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other_of(first: u32, second: u32, slots: &[(u32, u32)]) -> u32 {
        other(first, second, |slot| {
            let named = slots.iter().find(|(at, _)| *at == slot);
            Some(named.map_or(NO_BACKEND, |(_, id)| *id))
        })
    }

    #[test]
    fn the_second_candidate_is_another_backend_where_there_is_one() {
        let last = RING_SLOTS - 1;
        for (first, second, slots, expected) in [
            (1, 5, &[(1, 0), (5, 1)][..], 5),
            (1, 5, &[(1, 0), (5, 0), (6, 0), (7, 1)], 7),
            (1, 5, &[(1, 0), (5, 0), (7, 1)], 7),
            (1, 1, &[(1, 0), (2, 1)], 2),
            (1, last, &[(1, 0), (last, 0), (0, 2)], 0),
            (1, 5, &[(1, 0), (5, 0)], 5),
            (
                1,
                5,
                &[(1, 0), (5, 0), (5 + OTHER_PROBES - 1, 1)],
                5 + OTHER_PROBES - 1,
            ),
            (1, 5, &[(1, 0), (5, 0), (5 + OTHER_PROBES, 1)], 5),
            (1, 5, &[(5, 1)], 5),
            (1, 5, &[], 5),
        ] {
            assert_eq!(
                other_of(first, second, slots),
                expected,
                "{first} {second} {slots:?}"
            );
        }
    }
}
