//! What an ICMP error is about: the packet that it quotes, as far as it has to be read to name a
//! session. Eight bytes of TCP suffice, which is all that RFC 792 promises.
use super::{
    field::{extension, fragment, icmp, ipv4, ipv6, tcp},
    frame::{Frame, u16_at},
    parse::{FragmentHeader, Ipv4, Ipv6, Transport, is_extension, protocol},
};

/// The TCP ports and the sequence number.
const TCP_START: usize = 8;
/// IPv6 extension headers in a quoted packet that are looked behind.
const MAX_EXTENSIONS: usize = 3;

/// Who sent the quoted packet to whom. Addresses in memory order, ports in network byte order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quoted<A> {
    /// Its sender.
    pub source: A,
    /// The receiver that it did not reach.
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
pub fn kind<F: Frame + ?Sized>(frame: &F, message: &Transport) -> Option<u8> {
    let head: &[u8; icmp::HEADER] = frame.window(message.offset)?;
    (message.offset + icmp::HEADER <= message.end).then_some(head[icmp::KIND])
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
pub fn quoted4<F: Frame + ?Sized>(frame: &F, error: &Transport) -> Option<Quoted<u32>> {
    let network = error.offset + icmp::HEADER;
    let ip = Ipv4::at(frame, network)?;
    let header = ip.header_length();
    // A part that is not the first has no ports.
    if ip.version() != 4
        || header < ipv4::HEADER
        || ip.is_later_part()
        || ip.protocol() != protocol::TCP
    {
        return None;
    }
    let (source_port_be, destination_port_be) = ports(frame, network + header, error.end)?;
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
pub fn quoted6<F: Frame + ?Sized>(frame: &F, error: &Transport) -> Option<Quoted<[u32; 4]>> {
    let network = error.offset + icmp::HEADER;
    let ip = Ipv6::at(frame, network)?;
    if ip.version() != 6 {
        return None;
    }
    let mut next = ip.next_header();
    let mut at = network + ipv6::HEADER;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) && next != protocol::FRAGMENT {
            break;
        }
        // A header of one kind is as long as the shortest of the other.
        let head: &[u8; extension::UNIT] = frame.window(at)?;
        if next == protocol::FRAGMENT {
            let part = FragmentHeader(head);
            // A part that is not the first has no ports.
            if part.is_later_part() {
                return None;
            }
            next = part.next_header();
            at += fragment::HEADER;
        } else {
            next = head[extension::NEXT_HEADER];
            at += (head[extension::LENGTH] as usize + 1) * extension::UNIT;
        }
    }
    if next != protocol::TCP {
        return None;
    }
    let (source_port_be, destination_port_be) = ports(frame, at, error.end)?;
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
    (at + TCP_START <= end).then(|| {
        (
            u16_at(head, tcp::SOURCE_PORT),
            u16_at(head, tcp::DESTINATION_PORT),
        )
    })
}
