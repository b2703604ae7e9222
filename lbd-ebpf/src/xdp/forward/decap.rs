//! Takes a frame that another box of the cluster has put into a tunnel out of it, so that a backend
//! needs no tunnel in the kernel. It was steered already: see [`crate::xdp::path::second_chance`].
//!
//! Everything else in a tunnel (a tunnel of the operator's between the same boxes, parts of an outer
//! packet, which lbd never sends) leaves as it came. Who may put something into the tunnel is known by
//! its outer source alone, so the network must not let others use the boxes' addresses.
use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    programs::XdpContext,
};
use lbd_common::{
    counters::Reason,
    hash::{MAX_PROBE, slot_u32, slot_v6},
    maps::TUNNEL_SLOTS,
    tunnel::side,
    vip::Vip,
};
use lbd_ebpf::wire::{
    parse::{self, Ipv4, Ipv6, Link, Tcp, Transport, Unusable, ethertype, protocol},
    quote::{self, is_error4, is_error6},
};

use super::ethernet::Ethernet;
use crate::xdp::{
    code,
    exit::{Exit, NOT_OURS, Stage, count, unusable},
    packet::Packet,
    tables::{
        maps::TUNNELS,
        vip::{service, vip4, vip6},
    },
};

const OTHER: Exit = Exit::Pass(Reason::PassOtherService);

/// Decides an IP packet with another inside, whose outer destination is no VIP.
#[inline(always)]
pub(crate) fn decapsulate(packet: &Packet) -> Exit {
    Exit::Done(decapsulate_frame(packet.context().ctx))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn decapsulate_frame(ctx: *mut xdp_md) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    match take_out(&mut packet) {
        Ok(what) => {
            count(Reason::Decapsulated);
            match what {
                Inner::Segment => code::TAKEN_OUT,
                Inner::Message | Inner::Part => xdp_action::XDP_PASS,
            }
        }
        Err(exit) => exit.finish(),
    }
}

/// The outer header.
struct Outer {
    /// What is inside: its `protocol` is that of the inner packet.
    inner: Transport,
    /// What [`side`] its two addresses are.
    source: u32,
    destination: u32,
}

/// What is inside.
#[derive(Clone, Copy)]
enum Inner {
    /// A TCP segment.
    Segment,
    /// An ICMP error.
    Message,
    /// A part of a packet that is not the first one.
    Part,
}

#[inline(always)]
fn take_out(packet: &mut Packet) -> Stage<Inner> {
    let link = parse::link(packet).ok_or(NOT_OURS)?;
    let outer = outer(packet, &link).ok_or(NOT_OURS)?;
    let (what, ethertype) = match outer.inner.protocol {
        protocol::IPIP => (inner4(packet, &outer)?, ethertype::IPV4),
        protocol::IPV6 => (inner6(packet, &outer)?, ethertype::IPV6),
        _ => return Err(NOT_OURS),
    };
    strip(packet, &link, outer.inner.offset, ethertype)
        .ok_or(Exit::Drop(Reason::DropRewriteFailed))?;
    Ok(what)
}

#[inline(always)]
fn outer(packet: &Packet, link: &Link) -> Option<Outer> {
    if link.ethertype == ethertype::IPV4 {
        let ip = Ipv4::at(packet, link.network)?;
        return Some(Outer {
            inner: whole_outer(ip.transport(packet, link.network))?,
            source: side4(ip.source()),
            destination: side4(ip.destination()),
        });
    }
    let ip = Ipv6::at(packet, link.network)?;
    Some(Outer {
        inner: ip.transport(packet, link.network).ok()?,
        source: side6(ip.source()),
        destination: side6(ip.destination()),
    })
}

/// No part of one.
#[inline(always)]
fn whole_outer(transport: Result<Transport, Unusable>) -> Option<Transport> {
    transport.ok().filter(|transport| !transport.is_part)
}

/// Continues if the packet inside is for a VIP and meant for this box.
#[inline(always)]
fn inner4(packet: &Packet, outer: &Outer) -> Stage<Inner> {
    let ip = Ipv4::at(packet, outer.inner.offset).ok_or(NOT_OURS)?;
    let vip = vip4(ip.destination()).ok_or(NOT_OURS)?;
    between_nodes(outer)?;
    let transport = ip.transport(packet, outer.inner.offset);
    if matches!(transport, Err(Unusable::Fragment)) {
        return Ok(Inner::Part);
    }
    let transport = whole(transport, outer)?;
    if transport.protocol == protocol::ICMP {
        return message(quote::kind(packet, &transport).is_some_and(is_error4));
    }
    segment(packet, &transport, vip)
}

/// Likewise.
#[inline(always)]
fn inner6(packet: &Packet, outer: &Outer) -> Stage<Inner> {
    let ip = Ipv6::at(packet, outer.inner.offset).ok_or(NOT_OURS)?;
    let vip = vip6(ip.destination()).ok_or(NOT_OURS)?;
    between_nodes(outer)?;
    let transport = ip.transport(packet, outer.inner.offset);
    if matches!(transport, Err(Unusable::Fragment)) {
        return Ok(Inner::Part);
    }
    let transport = whole(transport, outer)?;
    if transport.protocol == protocol::ICMPV6 {
        return message(quote::kind(packet, &transport).is_some_and(is_error6));
    }
    segment(packet, &transport, vip)
}

#[inline(always)]
fn between_nodes(outer: &Outer) -> Stage<()> {
    if outer.destination != side::OWN {
        return Err(NOT_OURS);
    }
    if outer.source != side::PEER {
        return Err(Exit::Drop(Reason::DropTunnelStranger));
    }
    Ok(())
}

/// An inner packet that ends within the outer one.
#[inline(always)]
fn whole(transport: Result<Transport, Unusable>, outer: &Outer) -> Stage<Transport> {
    let transport = transport.map_err(unusable)?;
    if transport.end > outer.inner.end {
        return Err(Exit::Drop(Reason::DropMalformed));
    }
    Ok(transport)
}

#[inline(always)]
fn message(is_error: bool) -> Stage<Inner> {
    if is_error {
        Ok(Inner::Message)
    } else {
        Err(OTHER)
    }
}

#[inline(always)]
fn segment(packet: &Packet, transport: &Transport, vip: &Vip) -> Stage<Inner> {
    if transport.protocol != protocol::TCP {
        return Err(OTHER);
    }
    let Some(tcp) = Tcp::at(packet, transport) else {
        return Err(Exit::Drop(Reason::DropMalformed));
    };
    if tcp.is_syn_in_parts(transport) {
        return Err(Exit::Drop(Reason::DropFragment));
    }
    service(vip, tcp.destination_port_be()).ok_or(OTHER)?;
    Ok(Inner::Segment)
}

#[inline(always)]
fn strip(packet: &mut Packet, link: &Link, inner: usize, ethertype: u16) -> Option<()> {
    // The new header overlaps the old one, of which only the type changes.
    let ethernet = Ethernet::at(packet, 0, link.network)?;
    packet.move_start(inner as i32 - link.network as i32)?;
    ethernet.write(packet, ethertype)
}

/// Which [`side`] an IPv4 address is; 0 for none.
#[inline(always)]
fn side4(address: u32) -> u32 {
    side_of(slot_u32(address, TUNNEL_SLOTS), 4, [address, 0, 0, 0])
}

/// Which [`side`] an IPv6 address is; 0 for none.
#[inline(always)]
fn side6(address: [u32; 4]) -> u32 {
    side_of(slot_v6(address, TUNNEL_SLOTS), 6, address)
}

#[inline(always)]
fn side_of(home: u32, family: u32, address: [u32; 4]) -> u32 {
    for distance in 0..MAX_PROBE {
        match TUNNELS.get((home + distance) & (TUNNEL_SLOTS - 1)) {
            Some(end) if end.family == family && end.address == address => return end.side,
            Some(end) if end.family != 0 => {}
            _ => return 0,
        }
    }
    0
}
