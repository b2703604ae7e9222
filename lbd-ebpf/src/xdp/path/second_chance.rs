//! What another box of the cluster has steered to this one: it goes up, and a frame in mid-session
//! whose session is not here has a *second chance* before the stack would reset it.
//!
//! A director that knows no flow (the previous one died without sharing it) can only ask the ring, which
//! names two candidates, and the session is at either. So the first that is handed the frame and does
//! not have the session hands it on to the other, marked ([`lbd_ebpf::wire::mark`]). A marked frame goes up
//! in any case, so no frame is steered in a circle: it passes three boxes at most, the one
//! that steered it and two more, regardless of their flow tables and rings.
//!
//! The second one, once it has the session, says so to the other nodes' daemons: the director learns
//! whose the session is, and its next frames come straight.
//!
//! A missing socket is no proof that the session is elsewhere: the service may redirect some sources to
//! another port, or keep their sockets in a container. So a session whose SYN was handed to this box is noted
//! in its flow table ([`begin`]), and stays here regardless of the socket table ([`began_here`]).
//!
//! ICMP errors go up at once: which box has the session that one is about is not worth two lookups.
use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    programs::XdpContext,
};
use lbd_common::{
    backend::{mode, state},
    counters::Reason,
    director::{Director, flag},
    event::kind,
    flow::{FlowWord, flag as flow_flag, state as flow_state},
};
use lbd_ebpf::wire::mark;

use super::{
    admit, flow,
    lists::Listed,
    rate,
    segment::{ForVip, frame4, frame6},
    select::{other_than_own, own_candidate, slots},
    socket,
};
use crate::xdp::{
    code,
    exit::{Exit, Stage, count},
    family::{Family, V4, V6},
    forward::{
        hop::{Hop, next_hop},
        nat,
        send::forward,
        translate::segment,
        tunnel,
    },
    packet::Packet,
    tables::{backend::Target, clock, event},
};

/// Decides a frame for a VIP's service from another box, of which is noted only whether it was
/// counted already.
#[inline(always)]
pub(crate) fn handed(ctx: *mut xdp_md, counts: bool) -> u32 {
    let found = socket::find_socket(ctx);
    if found & code::BEGINS != 0 {
        match begin(ctx, !counts as u32) {
            code::DENIED => return Exit::Drop(Reason::DropDenied).finish(),
            code::ODD_SOURCE => return Exit::Drop(Reason::DropOddSource).finish(),
            _ => {}
        }
    }
    let mut whose = found & code::WHOSE;
    if whose == code::NOT_OWN && began_here(ctx) != 0 {
        whose = code::KEPT;
    }
    if found & code::MARKED != 0 {
        return last(ctx, whose);
    }
    if whose == code::NOT_OWN {
        let other = other_candidate(ctx);
        return match other {
            code::NO_BACKEND => Exit::Pass(Reason::PassNoSession).finish(),
            code::UNRESOLVED => Exit::Drop(Reason::DropUnresolved).finish(),
            id => hand_on(ctx, id),
        };
    }
    if counts {
        count(Reason::PassFromNode);
    }
    xdp_action::XDP_PASS
}

/// Notes that a session begins on this box, unless it may not.
///
/// Who put a packet into a tunnel is known by the outer source alone, which others can forge where the
/// network lets them: so what comes out of one is judged as at the director. What comes from a box's
/// MAC was judged there.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn begin(ctx: *mut xdp_md, is_tunnelled: u32) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let is_tunnelled = is_tunnelled != 0;
    let Some((place, ends)) = segment(&packet) else {
        return code::BEGUN;
    };
    let Some(director) = admit::director() else {
        return code::BEGUN;
    };
    let judged = if place.is_v4 {
        frame4(&ends).map(|frame| begin_flow::<1, V4>(&frame, director, is_tunnelled))
    } else {
        frame6(&ends).map(|frame| begin_flow::<3, V6>(&frame, director, is_tunnelled))
    };
    judged.unwrap_or(code::BEGUN)
}

#[inline(always)]
fn begin_flow<const K: usize, F: Family<K>>(
    frame: &ForVip<K>,
    director: &Director,
    is_tunnelled: bool,
) -> u32 {
    if is_tunnelled {
        if F::is_odd_source(&frame.key) {
            return code::ODD_SOURCE;
        }
        if director.flags & flag::LISTS != 0 && F::listed(&frame.key) == Listed::Denied {
            return code::DENIED;
        }
    }
    if !rate::is_flood(director.flood_per_second)
        && flow::find::<K, F>(frame).is_none()
        && let Some(own) = own_candidate(director, slots::<K, F>(frame, director))
    {
        let state = flow_state::HALF_OPEN;
        flow::insert::<K, F>(frame, own.id, state, 0, director.idle_units);
    }
    code::BEGUN
}

/// Whether the session began on this box, as its own flow table has it and no peer has said. It is noted
/// that it goes on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn began_here(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let Some((place, ends)) = segment(&packet) else {
        return 0;
    };
    let began = if place.is_v4 {
        frame4(&ends).is_some_and(|frame| is_begun::<1, V4>(&frame))
    } else {
        frame6(&ends).is_some_and(|frame| is_begun::<3, V6>(&frame))
    };
    began as u32
}

#[inline(always)]
fn is_begun<const K: usize, F: Family<K>>(frame: &ForVip<K>) -> bool {
    let Some(known) = flow::find::<K, F>(frame) else {
        return false;
    };
    let word = known.word();
    let is_told = word.flags & (flow_flag::FROM_PEER | flow_flag::ADOPTED) != 0;
    if is_told || matches!(word.state, flow_state::ENDED | flow_state::DOOMED) {
        return false;
    }
    if !Target::get(word.backend).is_some_and(Target::is_local) {
        return false;
    }
    // No more than unproven: a stranger's SYN and ACK are handed here like a client's. Where the session has a
    // socket that the kernel tells of, the daemon proves it.
    if frame.is_data() && (word.state == flow_state::HALF_OPEN || !known.is_noted()) {
        let seen = clock::seen();
        let mut new = FlowWord { seen, ..word };
        if word.state == flow_state::HALF_OPEN {
            new.state = flow_state::UNPROVEN;
            new.flags = flow_flag::COUNTED;
        }
        flow::change(&known, new);
    }
    true
}

/// A marked frame goes up without its mark.
#[inline(always)]
fn last(ctx: *mut xdp_md, whose: u32) -> u32 {
    if put_mark(ctx, 0) == 0 {
        return Exit::Drop(Reason::DropRewriteFailed).finish();
    }
    if whose == code::OWN {
        claim(ctx);
    }
    Exit::Pass(match whose {
        code::OWN => Reason::SecondChanceFound,
        code::NOT_OWN => Reason::PassNoSession,
        _ => Reason::PassFromNode,
    })
    .finish()
}

/// Sets the frame's mark or takes it off; 0 if it is no TCP segment.
///
/// A function of its own, like those that follow: what they need of the stack does not add up.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn put_mark(ctx: *mut xdp_md, marked: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    let Some((place, _)) = segment(&packet) else {
        return 0;
    };
    let Some(tcp) = packet.window_mut(place.transport) else {
        return 0;
    };
    mark::put(tcp, marked != 0);
    1
}

/// Makes a session that a second chance has found a flow of this box, and tells of it, so that the
/// director learns whose it is and the frames after this one come straight.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn claim(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    claim_session(&packet).is_some() as u32
}

#[inline(always)]
fn claim_session(packet: &Packet) -> Option<()> {
    let (place, ends) = segment(packet)?;
    let director = admit::director()?;
    if place.is_v4 {
        claim_flow::<1, V4>(&frame4(&ends)?, director)
    } else {
        claim_flow::<3, V6>(&frame6(&ends)?, director)
    }
}

#[inline(always)]
fn claim_flow<const K: usize, F: Family<K>>(frame: &ForVip<K>, director: &Director) -> Option<()> {
    if !frame.is_data() {
        return None;
    }
    let own = own_candidate(director, slots::<K, F>(frame, director))?;
    let is_new = match flow::find::<K, F>(frame) {
        // Told just now; a peer that has not learnt it for long did not hear it.
        Some(known) if known.backend() == own.id && known.is_noted() => false,
        Some(known) => flow::redirect(&known, own.id),
        None => {
            let (state, idle_units) = (flow_state::ESTABLISHED, director.idle_units);
            flow::insert::<K, F>(frame, own.id, state, 0, idle_units)
        }
    };
    if is_new {
        event::emit::<K, F>(&frame.key, own.id, kind::OPENED);
    }
    Some(())
}

/// The id of the other candidate of a frame's session.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn other_candidate(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    match candidate(&packet) {
        // Its session lives by the translation of one director, which keeps the flow for it.
        Some(target) if nat::needs_flow(target) => code::NO_BACKEND,
        Some(target) if target.backend.state == state::UP => target.id as u32,
        Some(target) if target.backend.state == state::UNRESOLVED => code::UNRESOLVED,
        _ => code::NO_BACKEND,
    }
}

#[inline(always)]
fn candidate(packet: &Packet) -> Option<Target> {
    let (place, ends) = segment(packet)?;
    let director = admit::director()?;
    let slots = if place.is_v4 {
        slots::<1, V4>(&frame4(&ends)?, director)
    } else {
        slots::<3, V6>(&frame6(&ends)?, director)
    };
    other_than_own(director, slots)
}

/// Sends the frame on to a backend, marked.
#[inline(always)]
fn hand_on(ctx: *mut xdp_md, id: u32) -> u32 {
    if put_mark(ctx, 1) == 0 {
        return Exit::Drop(Reason::DropRewriteFailed).finish();
    }
    hand_on_marked(ctx, id)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hand_on_marked(ctx: *mut xdp_md, id: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    match address_to(&mut packet, id).and_then(|hop| forward(&packet, hop)) {
        Ok(action) => {
            count(Reason::SecondChance);
            action
        }
        Err(exit) => exit.finish(),
    }
}

#[inline(always)]
fn address_to(packet: &mut Packet, id: u32) -> Stage<Hop> {
    let Some(target) = Target::get(id as u16) else {
        return Err(Exit::Drop(Reason::DropNoBackend));
    };
    if target.backend.mode == mode::IPIP {
        // Not answered when it is too long: the answer would go to the box that steered the frame.
        return tunnel::encapsulate_if_it_fits(packet, target);
    }
    next_hop(packet, target.backend)?;
    Ok(Hop::towards(target.backend))
}
