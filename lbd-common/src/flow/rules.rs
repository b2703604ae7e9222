//! Which flows are live, how old they are, and which of them give way to a new one.
use super::{SEEN_SHIFT, state};

/// A half-open or unproven flow counts in `LOAD` for so long, in units of `seen`: between 1.1 and 2.1 s,
/// and up to a second more until the sweep comes by. A handshake takes a round trip, and the box's word
/// on it another one at most.
pub const ON_ITS_WAY_UNITS: u16 = 2;

/// A session with a backend whose box does not tell of its sessions counts as established when its
/// client has sent so many frames with payload.
///
/// A director sees only the client's half, so a stranger can send anything that it waits for. What can be
/// asked is that a claim costs more than it is worth: five frames instead of two, while everything below
/// that is forgotten in seconds, yields to new sessions and counts as nothing. Every mail has at least
/// `EHLO`, envelope and content, so that a session which carries one comes to three. What is claimed at
/// that price is bounded by the sessions that the backend reports (the daemon's sweep).
pub const PROVING_FRAMES: u8 = 3;

/// The fine clock of half-open flows counts in sixteenths of a unit: 67 ms of `CLOCK_MONOTONIC`.
pub const FINE_SHIFT: u32 = SEEN_SHIFT - 4;

/// A SYN that comes again so much later is the client's timer (0.94 s): RFC 6298, section 2.1, has it
/// wait for 1 s, and both times are cut to 67 ms.
pub const RESEND_FINE: u32 = 14;

/// Likewise where nothing tells within a second that a backend lives (2.6 s): the second time that the
/// SYN comes again, when a SYN-ACK that was lost on the way has been sent again too.
pub const RESEND_UNSURE_FINE: u32 = 39;

/// Whether a slot in this state holds a flow that frames follow.
#[inline(always)]
#[must_use]
pub const fn is_live(state: u8) -> bool {
    state.wrapping_sub(state::HALF_OPEN) <= state::DOOMED - state::HALF_OPEN
}

/// How long ago `seen` was, in its units. A clock that is a little behind the writer's sees the future,
/// which is now; so is what is more than half of the counter's round away.
#[inline(always)]
#[must_use]
pub const fn age(now_seen: u16, seen: u16) -> u16 {
    let age = now_seen.wrapping_sub(seen);
    if age > u16::MAX / 2 { 0 } else { age }
}

/// How long ago `then` was, both on the fine clock of 20 bits ([`FINE_SHIFT`]); the future is now.
#[inline(always)]
#[must_use]
pub const fn fine_age(now: u32, then: u32) -> u32 {
    let age = now.wrapping_sub(then) & 0xf_ffff;
    if age > 0x7_ffff { 0 } else { age }
}

/// How readily a slot is given up, by its state, four bits each: lower is sooner, [`KEPT`] never.
///
/// An unproven flow yields before a proven one, no matter what its client has sent since; the oldest
/// first, because a real client's flow becomes established in a round trip, while a flood's only grow
/// older.
const RANKS: u64 = rank(state::FREE, 0)
    | rank(state::CLAIMING, KEPT)
    | rank(state::HALF_OPEN, 2)
    | rank(state::UNPROVEN, 2)
    | rank(state::ESTABLISHED, KEPT)
    | rank(state::CLOSING, 3)
    | rank(state::ENDED, 1)
    | rank(state::DOOMED, 1);

const KEPT: u64 = 4;

const fn rank(state: u8, rank: u64) -> u64 {
    rank << (4 * state)
}

/// Where a slot with this word stands among those that could be given up: the lowest goes first, and
/// none for which [`is_kept`] holds.
#[inline(always)]
#[must_use]
pub const fn keep_order(bits: u64, now_seen: u16) -> u64 {
    let rank = RANKS >> (4 * ((bits >> 16) & 7)) & 0xf;
    let age = now_seen
        .wrapping_add(AHEAD)
        .wrapping_sub((bits >> 48) as u16);
    rank << 16 | (0xffff - age) as u64
}

/// What is so far in the future is younger than what is of now. No [`age`], which LLVM makes a branch of:
/// one for each slot, and the kernel's verifier follows all of their combinations.
const AHEAD: u16 = 64;

/// Whether a slot of this [`keep_order`] is never given up to a new flow (but for one that has been idle
/// for too long).
#[inline(always)]
#[must_use]
pub const fn is_kept(order: u64) -> bool {
    order >> 16 >= KEPT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowWord;

    fn order(state: u8, seen: u16) -> u64 {
        let word = FlowWord {
            state,
            seen,
            ..FlowWord::default()
        };
        keep_order(word.to_bits(), 1000)
    }

    #[test]
    fn what_a_stranger_can_make_yields_before_what_a_box_has_confirmed() {
        let sooner = [
            order(state::FREE, 0),
            order(state::ENDED, 1000),
            order(state::UNPROVEN, 900),
            order(state::HALF_OPEN, 990),
            order(state::UNPROVEN, 1000),
            order(state::CLOSING, 10),
        ];
        assert!(sooner.is_sorted(), "{sooner:?}");
        assert!(sooner.iter().all(|order| !is_kept(*order)));
        assert!(is_kept(order(state::ESTABLISHED, 0)));
        assert!(is_kept(order(state::CLAIMING, 0)));
    }

    #[test]
    fn the_future_is_now_for_a_clock_that_is_behind() {
        for (now, seen, expected) in [
            (1000, 999, 1),
            (1000, 1000, 0),
            (1000, 1001, 0),
            (0, u16::MAX, 1),
            (u16::MAX, 0, 0),
        ] {
            assert_eq!(age(now, seen), expected, "{now} {seen}");
        }
        // A tick in the future is no reason to go first.
        assert!(order(state::UNPROVEN, 1001) >= order(state::UNPROVEN, 1000));
        let top = (1 << 20) - 1;
        for (now, then, expected) in [(20, 6, 14), (6, 20, 0), (3, top, 4), (top, 3, 0)] {
            assert_eq!(fine_age(now, then), expected, "{now} {then}");
        }
    }
}
