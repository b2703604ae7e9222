//! Whose frame it is: the client and the virtual address, from either direction and out of a tunnel.
//!
//! Each kind has a function of its own, which fills in the record and answers 1 if the frame is one.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{
    reply::ReplyKey,
    trace::{about, kind},
};
use lbd_ebpf::wire::{
    frame::Frame,
    mark,
    parse::{self, Ipv4, Ipv6, Transport, ethertype, protocol},
};

use super::scratch;
use crate::xdp::{
    forward::{
        error,
        nat::{self, FlowName},
        translate::{Ends, TO_FLAGS, segment},
    },
    packet::Packet,
    tables::vip::{service, vip4, vip6},
};

/// The two ends, in the client's direction.
struct Subject {
    kind: u8,
    is_v4: bool,
    client: [u32; 4],
    client_port_be: u16,
    vip: [u32; 4],
    vip_port_be: u16,
    vip_id: u16,
    flags: u8,
    about: u16,
}

#[inline(always)]
fn note(subject: Option<Subject>) -> u32 {
    let Some(subject) = subject else {
        return 0;
    };
    let Some(scratch) = scratch() else {
        return 0;
    };
    let Subject {
        is_v4,
        client,
        client_port_be,
        vip_id,
        ..
    } = subject;
    let name = FlowName::new(is_v4, client, client_port_be, vip_id);
    scratch.name = name.words();
    let record = &mut scratch.record;
    record.kind = subject.kind;
    record.family = if is_v4 { 4 } else { 6 };
    record.flags = subject.flags;
    record.client = client;
    record.client_port_be = client_port_be;
    record.vip = subject.vip;
    record.vip_port_be = subject.vip_port_be;
    record.vip_id = vip_id;
    record.about = subject.about;
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn trace_segment(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    note(of_segment(&packet))
}

#[inline(always)]
fn of_segment(packet: &Packet) -> Option<Subject> {
    let (place, ends) = segment(packet)?;
    let is_marked = packet.window(place.transport).is_some_and(mark::is_set);
    let about = if is_marked { about::MARKED } else { 0 };
    of_ends(kind::SEGMENT, place.is_v4, &ends, about).or_else(|| {
        let (kind, is_v4) = (kind::REPLY, place.is_v4);
        of_reply(kind, is_v4, &reversed(&ends))
    })
}

/// A client's segment for a virtual address.
#[inline(always)]
fn of_ends(kind: u8, is_v4: bool, ends: &Ends, about: u16) -> Option<Subject> {
    let vip = if is_v4 {
        vip4(ends.destination[0])
    } else {
        vip6(ends.destination)
    };
    let vip_id = service(vip?, ends.destination_port_be).unwrap_or(0);
    Some(Subject {
        kind,
        is_v4,
        client: ends.source,
        client_port_be: ends.source_port_be,
        vip: ends.destination,
        vip_port_be: ends.destination_port_be,
        vip_id,
        flags: ends.flags,
        about,
    })
}

/// What stands for a client's segment to a `nat` backend, with which the client has a session.
#[inline(always)]
fn of_reply(kind: u8, is_v4: bool, ends: &Ends) -> Option<Subject> {
    let key = ReplyKey {
        address: ends.destination,
        port_be: ends.destination_port_be,
        family: if is_v4 { 4 } else { 6 },
    };
    let reply = nat::reply(&key)?;
    let name = FlowName::new(is_v4, ends.source, ends.source_port_be, 0);
    let (service, _) = name.service_of(reply, 0)?;
    Some(Subject {
        kind,
        is_v4,
        client: ends.source,
        client_port_be: ends.source_port_be,
        vip: service.address,
        vip_port_be: service.port_be,
        vip_id: service.id,
        flags: ends.flags,
        about: 0,
    })
}

#[inline(always)]
fn reversed(ends: &Ends) -> Ends {
    Ends {
        source: ends.destination,
        destination: ends.source,
        source_port_be: ends.destination_port_be,
        destination_port_be: ends.source_port_be,
        flags: ends.flags,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn trace_error(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    note(of_error(&packet))
}

/// An ICMP error: what it quotes was sent by the virtual address, or to a `nat` backend.
#[inline(always)]
fn of_error(packet: &Packet) -> Option<Subject> {
    let (error, sent) = error::quoted(packet)?;
    let is_v4 = error.message.is_v4;
    of_ends(kind::ERROR, is_v4, &reversed(&sent), 0)
        .or_else(|| of_reply(kind::ERROR_REPLY, is_v4, &sent))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn trace_tunnel(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    note(of_tunnel(&packet))
}

#[inline(always)]
fn of_tunnel(packet: &Packet) -> Option<Subject> {
    let link = parse::link(packet)?;
    let outer = match link.ethertype {
        ethertype::IPV4 => Ipv4::at(packet, link.network)?
            .transport(packet, link.network)
            .ok()?,
        ethertype::IPV6 => Ipv6::at(packet, link.network)?
            .transport(packet, link.network)
            .ok()?,
        _ => return None,
    };
    match outer.protocol {
        protocol::IPIP => {
            let ip = Ipv4::at(packet, outer.offset)?;
            let inner = ip.transport(packet, outer.offset).ok()?;
            let (source, destination) = ([ip.source(), 0, 0, 0], [ip.destination(), 0, 0, 0]);
            inside(packet, true, &inner, source, destination)
        }
        protocol::IPV6 => {
            let ip = Ipv6::at(packet, outer.offset)?;
            let inner = ip.transport(packet, outer.offset).ok()?;
            inside(packet, false, &inner, ip.source(), ip.destination())
        }
        _ => None,
    }
}

#[inline(always)]
fn inside(
    packet: &Packet,
    is_v4: bool,
    inner: &Transport,
    source: [u32; 4],
    destination: [u32; 4],
) -> Option<Subject> {
    if inner.protocol != protocol::TCP {
        return None;
    }
    let head = packet.window::<TO_FLAGS>(inner.offset)?;
    of_ends(
        kind::TUNNELLED,
        is_v4,
        &Ends::of(head, source, destination),
        0,
    )
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn trace_other(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    note(of_other(&packet))
}

/// Anything with an IP header for a virtual address.
#[inline(always)]
fn of_other(packet: &Packet) -> Option<Subject> {
    let link = parse::link(packet)?;
    let is_v4 = link.ethertype == ethertype::IPV4;
    let (source, destination, flags) = match link.ethertype {
        ethertype::IPV4 => {
            let ip = Ipv4::at(packet, link.network)?;
            vip4(ip.destination())?;
            let (source, destination) = (ip.source(), ip.destination());
            ([source, 0, 0, 0], [destination, 0, 0, 0], ip.protocol())
        }
        ethertype::IPV6 => {
            let ip = Ipv6::at(packet, link.network)?;
            vip6(ip.destination())?;
            (ip.source(), ip.destination(), ip.next_header())
        }
        _ => return None,
    };
    Some(Subject {
        kind: kind::OTHER,
        is_v4,
        client: source,
        client_port_be: 0,
        vip: destination,
        vip_port_be: 0,
        vip_id: 0,
        flags,
        about: 0,
    })
}
