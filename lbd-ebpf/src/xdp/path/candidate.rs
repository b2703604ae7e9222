//! The candidates for a new session, and which of the two takes it.
use lbd_common::{
    backend::{mode, state},
    director::{Director, flag},
    ring::{NO_BACKEND, next, other, part_256ths},
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

/// What [`choose`] says: the ids of three backends, 16 bits each: the one that takes a session, the other
/// candidate where there is one, and the one that the ring names. In place of the first
/// [`Candidate::instead`] where none takes it.
#[derive(Clone, Copy)]
pub(super) struct Choice(u64);

impl Choice {
    #[inline(always)]
    fn none(why: Candidate) -> Self {
        Self(why.instead() as u64)
    }

    #[inline(always)]
    fn of(target: &Candidate, other: &Candidate, first: &Candidate) -> Self {
        let ids = target.id() as u64 | (other.id() as u64) << 16 | (first.id() as u64) << 32;
        Self(ids | (target.0 | other.0) & Candidate::SPECIAL)
    }

    /// The one that takes the session, or [`Candidate::instead`].
    #[inline(always)]
    pub(super) fn target(self) -> u32 {
        self.0 as u32 & ID
    }

    #[inline(always)]
    pub(super) fn other(self) -> u32 {
        (self.0 >> 16) as u32 & ID
    }

    #[inline(always)]
    pub(super) fn first(self) -> u32 {
        (self.0 >> 32) as u32 & ID
    }

    /// Whether one of the two is [`Candidate::SPECIAL`].
    #[inline(always)]
    pub(super) fn is_special(self) -> bool {
        self.0 & Candidate::SPECIAL != 0
    }
}

/// Chooses between the backends in two slots of the ring.
#[inline(always)]
pub(super) fn choose(slots: (u32, u32), vip_id: u32, hash: u64, but: u32) -> Choice {
    Choice(choose_in_ring(slots.0, slots.1, vip_id, hash, but))
}

/// A function of its own for the same reason as [`probe_ring`], and the only one that most new sessions
/// need. Where the kernel keeps a return from being predicted (`hw-vuln/srso.rst` of its
/// documentation), each call costs about 7 ns.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn choose_in_ring(first: u32, second: u32, vip_id: u32, hash: u64, but: u32) -> u64 {
    best(first, second, vip_id, hash, but)
        .unwrap_or(Choice::none(Candidate(Candidate::NONE)))
        .0
}

#[inline(always)]
fn best(first: u32, second: u32, vip_id: u32, hash: u64, but: u32) -> Option<Choice> {
    let director = director()?;
    let ring_index = director.ring_index;
    let ring = RINGS.get(ring_index)?;
    let id_in = |slot| ring.get(slot).copied().unwrap_or(NO_BACKEND);
    let (a, mut b, mut second) = (id_in(first), id_in(second), second);
    if a == b || b == NO_BACKEND {
        second = other_slot(ring_index, first, second);
        b = id_in(second);
    }
    let a = Weighed::of(a, ring_index, first, vip_id);
    let b = Weighed::of(b, ring_index, second, vip_id);
    let (first, second) = (a.candidate, b.candidate);
    Some(if !first.takes() && !second.takes() {
        Choice::none(if first.instead() < second.instead() {
            first
        } else {
            second
        })
    } else if !first.takes() {
        Choice::of(&second, &second, &second)
    } else if !second.takes() {
        Choice::of(&first, &first, &first)
    } else {
        // One is avoided where a whole stretch of the ring is its.
        let stays = if first.is_avoided() != second.is_avoided() {
            second.is_avoided()
        } else {
            stays(&a, &b, director, hash)
        };
        let (target, other) = if stays {
            (first, second)
        } else {
            (second, first)
        };
        if target.id() == but {
            Choice::of(&other, &target, &first)
        } else {
            Choice::of(&target, &other, &first)
        }
    })
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
const ID: u32 = 0xffff;

/// What [`probe_ring`] has found: from the highest bit on one of the kinds below, what the backend's queue
/// counts for, and its id. The lowest is the best.
#[derive(Clone, Copy)]
pub(crate) struct Candidate(pub(crate) u64);

impl Candidate {
    const KIND_SHIFT: u32 = 60;
    const QUEUE_SHIFT: u32 = 16;
    /// It has a limit or is of `nat`: there is more to look at before a session is counted in there.
    const SPECIAL: u64 = 1 << 48;
    /// One that is avoided, which takes a session where nothing else can: if all are suspect, most likely
    /// it is this box that is cut off; without a listener anywhere one of them refuses the session, and its
    /// sender need not wait. What takes one without a doubt is 0.
    const AVOIDED: u64 = 1 << Self::KIND_SHIFT;
    /// It could take one, if it had not as many as it may.
    pub(super) const FULL: u64 = 2 << Self::KIND_SHIFT;
    /// It could, if its MAC were known.
    pub(super) const UNRESOLVED: u64 = 3 << Self::KIND_SHIFT;
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
    pub(crate) fn is_full(self) -> bool {
        self.is_as(Self(Self::FULL))
    }

    #[inline(always)]
    pub(crate) fn is_unresolved(self) -> bool {
        self.is_as(Self(Self::UNRESOLVED))
    }

    /// Whether both are of one kind.
    #[inline(always)]
    pub(crate) fn is_as(self, other: Self) -> bool {
        self.0 >> Self::KIND_SHIFT == other.0 >> Self::KIND_SHIFT
    }

    /// Whose standing it is, if it is not [`Self::NONE`].
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
}

/// A candidate with what it is compared by.
struct Weighed {
    candidate: Candidate,
    weight: u32,
    /// Sessions, and what the queue counts for.
    load: u64,
}

impl Weighed {
    /// The best one from a slot on, which names the backend `id`. The slots behind it are looked at by a
    /// function of its own: nearly always the first one is taken.
    #[inline(always)]
    fn of(id: u32, ring_index: u32, slot: u32, vip_id: u32) -> Self {
        let (mut candidate, mut weight_permille) = judge(id, vip_id, 1);
        if candidate.0 >= Candidate::AVOIDED {
            candidate = Candidate(probe_ring(ring_index, slot, vip_id, 1));
            weight_permille = weight(candidate.id());
        }
        Self {
            candidate,
            weight: weight_permille,
            load: load_with_queue(load(candidate.id()), candidate.queued_sessions()),
        }
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

/// [`other`] on a ring. A function of its own for the same reason as [`probe_ring`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn other_slot(ring_index: u32, first: u32, second: u32) -> u32 {
    match RINGS.get(ring_index) {
        Some(ring) => other(first, second, |slot| ring.get(slot).copied()),
        None => second,
    }
}

/// Whether a backend may take a session, as a [`Candidate`]. A function of its own for the same reason:
/// what it looks at is forgotten before the next slot.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn candidate(id: u32, vip_id: u32, limits: u32) -> u64 {
    judge(id, vip_id, limits).0.0
}

/// Whether a backend may take a session, and its weight.
#[inline(always)]
fn judge(id: u32, vip_id: u32, limits: u32) -> (Candidate, u32) {
    let weight = weight(id);
    if weight == 0 {
        return (Candidate(Candidate::NONE), 0);
    }
    let Some(target) = Target::get(id as u16) else {
        return (Candidate(Candidate::NONE), 0);
    };
    if target.backend.state != state::UP {
        let is_unresolved = target.backend.state == state::UNRESOLVED;
        let kind = if is_unresolved {
            Candidate::UNRESOLVED | id as u64
        } else {
            Candidate::NONE
        };
        return (Candidate(kind), weight);
    }
    let standing = sign::standing(target.id);
    let mut found = id as u64 | (standing.queued_sessions as u64) << Candidate::QUEUE_SHIFT;
    if standing.session_limit != 0 {
        if limits != 0 && is_at_limit(load(id), standing.session_limit) {
            return (Candidate(Candidate::FULL | id as u64), weight);
        }
        found |= Candidate::SPECIAL;
    }
    if target.backend.mode == mode::NAT {
        found |= Candidate::SPECIAL;
    }
    if standing.is_avoided(vip_id as u16) {
        found |= Candidate::AVOIDED;
    }
    (Candidate(found), weight)
}

/// Whether a session goes to the first of its two candidates.
#[inline(always)]
fn stays(first: &Weighed, second: &Weighed, director: &Director, hash: u64) -> bool {
    if first.candidate.id() == second.candidate.id() {
        return true;
    }
    if director.flags & flag::AFFINITY != 0 {
        let skew = director.affinity_skew_permille;
        is_within_skew(first.load, first.weight, second.load, second.weight, skew)
    } else {
        let part = part_256ths(hash);
        first_is_lighter(first.load, first.weight, second.load, second.weight, part)
    }
}
