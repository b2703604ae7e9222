//! Replaces one end of what an ICMP error is about: in the error's own header, and, as the other end,
//! in the packet that it quotes (RFC 5508, sections 4.2 and 4.3).
//!
//! The quoted TCP checksum is left as it is: it is seldom quoted, and no receiver can check it without the
//! rest of the segment.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_ebpf::wire::{
    checksum::Sum,
    frame::{Frame, put_u16, u16_at},
    parse::{self, Ipv4, Ipv6, Link, ethertype, protocol},
    quote::{self, is_error4, is_error6, quoted4, quoted6},
};

use super::translate::{Ends, Side, address_at, addresses, port_at};
use crate::xdp::packet::Packet;

/// Where the headers of an ICMP or `ICMPv6` error are.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) is_v4: bool,
    network: usize,
    icmp: usize,
    quoted_network: usize,
    quoted_transport: usize,
}

/// Finds the error in a frame, and the ends of the segment that it quotes; `None` for anything else.
#[inline(always)]
pub(crate) fn quoted(packet: &Packet) -> Option<(Place, Ends)> {
    let place = Place::from_bits(find_error(packet.context().ctx))?;
    let ports = packet.window::<4>(place.quoted_transport)?;
    let (source, destination) = addresses(packet, place.is_v4, place.quoted_network)?;
    let ends = Ends {
        source,
        destination,
        source_port_be: u16_at(ports, 0),
        destination_port_be: u16_at(ports, 2),
        flags: 0,
    };
    Some((place, ends))
}

/// Where the error is, as [`Place::from_bits`] takes it; 0 if there is none.
///
/// A function of its own, because the kernel would otherwise verify all that follows for each way
/// through the headers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_error(ctx: *mut xdp_md) -> u64 {
    let packet = Packet::new(XdpContext::new(ctx));
    place(&packet).map_or(0, Place::to_bits)
}

#[inline(always)]
fn place(packet: &Packet) -> Option<Place> {
    let Link {
        ethertype, network, ..
    } = parse::link(packet)?;
    match ethertype {
        ethertype::IPV4 => place4(packet, network),
        ethertype::IPV6 => place6(packet, network),
        _ => None,
    }
}

#[inline(always)]
fn place4(packet: &Packet, network: usize) -> Option<Place> {
    let ip = Ipv4::at(packet, network)?;
    let icmp = ip.transport(packet, network).ok()?;
    if icmp.protocol != protocol::ICMP || !is_error4(quote::kind(packet, &icmp)?) {
        return None;
    }
    let quoted = quoted4(packet, &icmp)?;
    (quoted.source == ip.destination()).then_some(Place {
        is_v4: true,
        network,
        icmp: icmp.offset,
        quoted_network: quoted.network,
        quoted_transport: quoted.transport,
    })
}

#[inline(always)]
fn place6(packet: &Packet, network: usize) -> Option<Place> {
    let ip = Ipv6::at(packet, network)?;
    let icmp = ip.transport(packet, network).ok()?;
    if icmp.protocol != protocol::ICMPV6 || !is_error6(quote::kind(packet, &icmp)?) {
        return None;
    }
    let quoted = quoted6(packet, &icmp)?;
    (quoted.source == ip.destination()).then_some(Place {
        is_v4: false,
        network,
        icmp: icmp.offset,
        quoted_network: quoted.network,
        quoted_transport: quoted.transport,
    })
}

impl Place {
    const FOUND: u64 = 1 << 63;

    #[inline(always)]
    fn to_bits(self) -> u64 {
        Self::FOUND
            | self.network as u64
            | (self.icmp as u64) << 8
            | (self.quoted_network as u64) << 24
            | (self.quoted_transport as u64) << 40
            | (self.is_v4 as u64) << 56
    }

    /// The offsets are within what a frame can have, as the kernel wants to see.
    #[inline(always)]
    fn from_bits(bits: u64) -> Option<Self> {
        (bits & Self::FOUND != 0).then_some(Self {
            is_v4: bits & 1 << 56 != 0,
            network: bits as usize & 0x3f,
            icmp: (bits >> 8) as usize & 0x3fff,
            quoted_network: (bits >> 24) as usize & 0x3fff,
            quoted_transport: (bits >> 40) as usize & 0x3fff,
        })
    }
}

/// Gives `side` of the error, and the other side of what it quotes, another address of the same
/// family, and another port unless that is 0.
#[inline(always)]
pub(crate) fn replace(
    packet: &mut Packet,
    place: Place,
    side: Side,
    address: &[u32; 4],
    port_be: u16,
) -> Option<()> {
    let icmp = packet.window::<4>(place.icmp)?;
    let sum = Sum::of(u16_at(icmp, 2));
    let (with_address, _) = address_at(packet, place.is_v4, place.network, side, address, sum)?;
    // ICMPv6 covers the addresses of the header before it (RFC 4443, section 2.3), ICMP does not.
    let sum = if place.is_v4 { sum } else { with_address };
    let other = match side {
        Side::Source => Side::Destination,
        Side::Destination => Side::Source,
    };
    let network = place.quoted_network;
    // What is quoted is covered with its header's checksum.
    let (_, sum) = address_at(packet, place.is_v4, network, other, address, sum)?;
    let sum = port_at(packet, place.quoted_transport, other, port_be, sum)?;
    let icmp = packet.window_mut::<4>(place.icmp)?;
    put_u16(icmp, 2, sum.finish());
    Some(())
}
