//! A part of an IP packet, which a router or its sender has cut up (RFC 791, section 3.2; RFC 8200, section
//! 4.5).
use super::{
    frame::Frame,
    parse::{FragmentHeader, Ipv4, Ipv6, protocol},
};

/// What a part says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// What the whole packet carries: one of [`protocol`].
    pub protocol: u8,
    /// The same in all parts of a packet, in memory order.
    pub identification: u32,
    /// Where it begins in the whole packet's payload, in units of 8 bytes.
    pub offset: u16,
}

impl Part {
    /// Of an IPv4 packet.
    #[inline(always)]
    pub fn of_ipv4(ip: Ipv4<'_>) -> Self {
        Self {
            protocol: ip.protocol(),
            identification: ip.identification(),
            offset: ip.part_offset(),
        }
    }

    /// Of the IPv6 packet at `offset`; `None` if it is whole.
    #[inline(always)]
    pub fn of_ipv6<F: Frame + ?Sized>(ip: Ipv6<'_>, frame: &F, offset: usize) -> Option<Self> {
        let (protocol, at) = ip.behind_extensions(frame, offset).ok()?;
        if protocol != protocol::FRAGMENT {
            return None;
        }
        let head = FragmentHeader::at(frame, at)?;
        Some(Self {
            protocol: head.next_header(),
            identification: head.identification(),
            offset: head.part_offset(),
        })
    }
}
