//! Puts a frame into an outer IPv4 or IPv6 header, for a backend on another subnet (RFC 2003, 2473).
//!
//! The inner packet stays as the client sent it. The outer one has the inner one's class of service
//! with its ECN bits (RFC 6040, normal mode), 64 hops, and is never in parts: what is too long is told
//! to the client, who can send less, and the receiving lbd need not put parts together.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{backend::Backend, counters::Reason, hash::mix, tunnel::outer_bytes};
use lbd_ebpf::wire::{
    field::{ethernet, ipv4, ipv6, tcp},
    frame::{Frame, u32_at},
    header::{Header, put_ipv4, put_ipv6},
    parse::{self, Ipv4, Ipv6, ethertype, protocol},
};

use super::{ethernet::Ethernet, hop::Hop};
use crate::xdp::{
    answer::too_big,
    code,
    exit::{Exit, Stage},
    packet::Packet,
    tables::backend::Target,
};

/// Encapsulates the frame for a backend, or answers that it is too long for that.
#[inline(always)]
pub(crate) fn encapsulate(packet: &mut Packet, target: Target) -> Stage<Hop> {
    let done = encapsulate_frame(packet.context().ctx, target.id as u32);
    packet.refresh();
    match done {
        code::DONE => Ok(Hop::towards(target.backend)),
        code::TOO_BIG => Err(too_big::answer(packet, target.backend.mtu)),
        _ => Err(Exit::Drop(Reason::DropRewriteFailed)),
    }
}

/// Likewise, without an answer.
#[inline(always)]
pub(crate) fn encapsulate_if_it_fits(packet: &mut Packet, target: Target) -> Stage<Hop> {
    let done = encapsulate_frame(packet.context().ctx, target.id as u32);
    packet.refresh();
    match done {
        code::DONE => Ok(Hop::towards(target.backend)),
        code::TOO_BIG => Err(Exit::Drop(Reason::DropTooBig)),
        _ => Err(Exit::Drop(Reason::DropRewriteFailed)),
    }
}

/// For the fast path: a frame without tags. `None` if it is too long, and as it was.
#[inline(always)]
pub(crate) fn encapsulate_plain(
    packet: &mut Packet,
    target: Target,
    is_v4: bool,
) -> Option<Stage<Hop>> {
    let (ctx, id) = (packet.context().ctx, target.id as u32);
    let done = if is_v4 {
        encapsulate_plain4(ctx, id)
    } else {
        encapsulate_plain6(ctx, id)
    };
    packet.refresh();
    match done {
        code::DONE => Some(Ok(Hop::towards(target.backend))),
        code::TOO_BIG => None,
        _ => Some(Err(Exit::Drop(Reason::DropRewriteFailed))),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn encapsulate_plain4(ctx: *mut xdp_md, backend: u32) -> u32 {
    wrap(
        &mut Packet::new(XdpContext::new(ctx)),
        backend,
        ethernet::HEADER,
        true,
    )
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn encapsulate_plain6(ctx: *mut xdp_md, backend: u32) -> u32 {
    wrap(
        &mut Packet::new(XdpContext::new(ctx)),
        backend,
        ethernet::HEADER,
        false,
    )
}

/// A function of its own, that parses the frame anew: the kernel verifies it once and not for every
/// way that leads to it, and the other modes' path stays short.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn encapsulate_frame(ctx: *mut xdp_md, backend: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    let Some(link) = parse::link(&packet) else {
        return code::FAILED;
    };
    let is_v4 = link.ethertype == ethertype::IPV4;
    wrap(&mut packet, backend, link.network, is_v4)
}

/// Puts the IP packet at `inner` into an outer header.
#[inline(always)]
fn wrap(packet: &mut Packet, backend: u32, inner: usize, is_v4: bool) -> u32 {
    let Some(target) = Target::get(backend as u16) else {
        return code::FAILED;
    };
    let backend = target.backend;
    let Some(length) = length(packet, inner, is_v4) else {
        return code::FAILED;
    };
    if length > backend.mtu as usize {
        return code::TOO_BIG;
    }
    // Tags are those of the segment that the frame came from: on another interface they would name
    // something else, and there the frame goes without.
    let stays = backend.ifindex == packet.context().ingress_ifindex() as u32;
    let network = if stays { inner } else { ethernet::HEADER };
    let room = network + outer_bytes(backend.family) as usize - inner;
    let written = packet
        .move_start(-(room as i32))
        .and_then(|()| write(packet, backend, room, network, is_v4));
    match written {
        Some(()) => code::DONE,
        None => code::FAILED,
    }
}

/// Bytes of the IP packet.
#[inline(always)]
fn length(packet: &Packet, network: usize, is_v4: bool) -> Option<usize> {
    if is_v4 {
        return Some(Ipv4::at(packet, network)?.total_length());
    }
    Some(ipv6::HEADER + Ipv6::at(packet, network)?.payload_length())
}

/// Writes what is before the inner packet: the old Ethernet header begins after `room` bytes, and the
/// outer header will begin at `network`.
#[inline(always)]
fn write(
    packet: &mut Packet,
    backend: &Backend,
    room: usize,
    network: usize,
    is_v4: bool,
) -> Option<()> {
    let ethernet = Ethernet::at(packet, room, network)?.towards(backend);
    if backend.family == 4 {
        ethernet.write(packet, ethertype::IPV4)?;
        let inner = Inner::at(packet, network + ipv4::HEADER, is_v4)?;
        let header = Header {
            class: inner.class,
            payload: inner.length as u16,
            protocol: inner.protocol,
            source: backend.source_address[0],
            destination: backend.address[0],
        };
        put_ipv4(packet.window_mut(network)?, &header);
    } else {
        ethernet.write(packet, ethertype::IPV6)?;
        let inner = Inner::at(packet, network + ipv6::HEADER, is_v4)?;
        let header = Header {
            class: inner.class,
            payload: inner.length as u16,
            protocol: inner.protocol,
            source: backend.source_address,
            destination: backend.address,
        };
        put_ipv6(packet.window_mut(network)?, &header, inner.flow_label);
    }
    Some(())
}

/// What the outer header takes from the inner one.
struct Inner {
    length: usize,
    class: u8,
    protocol: u8,
    flow_label: u32,
}

impl Inner {
    #[inline(always)]
    fn at(packet: &Packet, network: usize, is_v4: bool) -> Option<Self> {
        if is_v4 {
            let ip = Ipv4::at(packet, network)?;
            return Some(Self {
                length: ip.total_length(),
                class: ip.class(),
                protocol: protocol::IPIP,
                flow_label: flow_label(ip.source(), packet, network + ipv4::HEADER)?,
            });
        }
        let ip = Ipv6::at(packet, network)?;
        let [_, _, third, fourth] = ip.source();
        Some(Self {
            length: ipv6::HEADER + ip.payload_length(),
            class: ip.class(),
            protocol: protocol::IPV6,
            flow_label: flow_label(third ^ fourth, packet, network + ipv6::HEADER)?,
        })
    }
}

/// The same for all packets of a session, so that routers with several ways keep their order and
/// share the sessions out (RFC 6438). After the IP header stand the ports, or options of no matter.
#[inline(always)]
fn flow_label(source: u32, packet: &Packet, ports_at: usize) -> Option<u32> {
    let ports = packet.window::<{ tcp::PORTS }>(ports_at)?;
    Some((mix((source as u64) << 32 | u32_at(ports, 0) as u64) >> 44) as u32)
}
