//! The look before: whether the frame is traced, and what it will be decided from.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{
    counters::Reason,
    director::{flag, role},
    flow::{FlowWord, state},
    ring::NO_BACKEND,
    trace::{FULL, NO_BACKEND_ID, TraceRecord, TraceScratch, UNRESOLVED, about, kind},
};
use lbd_ebpf::wire::{
    field::ethernet::MACS,
    frame::{Frame, u32_at},
    parse::{self, tcp_flag},
};

use super::{
    TRACE_CLIENT_HIGH, TRACE_CLIENT_LOW, TRACE_FAMILY, TRACE_MASK_HIGH, TRACE_MASK_LOW,
    TRACE_PORT_BE, TRACE_UNTIL_NS, TRACE_VIP_FAMILY, TRACE_VIP_HIGH, TRACE_VIP_LOW, boot_ns,
    scratch, subject,
};
use crate::xdp::{
    family::{V4, V6},
    forward::nat,
    packet::Packet,
    path::{
        admit,
        candidate::{Candidate, candidate as standing, probe_ring},
        select,
    },
    tables::{
        backend::{load, weight},
        maps::{BACKEND_STATS, COUNTERS, RINGS},
        node::is_node,
    },
};

/// Prepares the record of a frame that is traced.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn look_before(ctx: *mut xdp_md) -> u32 {
    let now_ns = boot_ns();
    let Some(scratch) = scratch() else {
        return 0;
    };
    scratch.is_traced = 0;
    if now_ns >= TRACE_UNTIL_NS.load() {
        return 0;
    }
    clear(&mut scratch.record);
    scratch.record.at_ns = now_ns;
    let is_subject = subject::trace_segment(ctx) != 0
        || subject::trace_error(ctx) != 0
        || subject::trace_tunnel(ctx) != 0
        || subject::trace_other(ctx) != 0;
    if !is_subject || !matches(scratch) {
        return 0;
    }
    note_state(ctx);
    note_candidates();
    note_counters();
    scratch.is_traced = 1;
    1
}

/// Word by word, because the compiler would call memset.
#[inline(always)]
fn clear(record: &mut TraceRecord) {
    let words = (&raw mut *record).cast::<u64>();
    for word in 0..size_of::<TraceRecord>() / 8 {
        // SAFETY: the words of a record, which consists of integers only.
        unsafe { words.add(word).write_volatile(0) };
    }
    record.backend = NO_BACKEND_ID;
    for candidate in &mut record.candidates {
        candidate.id = NO_BACKEND_ID;
        candidate.in_ring = NO_BACKEND_ID;
        candidate.kept_out = NO_BACKEND_ID;
    }
}

/// Whether the client, a port and the virtual address are those that are asked for.
#[inline(always)]
fn matches(scratch: &TraceScratch) -> bool {
    let record = &scratch.record;
    let family = TRACE_FAMILY.load();
    if family != 0 && record.family as u32 != family {
        return false;
    }
    let [high, low, _] = scratch.name;
    if (high ^ TRACE_CLIENT_HIGH.load()) & TRACE_MASK_HIGH.load() != 0
        || (low ^ TRACE_CLIENT_LOW.load()) & TRACE_MASK_LOW.load() != 0
    {
        return false;
    }
    let port = TRACE_PORT_BE.load();
    if port != 0 && record.client_port_be as u32 != port && record.vip_port_be as u32 != port {
        return false;
    }
    let vip_family = TRACE_VIP_FAMILY.load();
    let [a, b, c, d] = record.vip;
    vip_family == 0
        || record.family as u32 == vip_family
            && a as u64 | (b as u64) << 32 == TRACE_VIP_HIGH.load()
            && c as u64 | (d as u64) << 32 == TRACE_VIP_LOW.load()
}

/// The flow, the role, who has sent the frame, and its MACs.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_state(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let Some(scratch) = scratch() else {
        return 0;
    };
    let [high, low, rest] = scratch.name;
    let record = &mut scratch.record;
    record.flow_before = word(high, low, rest);
    let flow = FlowWord::from_bits(record.flow_before);
    if flow.state != state::FREE {
        record.flow_weight_permille = weight(flow.backend as u32);
    }
    if let Some(director) = admit::director() {
        if director.role == role::MASTER {
            record.about |= about::MASTER;
        }
        if admit::holds_lease(director) {
            record.about |= about::LEASE;
        }
        if director.flags & flag::LISTS != 0 {
            record.about |= about::LISTS;
        }
    }
    if parse::sender(&packet).is_some_and(is_node) {
        record.about |= about::FROM_NODE;
    }
    record.ifindex = packet.context().ingress_ifindex() as u32;
    record.length_before = packet.len() as u32;
    if let Some(head) = packet.window::<MACS>(0) {
        record.macs_before = [u32_at(head, 0), u32_at(head, 4), u32_at(head, 8)];
    }
    1
}

/// The word of the client's flow; 0 if there is none.
#[inline(always)]
pub(super) fn word(high: u64, low: u64, rest: u64) -> u64 {
    if rest >> 32 != 0 {
        nat::flow_word4(high, rest)
    } else {
        nat::flow_word6(high, low, rest)
    }
}

/// The backends that the ring names for a session that has no flow, or that begins.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_candidates() -> u32 {
    let (Some(scratch), Some(director)) = (scratch(), admit::director()) else {
        return 0;
    };
    let [high, low, rest] = scratch.name;
    let record = &mut scratch.record;
    let is_segment = matches!(record.kind, kind::SEGMENT | kind::TUNNELLED);
    let is_syn = is_segment && record.flags & tcp_flag::SYN != 0;
    let has_flow = FlowWord::from_bits(record.flow_before).state != state::FREE;
    let is_reply = matches!(record.kind, kind::REPLY | kind::ERROR_REPLY);
    if record.vip_id == 0 || is_reply || has_flow && !is_syn {
        return 0;
    }
    let (first, second) = if rest >> 32 != 0 {
        select::slots::<1, V4>(&nat::frame4(high, rest), director)
    } else {
        select::slots::<3, V6>(&nat::frame6(high, low, rest), director)
    };
    record.about |= about::CANDIDATES;
    let ring = director.ring_index;
    for (index, slot) in [first, second].into_iter().enumerate() {
        let in_ring = in_ring(ring, slot);
        let found = Candidate(if is_syn {
            probe_ring(ring, slot, record.vip_id as u32, 1)
        } else if in_ring == NO_BACKEND {
            Candidate::NONE
        } else {
            in_ring as u64
        });
        let candidate = &mut record.candidates[index];
        candidate.in_ring = in_ring as u16;
        if found.takes() {
            let id = found.id();
            candidate.id = id as u16;
            candidate.weight_permille = weight(id);
            candidate.load = load(id);
            candidate.queued_sessions = found.queued_sessions();
            if found.is_avoided() {
                record.about |= about::FIRST_AVOIDED << index;
            }
        } else if found.is_unresolved() {
            candidate.id = UNRESOLVED;
            candidate.kept_out = kept_out(found, in_ring, record.vip_id as u32);
        } else if found.is_full() {
            candidate.id = FULL;
            candidate.kept_out = kept_out(found, in_ring, record.vip_id as u32);
        }
    }
    1
}

/// Of several that are kept out for the same reason the one in the slot itself, if it is among them.
#[inline(always)]
fn kept_out(found: Candidate, in_ring: u32, vip_id: u32) -> u16 {
    if found.is_as(Candidate(standing(in_ring, vip_id, 1))) {
        in_ring as u16
    } else {
        found.id() as u16
    }
}

/// The backend's id in a ring's slot, or [`NO_BACKEND`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn in_ring(ring_index: u32, slot: u32) -> u32 {
    RINGS
        .get(ring_index)
        .and_then(|ring| ring.get(slot).copied())
        .unwrap_or(NO_BACKEND)
}

/// The counters, to see afterwards which of them were counted.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_counters() -> u32 {
    let Some(scratch) = scratch() else {
        return 0;
    };
    if let Some(counters) = COUNTERS.get_ptr(0) {
        for index in 0..Reason::COUNT as usize {
            // SAFETY: the entry is this CPU's own, and `Counters` is as many `u64` as there are reasons.
            let counted = unsafe { counters.cast::<u64>().add(index).read_volatile() };
            scratch.counters[index] = counted;
        }
    }
    for index in 0..3 {
        scratch.packets[index] = packets(of_interest(&scratch.record, index));
    }
    1
}

/// The ids of the flow's backend and of the two candidates.
#[inline(always)]
pub(super) fn of_interest(record: &TraceRecord, index: usize) -> u16 {
    let flow = FlowWord::from_bits(record.flow_before);
    match index {
        0 if flow.state == state::FREE => NO_BACKEND_ID,
        0 => flow.backend,
        1 => record.candidates[0].id,
        _ => record.candidates[1].id,
    }
}

/// Frames that this CPU has counted for a backend.
#[inline(always)]
pub(super) fn packets(id: u16) -> u64 {
    match BACKEND_STATS.get_ptr(id as u32) {
        // SAFETY: the entry is this CPU's own.
        Some(stats) => unsafe { (*stats).packets },
        None => 0,
    }
}
