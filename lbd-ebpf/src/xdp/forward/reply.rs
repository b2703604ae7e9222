//! `forwarding: nat`, towards the client: a backend's reply becomes the VIP's.
//!
//! A frame is a reply when its source is a `nat` backend's address and port and the flow table has
//! the client's session with that backend. The backend's own connections (mail that it sends) come
//! from other ports or have no flow: they pass untouched, and the kernel routes them.
//!
//! Any node that knows the flow translates, also one that is not the master.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{
    counters::Reason,
    director::flag,
    event::kind,
    flow::state,
    node::mac_to_u64,
    reply::{ReplyKey, ReplyService},
};
use lbd_ebpf::wire::{
    field,
    frame::Frame,
    parse::{self, Ipv4, Ipv6, Tcp, tcp_flag},
};

use super::{
    error,
    hop::Hop,
    nat::{FlowName, frame4, frame6, reply},
    route::{Way, look_up},
    send::forward,
    translate::{Ends, Place, Side, replace, segment},
};
use crate::xdp::{
    code,
    exit::{Exit, NOT_OURS, Stage, count},
    family::{Family, V4, V6},
    packet::Packet,
    path::{admit, flow, follow, rate, segment::ForVip},
    tables::{event, maps::BACKENDS, sign},
};

/// Whether no backend is `nat`, so that no frame is a reply.
#[inline(always)]
pub(crate) fn are_none() -> bool {
    admit::director().is_none_or(|director| director.flags & flag::NAT == 0)
}

/// What becomes of a frame that is for no VIP.
#[inline(always)]
pub(crate) fn from_backend() -> Exit {
    if are_none() {
        NOT_OURS
    } else {
        Exit::Done(code::REPLY)
    }
}

/// Decides what [`from_backend`] has left.
#[inline(always)]
pub(crate) fn translate(ctx: *mut xdp_md) -> u32 {
    match translate_reply(ctx) {
        code::NO_SEGMENT => translate_error(ctx),
        action => action,
    }
}

/// A function of its own, that parses the frame anew: the kernel verifies it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_reply(ctx: *mut xdp_md) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    match back_to_client(&mut packet) {
        Ok(action) => {
            count(Reason::NatReply);
            action
        }
        Err(exit) => exit.finish(),
    }
}

const FAILED: Exit = Exit::Drop(Reason::DropRewriteFailed);

#[inline(always)]
fn back_to_client(packet: &mut Packet) -> Stage<u32> {
    // First: LLVM would leave out its check after one for bytes further back, and the kernel then
    // misses it.
    let sender = parse::sender(packet).unwrap_or(0);
    let Some((place, ends)) = segment(packet) else {
        return Err(Exit::Done(code::NO_SEGMENT));
    };
    let (service, backend, state) = service(place.is_v4, &ends).ok_or(NOT_OURS)?;
    let is_its_own = is_from(sender, backend);
    let has_payload = has_payload(packet, place);
    let ifindex = way(packet, place.is_v4, &ends, service)?;
    if is_its_own {
        let is_end = ends.flags & (tcp_flag::FIN | tcp_flag::RST) != 0;
        // Only payload: a handshake that was not completed answers with ACKs too (RFC 9293, section
        // 3.10.7.4).
        let is_claim = matches!(state, state::UNPROVEN | state::CLOSING);
        let is_news = is_end || has_payload && is_claim;
        if is_news && state < state::ENDED {
            let name = client(place.is_v4, &ends).of_service(service.id);
            backend_said(name.high, name.low, name.rest, is_end as u32);
        }
    }
    let (side, address, port_be) = (Side::Source, &service.address, service.port_be);
    replace(packet, place, side, address, port_be).ok_or(FAILED)?;
    forward(packet, Hop::by(ifindex))
}

/// The backend has said of a client's flow that it is open, or that it has ended.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn backend_said(high: u64, low: u64, rest: u64, ends: u32) -> u32 {
    if rest >> 32 != 0 {
        note::<1, V4>(&frame4(high, rest), ends != 0);
    } else {
        note::<3, V6>(&frame6(high, low, rest), ends != 0);
    }
    0
}

#[inline(always)]
fn note<const K: usize, F: Family<K>>(frame: &ForVip<K>, ends: bool) {
    if let Some(known) = flow::find::<K, F>(frame) {
        follow::said_by_backend::<K, F>(&known, frame, ends);
    }
}

/// Likewise for an ICMP error about what the client has sent, of the backend or of a router before
/// it: for the client both are the VIP.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_error(ctx: *mut xdp_md) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    match error_to_client(&mut packet) {
        Ok(action) => {
            count(Reason::NatReply);
            action
        }
        Err(exit) => exit.finish(),
    }
}

#[inline(always)]
fn error_to_client(packet: &mut Packet) -> Stage<u32> {
    let (error, sent) = error::quoted(packet).ok_or(NOT_OURS)?;
    let is_v4 = error.message.is_v4;
    // What was sent to the backend is what its reply would answer.
    let ends = Ends {
        source: sent.destination,
        source_port_be: sent.destination_port_be,
        destination: sent.source,
        destination_port_be: sent.source_port_be,
        flags: 0,
    };
    let (service, ..) = service(is_v4, &ends).ok_or(NOT_OURS)?;
    let ifindex = way(packet, is_v4, &ends, service)?;
    let (side, address, port_be) = (Side::Source, &service.address, service.port_be);
    error::replace(packet, error, side, address, port_be).ok_or(FAILED)?;
    forward(packet, Hop::by(ifindex))
}

/// The interface that leads to the client; the MACs are in the frame.
#[inline(always)]
fn way(packet: &mut Packet, is_v4: bool, ends: &Ends, service: &ReplyService) -> Stage<u32> {
    let from_vip = Ends {
        source: service.address,
        source_port_be: service.port_be,
        ..*ends
    };
    match look_up(packet, is_v4, &from_vip).ok_or(FAILED)? {
        Way::Out(ifindex) => Ok(ifindex),
        // A session of this box with the backend itself, such as a health check.
        Way::Local => Err(NOT_OURS),
        Way::None => Err(Exit::Drop(Reason::DropNatUnrouted)),
        Way::NoNeighbour => {
            if rate::may_ask_for_neighbour() {
                event::emit_address(is_v4, ends.destination, kind::NO_NEIGHBOUR);
            }
            Err(Exit::Drop(Reason::DropNatNoNeighbour))
        }
    }
}

/// The service through which the client has its session with the backend, the backend's id, and the
/// state of the flow.
#[inline(always)]
fn service(is_v4: bool, ends: &Ends) -> Option<(&'static ReplyService, u32, u8)> {
    let key = ReplyKey {
        address: ends.source,
        port_be: ends.source_port_be,
        family: if is_v4 { 4 } else { 6 },
    };
    let reply = reply(&key)?;
    let (service, state) = client(is_v4, ends).service_of(reply, 0)?;
    Some((service, reply.backend, state))
}

/// Whether the frame comes from where frames to the backend go, and so is its own word: anyone can write
/// its address. Such a frame is a sign of life, which is noted.
#[inline(always)]
fn is_from(sender: u64, id: u32) -> bool {
    let Some(backend) = BACKENDS.get(id) else {
        return false;
    };
    let is_its_own = sender == mac_to_u64(backend.mac);
    if is_its_own && !sign::is_fresh(id as u16) {
        sign::heard(id as u16);
    }
    is_its_own
}

/// Whether a segment carries data.
#[inline(always)]
fn has_payload(packet: &Packet, place: Place) -> bool {
    let end = if place.is_v4 {
        Ipv4::at(packet, place.network).map(|ip| place.network + ip.total_length())
    } else {
        Ipv6::at(packet, place.network)
            .map(|ip| place.network + field::ipv6::HEADER + ip.payload_length())
    };
    let head = packet.window(place.transport).map(Tcp);
    match (head, end) {
        (Some(tcp), Some(end)) => place.transport + tcp.header_length() < end,
        _ => false,
    }
}

#[inline(always)]
fn client(is_v4: bool, ends: &Ends) -> FlowName {
    FlowName::new(is_v4, ends.destination, ends.destination_port_be, 0)
}
