//! Chooses a backend for a frame that no flow speaks for.
use aya_ebpf::btf_maps::Array;
use lbd_common::{
    backend::state,
    counters::Reason,
    director::{Director, flag},
    event::kind as event_kind,
    flow::{self, flag::ADOPTED},
    maps::MAX_BACKENDS,
    ring::{NO_BACKEND, RING_SLOTS, candidates, next, other, part_256ths},
    weigh::{first_is_lighter, is_within_skew},
};

use super::{
    admit::{Admitted, Verdict, admit},
    flow::insert,
    rate,
    segment::ForVip,
    socket,
};
use crate::xdp::{
    code::{self, AVOIDED, NOBODY, UNRESOLVED},
    exit::{Exit, Stage, count},
    family::Family,
    forward::nat,
    packet::Packet,
    tables::{
        backend::{Target, load, weight},
        event,
        maps::RINGS,
        sign,
    },
};

/// Ring slots that are looked at for a candidate that may take a session. The daemon leaves
/// backends without a weight out of the ring it builds next; until then their slots are skipped.
const PROBES: u32 = 32;

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

/// [`NOBODY`], in a function of its own: to the verifier it is any number then, and it follows all new
/// sessions once, whether they have a backend to avoid or not.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn nobody() -> u32 {
    core::hint::black_box(NOBODY)
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
    let slots = slots::<K, F>(frame, admitted.director);
    if frame.is_syn() {
        new_session::<K, F>(frame, &admitted, slots, but)
    } else {
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
    let (first, second) = candidates(if director.flags & flag::AFFINITY != 0 {
        F::source_hash(&frame.key)
    } else {
        frame.hash
    });
    (first, other_slot(director.ring_index, first, second))
}

/// [`other`] on a ring. A function of its own for the same reason as [`probe_ring`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn other_slot(ring_index: u32, first: u32, second: u32) -> u32 {
    match RINGS.get(ring_index) {
        Some(ring) => other(first, second, |slot| ring.get(slot).copied()),
        None => second,
    }
}

#[inline(always)]
fn new_session<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    admitted: &Admitted,
    (first, second): (u32, u32),
    but: u32,
) -> Stage<Routed> {
    let director = admitted.director;
    if director.total_weight_permille == 0 {
        return Ok(Routed::Reset(Reason::ResetNoWeight));
    }
    let (_, _, vip_id) = F::parts(&frame.key);
    let first = candidate(director.ring_index, first, vip_id);
    if admitted.flood {
        count(Reason::StatelessFlood);
        let (first, _) = first?;
        if nat::needs_flow(first) {
            // Without a flow its replies could not be translated back. What the flood displaces, the
            // ring names again.
            return new_flow::<K, F>(frame, director, first, first);
        }
        return Ok(to(first, false));
    }
    let second = candidate(director.ring_index, second, vip_id);
    let target = match (first, second) {
        (Ok((first, first_is_avoided)), Ok((second, second_is_avoided))) => {
            // One is avoided where a whole stretch of the ring is its.
            let target = match (first_is_avoided, second_is_avoided) {
                (true, false) => second,
                (false, true) => first,
                _ => lighter(first, second, director, frame.hash),
            };
            if target.id as u32 == but || nat::has_twin::<K, F>(frame, target) {
                if target.id == first.id { second } else { first }
            } else {
                target
            }
        }
        (Ok((one, _)), Err(_)) | (Err(_), Ok((one, _))) => one,
        (Err(exit), Err(_)) => return Err(exit),
    };
    if but != NOBODY && target.id as u32 != but {
        count(Reason::SynMoved);
    }
    let first = first.map_or(target, |(first, _)| first);
    new_flow::<K, F>(frame, director, target, first)
}

/// Makes a flow to `target`; without room the frame goes to `first`, as those after it will.
#[inline(always)]
fn new_flow<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    director: &Director,
    target: Target,
    first: Target,
) -> Stage<Routed> {
    if nat::has_twin::<K, F>(frame, target) {
        return Err(Exit::Drop(Reason::DropNatTwin));
    }
    let half_open = flow::state::HALF_OPEN;
    if insert::<K, F>(frame, target.id, half_open, 0, director.idle_units) {
        event::emit::<K, F>(&frame.key, target.id, event_kind::OPENING);
        return Ok(to(target, true));
    }
    count(Reason::FlowNoRoom);
    if nat::needs_flow(first) {
        return Err(Exit::Drop(Reason::DropNatNoFlow));
    }
    Ok(to(first, true))
}

#[inline(always)]
fn to(target: Target, opened: bool) -> Routed {
    Routed::To { target, opened }
}

/// Whom the ring alone names for a frame in mid-session: its first candidate, also when that takes no
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

/// Whom a session without a flow is with, as far as the ring and this box's own sockets tell: if this
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

/// The first backend from a slot on that may take a session of a service, and whether it is avoided.
#[inline(always)]
fn candidate(ring_index: u32, slot: u32, vip_id: u16) -> Stage<(Target, bool)> {
    let found = probe_ring(ring_index, slot, vip_id as u32);
    let id = found & !AVOIDED;
    if id < MAX_BACKENDS as u64 {
        let target = Target::get(id as u16).ok_or(Exit::Drop(Reason::DropNoBackend))?;
        return Ok((target, found != id));
    }
    Err(Exit::Drop(if found == UNRESOLVED as u64 {
        Reason::DropUnresolved
    } else {
        Reason::DropNoBackend
    }))
}

/// The id of the first backend from a slot on that may take a session of a service, with [`AVOIDED`] if it
/// is.
///
/// A function of its own, with numbers only going in and out, because the kernel verifies such a
/// function once and not for every way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn probe_ring(ring_index: u32, slot: u32, vip_id: u32) -> u64 {
    let Some(ring) = RINGS.get(ring_index) else {
        return NOBODY as u64;
    };
    let mut why = NOBODY as u64;
    let mut avoided = NOBODY as u64;
    let mut slot = slot;
    for _ in 0..PROBES {
        if let Some(target) = at(ring, slot)
            && weight(target.id as u32) != 0
        {
            if target.backend.state == state::UP {
                if !sign::is_avoided(target.id, vip_id as u16) {
                    return target.id as u64;
                }
                avoided = target.id as u64 | AVOIDED;
            } else if target.backend.state == state::UNRESOLVED {
                why = UNRESOLVED as u64;
            }
        }
        slot = next(slot);
    }
    // All of them suspect: most likely it is this box that is cut off. Without a listener anywhere: one of
    // them refuses the session, and its sender need not wait.
    if avoided == NOBODY as u64 {
        why
    } else {
        avoided
    }
}

#[inline(always)]
fn lighter(first: Target, second: Target, director: &Director, hash: u64) -> Target {
    let (a, b) = (first.id as u32, second.id as u32);
    if a == b {
        return first;
    }
    let (load_a, load_b) = (load(a), load(b));
    let stays = if director.flags & flag::AFFINITY != 0 {
        let skew = director.affinity_skew_permille;
        is_within_skew(load_a, weight(a), load_b, weight(b), skew)
    } else {
        first_is_lighter(load_a, weight(a), load_b, weight(b), part_256ths(hash))
    };
    if stays { first } else { second }
}
