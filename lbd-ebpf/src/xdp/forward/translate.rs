//! Replaces one end of a TCP segment, with its checksums.
//!
//! Checksums are changed by what changed in what they cover, and so stay as right as they were
//! (RFC 1624).
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_ebpf::wire::{
    checksum::Sum,
    field::{ethernet, ipv4, ipv6, tcp},
    frame::{Frame, put_u16, put_u32, put_words, u16_at, u32_at, words_at},
    parse::{self, Ipv4, Ipv6, Link, Tcp, ethertype, protocol},
};

use crate::xdp::packet::Packet;

/// Where an IP header is, and where the TCP segment or the ICMP message behind it begins.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) is_v4: bool,
    pub(crate) network: usize,
    pub(crate) transport: usize,
}

/// A TCP segment's addresses and ports, in memory order.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) source: [u32; 4],
    pub(crate) destination: [u32; 4],
    pub(crate) source_port_be: u16,
    pub(crate) destination_port_be: u16,
    /// Bits of [`parse::tcp_flag`].
    pub(crate) flags: u8,
}

/// Bytes of a TCP header that [`Ends::of`] reads.
pub(crate) const TO_FLAGS: usize = tcp::FLAGS + 1;

impl Ends {
    /// Of a TCP header that begins so, between these addresses.
    #[inline(always)]
    pub(crate) fn of(head: &[u8; TO_FLAGS], source: [u32; 4], destination: [u32; 4]) -> Self {
        Self {
            source,
            destination,
            source_port_be: u16_at(head, tcp::SOURCE_PORT),
            destination_port_be: u16_at(head, tcp::DESTINATION_PORT),
            flags: head[tcp::FLAGS],
        }
    }
}

/// Which end is replaced.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Side {
    Source,
    Destination,
}

/// Finds the segment in a frame; `None` for anything but a whole TCP segment.
#[inline(always)]
pub(crate) fn segment(packet: &Packet) -> Option<(Place, Ends)> {
    let place = Place::find(packet)?;
    let head = packet.window::<TO_FLAGS>(place.transport)?;
    let (source, destination) = addresses(packet, place.is_v4, place.network)?;
    Some((place, Ends::of(head, source, destination)))
}

/// The addresses of an IP header.
#[inline(always)]
pub(crate) fn addresses(
    packet: &Packet,
    is_v4: bool,
    network: usize,
) -> Option<([u32; 4], [u32; 4])> {
    if is_v4 {
        let ip = Ipv4::at(packet, network)?;
        return Some(([ip.source(), 0, 0, 0], [ip.destination(), 0, 0, 0]));
    }
    let ip = Ipv6::at(packet, network)?;
    Some((ip.source(), ip.destination()))
}

/// Where the segment is, as [`Place::from_bits`] takes it; 0 if there is none.
///
/// A function of its own, because the kernel would otherwise verify all that follows for each way
/// through the headers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_segment(ctx: *mut xdp_md) -> u64 {
    let packet = Packet::new(XdpContext::new(ctx));
    place(&packet).map_or(0, Place::to_bits)
}

#[inline(always)]
fn place(packet: &Packet) -> Option<Place> {
    let Link {
        ethertype, network, ..
    } = parse::link(packet)?;
    let is_v4 = ethertype == ethertype::IPV4;
    let transport = match ethertype {
        ethertype::IPV4 => Ipv4::at(packet, network)?.transport(packet, network).ok()?,
        ethertype::IPV6 => Ipv6::at(packet, network)?.transport(packet, network).ok()?,
        _ => return None,
    };
    if transport.protocol != protocol::TCP {
        return None;
    }
    Tcp::at(packet, &transport)?;
    Some(Place {
        is_v4,
        network,
        transport: transport.offset,
    })
}

impl Place {
    /// In a frame without tags, behind an IPv4 header without options.
    pub(crate) const PLAIN4: Self = Self {
        is_v4: true,
        network: ethernet::HEADER,
        transport: ethernet::HEADER + ipv4::HEADER,
    };
    /// In a frame without tags, behind an IPv6 header without extensions.
    pub(crate) const PLAIN6: Self = Self {
        is_v4: false,
        network: ethernet::HEADER,
        transport: ethernet::HEADER + ipv6::HEADER,
    };

    const FOUND: u64 = 1 << 63;

    /// Where the segment of a frame is.
    #[inline(always)]
    pub(crate) fn find(packet: &Packet) -> Option<Self> {
        Self::from_bits(find_segment(packet.context().ctx))
    }

    #[inline(always)]
    fn to_bits(self) -> u64 {
        Self::FOUND
            | self.network as u64
            | (self.transport as u64) << 16
            | (self.is_v4 as u64) << 32
    }

    /// The offsets are within what a frame can have, as the kernel wants to see.
    #[inline(always)]
    fn from_bits(bits: u64) -> Option<Self> {
        (bits & Self::FOUND != 0).then_some(Self {
            is_v4: bits & 1 << 32 != 0,
            network: bits as usize & 0x3f,
            transport: (bits >> 16) as usize & 0x3fff,
        })
    }
}

/// Gives one end of the segment another address of the same family, and another port unless that is
/// 0.
#[inline(always)]
pub(crate) fn replace(
    packet: &mut Packet,
    place: Place,
    side: Side,
    address: &[u32; 4],
    port_be: u16,
) -> Option<()> {
    let head = packet.window::<{ tcp::HEADER }>(place.transport)?;
    let sum = Sum::of(u16_at(head, tcp::CHECKSUM));
    let (sum, _) = address_at(packet, place.is_v4, place.network, side, address, sum)?;
    let sum = port_at(packet, place.transport, side, port_be, sum)?;
    let head = packet.window_mut::<{ tcp::HEADER }>(place.transport)?;
    put_u16(head, tcp::CHECKSUM, sum.finish());
    Some(())
}

/// Replaces an address in the IP header at `network`. Returns the sum of what covers the address, and
/// what is added to the sum of what covers the whole header.
#[inline(always)]
pub(crate) fn address_at(
    packet: &mut Packet,
    is_v4: bool,
    network: usize,
    side: Side,
    address: &[u32; 4],
    sum: Sum,
) -> Option<(Sum, Sum)> {
    let is_source = side == Side::Source;
    if !is_v4 {
        let ip = packet.window_mut::<{ ipv6::HEADER }>(network)?;
        let at = if is_source {
            ipv6::SOURCE
        } else {
            ipv6::DESTINATION
        };
        let sum = sum.replace_words(words_at(ip, at), *address);
        put_words(ip, at, *address);
        return Some((sum, sum));
    }
    let ip = packet.window_mut::<{ ipv4::HEADER }>(network)?;
    let at = if is_source {
        ipv4::SOURCE
    } else {
        ipv4::DESTINATION
    };
    let (old, old_sum) = (u32_at(ip, at), u16_at(ip, ipv4::CHECKSUM));
    let new_sum = Sum::of(old_sum).replace_u32(old, address[0]).finish();
    put_u32(ip, at, address[0]);
    put_u16(ip, ipv4::CHECKSUM, new_sum);
    let sum = sum.replace_u32(old, address[0]);
    Some((sum, sum.replace_u16(old_sum, new_sum)))
}

/// Replaces a port in the TCP header at `transport`, unless the new one is 0. Returns the sum of what
/// covers it.
#[inline(always)]
pub(crate) fn port_at(
    packet: &mut Packet,
    transport: usize,
    side: Side,
    port_be: u16,
    sum: Sum,
) -> Option<Sum> {
    if port_be == 0 {
        return Some(sum);
    }
    let ports = packet.window_mut::<{ tcp::PORTS }>(transport)?;
    let at = match side {
        Side::Source => tcp::SOURCE_PORT,
        Side::Destination => tcp::DESTINATION_PORT,
    };
    let sum = sum.replace_u16(u16_at(ports, at), port_be);
    put_u16(ports, at, port_be);
    Some(sum)
}
