//! The candidates for a new session, and which of the two takes it.
use lbd_common::{
    backend::state,
    director::{Director, flag},
    maps::MAX_BACKENDS,
    ring::{NO_BACKEND, next, part_256ths},
    weigh::{first_is_lighter, is_at_limit, is_within_skew, load_with_queue},
};

use super::{admit::director, flow::lower};
use crate::xdp::tables::{
    backend::{Target, count_in, count_in_below, load, weight},
    maps::RINGS,
    sign,
};

/// Ring slots that are looked at for a candidate that may take a session. The daemon leaves
/// backends without a weight out of the ring it builds next; until then their slots are skipped.
const PROBES: u32 = 32;

/// The ids of three backends, 16 bits each: the one that takes a session, the other candidate where there
/// is one, and the one that the ring names. In place of the first [`Candidate::instead`] where none takes
/// it.
///
/// A function of its own for the same reason as [`probe_ring`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn choose(first: u32, second: u32, vip_id: u32, hash: u64, but: u32) -> u64 {
    let Some(director) = director() else {
        return Candidate(Candidate::NONE).instead() as u64;
    };
    let first = Candidate(probe_ring(director.ring_index, first, vip_id, 1));
    let second = Candidate(probe_ring(director.ring_index, second, vip_id, 1));
    let (a, b) = (first.id(), second.id());
    if !first.takes() && !second.takes() {
        let (first, second) = (first.instead(), second.instead());
        return if first < second { first } else { second } as u64;
    }
    if !first.takes() {
        return ids(b, b, b);
    }
    if !second.takes() {
        return ids(a, a, a);
    }
    // One is avoided where a whole stretch of the ring is its.
    let stays = if first.is_avoided() != second.is_avoided() {
        second.is_avoided()
    } else {
        stays(&first, &second, director, hash)
    };
    let (target, other) = if stays { (a, b) } else { (b, a) };
    if target == but {
        ids(other, target, a)
    } else {
        ids(target, other, a)
    }
}

#[inline(always)]
fn ids(target: u32, other: u32, first: u32) -> u64 {
    target as u64 | (other as u64) << 16 | (first as u64) << 32
}

/// Counts a session in with the first of two backends that has room for it; [`NO_BACKEND`], which no backend
/// is, where neither has. A function of its own for the same reason as [`probe_ring`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn count_in_one(target: u32, other: u32) -> u32 {
    for id in [target, other] {
        let limit = sign::standing(id as u16).session_limit;
        if limit == 0 {
            count_in(id as u16);
            return id;
        }
        if count_in_below(id as u16, limit) {
            return id;
        }
    }
    NO_BACKEND
}

/// The bits of a backend's id.
pub(super) const ID: u32 = 0xffff;

/// What [`probe_ring`] has found: from the highest bit on one of the kinds below, what the backend's queue
/// counts for, and its id. The lowest is the best.
#[derive(Clone, Copy)]
pub(crate) struct Candidate(pub(crate) u64);

impl Candidate {
    const KIND_SHIFT: u32 = 60;
    const QUEUE_SHIFT: u32 = 16;
    /// One that is avoided, which takes a session where nothing else can: if all are suspect, most likely
    /// it is this box that is cut off; without a listener anywhere one of them refuses the session, and its
    /// sender need not wait. What takes one without a doubt is 0.
    const AVOIDED: u64 = 1 << Self::KIND_SHIFT;
    /// It could take one, if it had not as many as it may.
    pub(crate) const FULL: u64 = 2 << Self::KIND_SHIFT;
    /// It could, if its MAC were known.
    pub(crate) const UNRESOLVED: u64 = 3 << Self::KIND_SHIFT;
    /// Nothing could.
    pub(crate) const NONE: u64 = 4 << Self::KIND_SHIFT;

    /// Whether it takes a session.
    #[inline(always)]
    pub(crate) fn takes(self) -> bool {
        self.0 < Self::FULL
    }

    #[inline(always)]
    pub(crate) fn is_avoided(self) -> bool {
        self.0 >= Self::AVOIDED
    }

    #[inline(always)]
    pub(crate) fn id(self) -> u32 {
        self.0 as u32 & ID
    }

    /// In place of an id, of what takes none: above all ids, and in the order of the kinds.
    #[inline(always)]
    pub(super) fn instead(self) -> u32 {
        0xfff0 | (self.0 >> Self::KIND_SHIFT) as u32
    }

    /// What the backend's queue counts for.
    #[inline(always)]
    pub(crate) fn queued_sessions(self) -> u32 {
        (self.0 >> Self::QUEUE_SHIFT) as u32
    }

    /// Sessions, and what the queue counts for.
    #[inline(always)]
    fn load(self) -> u64 {
        load_with_queue(load(self.id()), self.queued_sessions())
    }
}

/// The best [`Candidate`] from a slot on; the first without a doubt ends the search. One that has as many
/// sessions as it may is passed over if `limits` is not 0.
///
/// A function of its own, with numbers only going in and out, because the kernel verifies such a
/// function once and not for every way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn probe_ring(ring_index: u32, slot: u32, vip_id: u32, limits: u32) -> u64 {
    let Some(ring) = RINGS.get(ring_index) else {
        return Candidate::NONE;
    };
    let mut best = Candidate::NONE;
    let mut slot = slot;
    for _ in 0..PROBES {
        let id = ring.get(slot).copied().unwrap_or(NO_BACKEND);
        let found = candidate(id, vip_id, limits);
        if found < Candidate::AVOIDED {
            return found;
        }
        best = lower(best, found);
        slot = next(slot);
    }
    best
}

/// Whether a backend may take a session, as a [`Candidate`]. A function of its own for the same reason:
/// what it looks at is forgotten before the next slot.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn candidate(id: u32, vip_id: u32, limits: u32) -> u64 {
    let Some(target) = Target::get(id as u16).filter(|_| id < MAX_BACKENDS && weight(id) != 0)
    else {
        return Candidate::NONE;
    };
    if target.backend.state != state::UP {
        return if target.backend.state == state::UNRESOLVED {
            Candidate::UNRESOLVED
        } else {
            Candidate::NONE
        };
    }
    let standing = sign::standing(target.id);
    if limits != 0 && is_at_limit(load(id), standing.session_limit) {
        return Candidate::FULL;
    }
    let found = id as u64 | (standing.queued_sessions as u64) << Candidate::QUEUE_SHIFT;
    if standing.is_avoided(vip_id as u16) {
        return found | Candidate::AVOIDED;
    }
    found
}

/// Whether a session goes to the first of its two candidates.
#[inline(always)]
fn stays(first: &Candidate, second: &Candidate, director: &Director, hash: u64) -> bool {
    let (a, b) = (first.id(), second.id());
    if a == b {
        return true;
    }
    let (load_a, load_b) = (first.load(), second.load());
    if director.flags & flag::AFFINITY != 0 {
        let skew = director.affinity_skew_permille;
        is_within_skew(load_a, weight(a), load_b, weight(b), skew)
    } else {
        first_is_lighter(load_a, weight(a), load_b, weight(b), part_256ths(hash))
    }
}
