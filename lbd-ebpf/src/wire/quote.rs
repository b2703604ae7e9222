//! What an ICMP error is about: the packet that it quotes, as far as it has to be read to name a
//! session. Eight bytes of TCP suffice, which is all that RFC 792 promises.
use super::{
    frame::{Frame, u16_at},
    parse::{Ipv4, Ipv6, Transport, is_extension, protocol},
};

/// Bytes of an ICMP or `ICMPv6` error before the packet that it quotes.
pub const ICMP: usize = 8;
/// The TCP ports and the sequence number.
const TCP_START: usize = 8;
/// IPv6 extension headers in a quoted packet that are looked behind.
const MAX_EXTENSIONS: usize = 3;

/// Who sent the quoted packet to whom. Addresses in memory order, ports in network byte order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quoted<A> {
    /// Its sender.
    pub source: A,
    /// Whom it did not reach.
    pub destination: A,
    /// Its sender's port.
    pub source_port_be: u16,
    /// The other port.
    pub destination_port_be: u16,
    /// Where its IP header starts in the frame.
    pub network: usize,
    /// Where its TCP header starts in the frame.
    pub transport: usize,
}

/// The kind of an ICMP or `ICMPv6` message.
#[inline(always)]
pub fn kind<F: Frame + ?Sized>(frame: &F, icmp: &Transport) -> Option<u8> {
    let head: &[u8; ICMP] = frame.window(icmp.offset)?;
    (icmp.offset + ICMP <= icmp.end).then_some(head[0])
}

/// Whether an ICMP message of this kind is an error about a packet: destination unreachable (which
/// includes "fragmentation needed"), time exceeded, parameter problem (RFC 1122, section 3.2.2).
#[inline(always)]
#[must_use]
pub const fn is_error4(kind: u8) -> bool {
    matches!(kind, 3 | 11 | 12)
}

/// Whether an `ICMPv6` message of this kind is an error: destination unreachable, packet too big,
/// time exceeded, parameter problem (RFC 4443, section 2.1).
#[inline(always)]
#[must_use]
pub const fn is_error6(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

/// The TCP segment that an ICMP error quotes; `None` for anything else, or for too little of it.
#[inline(always)]
pub fn quoted4<F: Frame + ?Sized>(frame: &F, icmp: &Transport) -> Option<Quoted<u32>> {
    let network = icmp.offset + ICMP;
    let ip = Ipv4::at(frame, network)?;
    let header = ip.header_length();
    // A fragment that is not the first has no ports.
    let is_later_fragment = u16_at(ip.0, 6) & 0x1fff_u16.to_be() != 0;
    if ip.version() != 4 || header < 20 || is_later_fragment || ip.protocol() != protocol::TCP {
        return None;
    }
    let (source_port_be, destination_port_be) = ports(frame, network + header, icmp.end)?;
    Some(Quoted {
        source: ip.source(),
        destination: ip.destination(),
        source_port_be,
        destination_port_be,
        network,
        transport: network + header,
    })
}

/// Likewise for an `ICMPv6` error.
#[inline(always)]
pub fn quoted6<F: Frame + ?Sized>(frame: &F, icmp: &Transport) -> Option<Quoted<[u32; 4]>> {
    let network = icmp.offset + ICMP;
    let ip = Ipv6::at(frame, network)?;
    if ip.version() != 6 {
        return None;
    }
    let mut next = ip.next_header();
    let mut at = network + 40;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) && next != protocol::FRAGMENT {
            break;
        }
        let head: &[u8; 8] = frame.window(at)?;
        if next == protocol::FRAGMENT {
            // A fragment that is not the first has no ports (RFC 8200, section 4.5).
            if u16_at(head, 2) & 0xfff8_u16.to_be() != 0 {
                return None;
            }
            at += 8;
        } else {
            at += (head[1] as usize + 1) * 8;
        }
        next = head[0];
    }
    if next != protocol::TCP {
        return None;
    }
    let (source_port_be, destination_port_be) = ports(frame, at, icmp.end)?;
    Some(Quoted {
        source: ip.source(),
        destination: ip.destination(),
        source_port_be,
        destination_port_be,
        network,
        transport: at,
    })
}

#[inline(always)]
fn ports<F: Frame + ?Sized>(frame: &F, at: usize, end: usize) -> Option<(u16, u16)> {
    let head: &[u8; TCP_START] = frame.window(at)?;
    (at + TCP_START <= end).then(|| (u16_at(head, 0), u16_at(head, 2)))
}
