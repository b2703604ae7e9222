//! Chooses a backend for a frame that no flow speaks for.
use aya_ebpf::btf_maps::Array;
use lbd_common::{
    backend::state,
    counters::Reason,
    director::{Director, flag},
    event::kind as event_kind,
    flow::{self, flag::ADOPTED},
    maps::MAX_BACKENDS,
    ring::{NO_BACKEND, RING_SLOTS, candidates},
};

use super::{
    admit::{Admitted, Verdict, admit},
    candidate::{Candidate, choose, count_in_one, other_slot, probe_ring},
    flow::{insert, place},
    rate,
    segment::ForVip,
    socket,
};
use crate::xdp::{
    code,
    exit::{Exit, Stage, count},
    family::Family,
    forward::nat,
    packet::Packet,
    tables::{
        backend::{Target, count_in, count_out},
        event,
        maps::RINGS,
    },
};

/// What becomes of the frame.
pub(crate) enum Routed {
    /// It goes to a backend.
    To {
        /// Which.
        target: Target,
        /// Whether it made a new session.
        opened: bool,
    },
    /// Its sender is told to start anew.
    Reset(Reason),
}

type Ring = Array<u32, { RING_SLOTS as usize }>;

/// The complement of [`NO_BACKEND`], which is never written.
static mut NOT_NO_BACKEND: u32 = !NO_BACKEND;

/// [`NO_BACKEND`], read from memory: to the verifier it is any number then, and it follows all new sessions
/// once, whether they have a backend to avoid or not.
#[inline(always)]
pub(crate) fn no_backend() -> u32 {
    // SAFETY: the word is aligned and always there.
    !unsafe { (&raw const NOT_NO_BACKEND).read_volatile() }
}

/// Routes a frame without a flow; a new session goes to another backend than `but` where there is one.
#[inline(always)]
pub(crate) fn select<const K: usize, F: Family<K>>(
    packet: &Packet,
    frame: &ForVip<K>,
    but: u32,
) -> Stage<Routed> {
    let admitted = match admit::<K, F>(frame)? {
        Verdict::In(admitted) => admitted,
        Verdict::Reset(reason) => return Ok(Routed::Reset(reason)),
    };
    if frame.is_syn() {
        let slots = hashed_slots::<K, F>(frame, admitted.director);
        new_session::<K, F>(frame, &admitted, slots, but)
    } else {
        let slots = slots::<K, F>(frame, admitted.director);
        let target = owner(packet, admitted.director, slots)?;
        mid_flow::<K, F>(frame, admitted.director, target)
    }
}

/// The ring slots of the frame's two candidates.
#[inline(always)]
pub(crate) fn slots<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    director: &Director,
) -> (u32, u32) {
    let (first, second) = hashed_slots::<K, F>(frame, director);
    (first, other_slot(director.ring_index, first, second))
}

/// Likewise, where both may still name the same backend.
#[inline(always)]
fn hashed_slots<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    director: &Director,
) -> (u32, u32) {
    candidates(if director.flags & flag::AFFINITY != 0 {
        F::source_hash(&frame.key)
    } else {
        frame.hash
    })
}

#[inline(always)]
fn new_session<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    admitted: &Admitted,
    slots: (u32, u32),
    but: u32,
) -> Stage<Routed> {
    let director = admitted.director;
    if director.total_weight_permille == 0 {
        return Ok(Routed::Reset(Reason::ResetNoWeight));
    }
    let (_, _, vip_id) = F::parts(&frame.key);
    let vip_id = vip_id as u32;
    if admitted.flood {
        count(Reason::StatelessFlood);
        // No flow, so nothing is counted that a limit could hold.
        let first = Candidate(probe_ring(director.ring_index, slots.0, vip_id, 0));
        if !first.takes() {
            return refusal(first.instead());
        }
        let id = first.id();
        let target = Target::get(id as u16).ok_or(Exit::Drop(Reason::DropNoBackend))?;
        if !nat::needs_flow(target) {
            return Ok(to(target, false));
        }
        // Without a flow its replies could not be translated back. What the flood displaces, the
        // ring names again.
        let id = count_in_one(id, id);
        return new_flow::<K, F>(frame, director, id, id, NO_BACKEND);
    }
    let chosen = choose(slots, vip_id, frame.hash, but);
    let mut target = chosen.target();
    if target >= MAX_BACKENDS {
        return refusal(target);
    }
    if chosen.is_special() {
        let other = chosen.other();
        if has_twin::<K, F>(frame, target) {
            target = other;
        }
        target = count_in_one(target, other);
    } else {
        count_in(target as u16);
    }
    new_flow::<K, F>(frame, director, target, chosen.first(), but)
}

/// Whether the client uses its port for another service before the same port of a backend of `nat`.
#[inline(always)]
fn has_twin<const K: usize, F: Family<K>>(frame: &ForVip<K>, id: u32) -> bool {
    Target::get(id as u16).is_some_and(|target| nat::has_twin::<K, F>(frame, target))
}

/// What becomes of a session that no backend takes: see [`Candidate::instead`]. A sender that is reset
/// tries its next MX at once.
#[inline(always)]
fn refusal(instead: u32) -> Stage<Routed> {
    if instead == Candidate(Candidate::FULL).instead() {
        return Ok(Routed::Reset(Reason::ResetFull));
    }
    Err(Exit::Drop(
        if instead == Candidate(Candidate::UNRESOLVED).instead() {
            Reason::DropUnresolved
        } else {
            Reason::DropNoBackend
        },
    ))
}

/// Makes a flow to a backend, with which it is counted in already, or [`NO_BACKEND`] where another CPU has just
/// given the last session that there was to give; without room in the table the frame goes to `first`, as
/// those after it will.
#[inline(always)]
fn new_flow<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    director: &Director,
    id: u32,
    first: u32,
    but: u32,
) -> Stage<Routed> {
    let Some(target) = Target::get(id as u16) else {
        return Ok(Routed::Reset(Reason::ResetFull));
    };
    if nat::has_twin::<K, F>(frame, target) {
        count_out(target.id);
        return Err(Exit::Drop(Reason::DropNatTwin));
    }
    if but != NO_BACKEND && id != but {
        count(Reason::SynMoved);
    }
    let half_open = flow::state::HALF_OPEN;
    if place::<K, F>(frame, target.id, half_open, 0, director.idle_units) {
        event::emit::<K, F>(&frame.key, target.id, event_kind::OPENING);
        return Ok(to(target, true));
    }
    count_out(target.id);
    count(Reason::FlowNoRoom);
    let first = Target::get(first as u16).ok_or(Exit::Drop(Reason::DropNoBackend))?;
    if nat::needs_flow(first) {
        return Err(Exit::Drop(Reason::DropNatNoFlow));
    }
    Ok(to(first, true))
}

#[inline(always)]
fn to(target: Target, opened: bool) -> Routed {
    Routed::To { target, opened }
}

/// The backend that the ring alone names for a frame in mid-session: its first candidate, also when that takes no
/// new sessions.
#[inline(always)]
pub(crate) fn by_ring(director: &Director, (first, second): (u32, u32)) -> Stage<Target> {
    let Some(ring) = RINGS.get(director.ring_index) else {
        return Err(Exit::Drop(Reason::DropNoBackend));
    };
    let Some(target) = continuing(ring, first).or_else(|| continuing(ring, second)) else {
        return Err(Exit::Drop(Reason::DropNoBackend));
    };
    Ok(target)
}

/// The backend that a session without a flow is with, as far as the ring and this box's own sockets tell: if this
/// box is one of the candidates, it knows which of them.
#[inline(always)]
fn owner(packet: &Packet, director: &Director, (first, second): (u32, u32)) -> Stage<Target> {
    let Some(ring) = RINGS.get(director.ring_index) else {
        return Err(Exit::Drop(Reason::DropNoBackend));
    };
    let (one, other) = match (continuing(ring, first), continuing(ring, second)) {
        (Some(one), Some(other)) => (one, other),
        (Some(one), None) | (None, Some(one)) => return Ok(one),
        (None, None) => return Err(Exit::Drop(Reason::DropNoBackend)),
    };
    if one.is_local() == other.is_local() {
        return Ok(one);
    }
    let is_local = match socket::find(packet) & code::WHOSE {
        code::OWN => true,
        code::NOT_OWN => false,
        _ => return Ok(one),
    };
    Ok(if one.is_local() == is_local {
        one
    } else {
        other
    })
}

/// This box, if it is one of a session's candidates.
#[inline(always)]
pub(crate) fn own_candidate(director: &Director, (first, second): (u32, u32)) -> Option<Target> {
    let ring = RINGS.get(director.ring_index)?;
    continuing(ring, first)
        .filter(|target| target.is_local())
        .or_else(|| continuing(ring, second).filter(|target| target.is_local()))
}

/// Who else than this box may have a session: the candidate that is not this box; if neither is, the
/// first one. The state of their entries is for the caller to see to.
#[inline(always)]
pub(crate) fn other_than_own(director: &Director, (first, second): (u32, u32)) -> Option<Target> {
    let ring = RINGS.get(director.ring_index)?;
    continuing(ring, first)
        .filter(|target| !target.is_local())
        .or_else(|| continuing(ring, second).filter(|target| !target.is_local()))
}

/// The ring alone speaks for a frame in mid-session. So that the session stays there through the next
/// ring, it becomes a flow, while the daemon has it so: after a takeover, a start or a new ring.
#[inline(always)]
fn mid_flow<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    director: &Director,
    target: Target,
) -> Stage<Routed> {
    if target.backend.state == state::UNRESOLVED {
        return Err(Exit::Drop(Reason::DropUnresolved));
    }
    let unproven = flow::state::UNPROVEN;
    let needs_flow = nat::needs_flow(target);
    let becomes_flow = frame.is_data() || needs_flow && !frame.is_reset();
    if becomes_flow
        && rate::may_adopt(director.adopt_per_second)
        && insert::<K, F>(frame, target.id, unproven, ADOPTED, director.idle_units)
    {
        event::emit::<K, F>(&frame.key, target.id, event_kind::OPENED);
        count(Reason::FlowAdopted);
    } else if needs_flow && !frame.is_reset() {
        return Err(Exit::Drop(Reason::DropNatNoFlow));
    } else {
        count(Reason::StatelessMidFlow);
    }
    Ok(to(target, false))
}

/// The backend in a ring's slot, if sessions may go on there.
#[inline(always)]
fn continuing(ring: &Ring, slot: u32) -> Option<Target> {
    at(ring, slot).filter(|target| matches!(target.backend.state, state::UP | state::UNRESOLVED))
}

/// The backend in a ring's slot.
#[inline(always)]
fn at(ring: &Ring, slot: u32) -> Option<Target> {
    let id = *ring.get(slot)?;
    if id == NO_BACKEND {
        return None;
    }
    Target::get(id as u16)
}
