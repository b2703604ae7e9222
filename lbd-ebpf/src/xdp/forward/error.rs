//! Replaces one end of what an ICMP error is about: in the error's own header, and, as the other end,
//! in the packet that it quotes (RFC 5508, sections 4.2 and 4.3).
//!
//! The quoted TCP checksum is left as it is: it is seldom quoted, and no receiver can check it without the
//! rest of the segment.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_ebpf::wire::{
    checksum::Sum,
    field::{icmp, tcp},
    frame::{Frame, put_u16, u16_at},
    parse::{self, Ipv4, Ipv6, Link, ethertype, protocol},
    quote::{self, is_error4, is_error6, quoted4, quoted6},
};

use super::translate::{Ends, Place, Side, address_at, addresses, port_at};
use crate::xdp::packet::Packet;

/// Where an ICMP or `ICMPv6` error and the segment that it quotes are, both of one family.
#[derive(Clone, Copy)]
pub(crate) struct QuotingError {
    pub(crate) message: Place,
    quoted: Place,
}

/// Finds the error in a frame, and the ends of the segment that it quotes; `None` for anything else.
#[inline(always)]
pub(crate) fn quoted(packet: &Packet) -> Option<(QuotingError, Ends)> {
    let error = QuotingError::from_bits(find_error(packet.context().ctx))?;
    let Place {
        is_v4,
        network,
        transport,
    } = error.quoted;
    let ports = packet.window::<{ tcp::PORTS }>(transport)?;
    let (source, destination) = addresses(packet, is_v4, network)?;
    let ends = Ends {
        source,
        destination,
        source_port_be: u16_at(ports, tcp::SOURCE_PORT),
        destination_port_be: u16_at(ports, tcp::DESTINATION_PORT),
        flags: 0,
    };
    Some((error, ends))
}

/// Where the error is, as [`QuotingError::from_bits`] takes it; 0 if there is none.
///
/// A function of its own, because the kernel would otherwise verify all that follows for each way
/// through the headers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_error(ctx: *mut xdp_md) -> u64 {
    let packet = Packet::new(XdpContext::new(ctx));
    find(&packet).map_or(0, QuotingError::to_bits)
}

#[inline(always)]
fn find(packet: &Packet) -> Option<QuotingError> {
    let Link {
        ethertype, network, ..
    } = parse::link(packet)?;
    match ethertype {
        ethertype::IPV4 => find4(packet, network),
        ethertype::IPV6 => find6(packet, network),
        _ => None,
    }
}

#[inline(always)]
fn find4(packet: &Packet, network: usize) -> Option<QuotingError> {
    let ip = Ipv4::at(packet, network)?;
    let icmp = ip.transport(packet, network).ok()?;
    if icmp.protocol != protocol::ICMP || !is_error4(quote::kind(packet, &icmp)?) {
        return None;
    }
    let quoted = quoted4(packet, &icmp)?;
    let places = [network, icmp.offset, quoted.network, quoted.transport];
    (quoted.source == ip.destination()).then_some(QuotingError::of(true, places))
}

#[inline(always)]
fn find6(packet: &Packet, network: usize) -> Option<QuotingError> {
    let ip = Ipv6::at(packet, network)?;
    let icmp = ip.transport(packet, network).ok()?;
    if icmp.protocol != protocol::ICMPV6 || !is_error6(quote::kind(packet, &icmp)?) {
        return None;
    }
    let quoted = quoted6(packet, &icmp)?;
    let places = [network, icmp.offset, quoted.network, quoted.transport];
    (quoted.source == ip.destination()).then_some(QuotingError::of(false, places))
}

impl QuotingError {
    const FOUND: u64 = 1 << 63;

    /// Of its own headers' offsets, and of those that it quotes.
    #[inline(always)]
    fn of(is_v4: bool, [network, icmp, quoted_network, quoted_transport]: [usize; 4]) -> Self {
        Self {
            message: Place {
                is_v4,
                network,
                transport: icmp,
            },
            quoted: Place {
                is_v4,
                network: quoted_network,
                transport: quoted_transport,
            },
        }
    }

    #[inline(always)]
    fn to_bits(self) -> u64 {
        Self::FOUND
            | self.message.network as u64
            | (self.message.transport as u64) << 8
            | (self.quoted.network as u64) << 24
            | (self.quoted.transport as u64) << 40
            | (self.message.is_v4 as u64) << 56
    }

    /// The offsets are within what a frame can have, as the kernel wants to see.
    #[inline(always)]
    fn from_bits(bits: u64) -> Option<Self> {
        let places = [
            bits as usize & 0x3f,
            (bits >> 8) as usize & 0x3fff,
            (bits >> 24) as usize & 0x3fff,
            (bits >> 40) as usize & 0x3fff,
        ];
        (bits & Self::FOUND != 0).then_some(Self::of(bits & 1 << 56 != 0, places))
    }
}

/// Gives `side` of the error, and the other side of what it quotes, another address of the same
/// family, and another port unless that is 0.
#[inline(always)]
pub(crate) fn replace(
    packet: &mut Packet,
    error: QuotingError,
    side: Side,
    address: &[u32; 4],
    port_be: u16,
) -> Option<()> {
    let QuotingError { message, quoted } = error;
    let head = packet.window::<{ icmp::HEADER }>(message.transport)?;
    let sum = Sum::of(u16_at(head, icmp::CHECKSUM));
    let is_v4 = message.is_v4;
    let (with_address, _) = address_at(packet, is_v4, message.network, side, address, sum)?;
    // ICMPv6 covers the addresses of the header before it (RFC 4443, section 2.3), ICMP does not.
    let sum = if is_v4 { sum } else { with_address };
    let other = match side {
        Side::Source => Side::Destination,
        Side::Destination => Side::Source,
    };
    // What is quoted is covered with its header's checksum.
    let (_, sum) = address_at(packet, is_v4, quoted.network, other, address, sum)?;
    let sum = port_at(packet, quoted.transport, other, port_be, sum)?;
    let head = packet.window_mut::<{ icmp::HEADER }>(message.transport)?;
    put_u16(head, icmp::CHECKSUM, sum.finish());
    Some(())
}
