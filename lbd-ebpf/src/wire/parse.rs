//! Reads headers. Every view is a window into the frame that was checked to be there.
use super::frame::{Frame, u16_at, u32_at, words_at};

/// Ether types, in network byte order.
pub mod ethertype {
    /// RFC 894.
    pub const IPV4: u16 = 0x0800_u16.to_be();
    /// RFC 826.
    pub const ARP: u16 = 0x0806_u16.to_be();
    /// RFC 2464.
    pub const IPV6: u16 = 0x86dd_u16.to_be();
    /// IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100_u16.to_be();
    /// IEEE 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
}

/// IP protocol numbers.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// `ICMPv6`.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// TCP flags.
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset the connection.
    pub const RST: u8 = 4;
    /// The acknowledgement field is valid.
    pub const ACK: u8 = 16;
}

/// Tags that are looked behind: customer and service VLAN.
const MAX_TAGS: usize = 2;
/// IPv6 extension headers that are looked behind.
const MAX_EXTENSIONS: usize = 3;

/// The Ethernet header, with its tags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// What follows, in network byte order.
    pub ethertype: u16,
    /// Where it starts.
    pub network: usize,
}

/// Reads the Ethernet header and up to two tags.
#[inline(always)]
pub fn link<F: Frame + ?Sized>(frame: &F) -> Option<Link> {
    let head: &[u8; 14] = frame.window(0)?;
    let mut ethertype = u16_at(head, 12);
    let mut network = 14;
    for _ in 0..MAX_TAGS {
        if ethertype != ethertype::VLAN && ethertype != ethertype::SERVICE_VLAN {
            break;
        }
        ethertype = u16_at(frame.window::<4>(network)?, 2);
        network += 4;
    }
    Some(Link { ethertype, network })
}

/// The sender's MAC, as [`lbd_common::node::mac_to_u64`] has it.
///
/// Not a part of [`Link`], because frames for other hosts, nearly all of them, need no sender.
#[inline(always)]
pub fn sender<F: Frame + ?Sized>(frame: &F) -> Option<u64> {
    let head: &[u8; 14] = frame.window(0)?;
    Some(u32_at(head, 6) as u64 | (u16_at(head, 10) as u64) << 32)
}

/// Where the transport header is, and what it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transport {
    /// One of [`protocol`].
    pub protocol: u8,
    /// Where it starts in the frame.
    pub offset: usize,
    /// Where the IP packet ends in the frame (padding may follow).
    pub end: usize,
    /// Whether more of the packet follows in others: this is its first part.
    pub is_part: bool,
}

/// Why a packet for a VIP cannot be steered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unusable {
    /// A length or a header that cannot be.
    Malformed,
    /// A part of a packet that is not its first, so without a transport header.
    Fragment,
}

/// An IPv4 header without its options.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a>(pub &'a [u8; 20]);

impl<'a> Ipv4<'a> {
    /// The header at `offset`.
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, offset: usize) -> Option<Self> {
        frame.window(offset).map(Self)
    }

    /// 4, if it is one.
    #[inline(always)]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// What follows this header: one of [`protocol`].
    #[inline(always)]
    pub fn protocol(self) -> u8 {
        self.0[9]
    }

    /// Bytes of this header with its options.
    #[inline(always)]
    pub fn header_length(self) -> usize {
        (self.0[0] as usize & 0xf) * 4
    }

    /// Memory order.
    #[inline(always)]
    pub fn source(self) -> u32 {
        u32_at(self.0, 12)
    }

    /// Memory order.
    #[inline(always)]
    pub fn destination(self) -> u32 {
        u32_at(self.0, 16)
    }

    /// Bytes of the whole packet.
    #[inline(always)]
    pub fn total_length(self) -> usize {
        u16::from_be(u16_at(self.0, 2)) as usize
    }

    /// The flags and the offset of a part (RFC 791, section 3.1), in network byte order.
    #[inline(always)]
    fn part_be(self) -> u16 {
        u16_at(self.0, 6)
    }

    /// Where this part begins in the whole packet's payload, in units of 8 bytes.
    #[inline(always)]
    pub fn part_offset(self) -> u16 {
        u16::from_be(self.part_be()) & 0x1fff
    }

    /// What all parts of a packet have in common, in memory order.
    #[inline(always)]
    pub fn identification(self) -> u32 {
        u16_at(self.0, 4) as u32
    }

    /// Checks the lengths (RFC 791, section 3.1) and finds the transport header.
    #[inline(always)]
    pub fn transport<F: Frame + ?Sized>(
        self,
        frame: &F,
        offset: usize,
    ) -> Result<Transport, Unusable> {
        if self.part_be() & 0x1fff_u16.to_be() != 0 {
            return Err(Unusable::Fragment);
        }
        let header = self.header_length();
        let end = offset + self.total_length();
        if self.version() != 4 || header < 20 || offset + header > end || end > frame.len() {
            return Err(Unusable::Malformed);
        }
        Ok(Transport {
            protocol: self.protocol(),
            offset: offset + header,
            end,
            is_part: self.part_be() & 0x2000_u16.to_be() != 0,
        })
    }
}

/// An IPv6 header without its extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(pub &'a [u8; 40]);

impl<'a> Ipv6<'a> {
    /// The header at `offset`.
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, offset: usize) -> Option<Self> {
        frame.window(offset).map(Self)
    }

    /// Memory order.
    #[inline(always)]
    pub fn source(self) -> [u32; 4] {
        words_at(self.0, 8)
    }

    /// Memory order.
    #[inline(always)]
    pub fn destination(self) -> [u32; 4] {
        words_at(self.0, 24)
    }

    /// 6, if it is one.
    #[inline(always)]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// What follows this header.
    #[inline(always)]
    pub fn next_header(self) -> u8 {
        self.0[6]
    }

    /// Bytes after this header.
    #[inline(always)]
    pub fn payload_length(self) -> usize {
        u16::from_be(u16_at(self.0, 4)) as usize
    }

    /// What is behind up to three extension headers (RFC 8200, section 4; more of them do not occur in mail
    /// traffic), and where.
    #[inline(always)]
    pub(super) fn behind_extensions<F: Frame + ?Sized>(
        self,
        frame: &F,
        offset: usize,
    ) -> Result<(u8, usize), Unusable> {
        let mut protocol = self.next_header();
        let mut at = offset + 40;
        for _ in 0..MAX_EXTENSIONS {
            if !is_extension(protocol) {
                break;
            }
            let head: &[u8; 2] = frame.window(at).ok_or(Unusable::Malformed)?;
            protocol = head[0];
            at += (head[1] as usize + 1) * 8;
        }
        Ok((protocol, at))
    }

    /// Checks the lengths and finds the transport header.
    #[inline(always)]
    pub fn transport<F: Frame + ?Sized>(
        self,
        frame: &F,
        offset: usize,
    ) -> Result<Transport, Unusable> {
        let end = offset + 40 + self.payload_length();
        if self.version() != 6 || end > frame.len() {
            return Err(Unusable::Malformed);
        }
        let (mut protocol, mut at) = self.behind_extensions(frame, offset)?;
        let mut is_part = false;
        if protocol == protocol::FRAGMENT {
            // RFC 8200, section 4.5.
            let head: &[u8; 8] = frame.window(at).ok_or(Unusable::Malformed)?;
            let part_be = u16_at(head, 2);
            if part_be & 0xfff8_u16.to_be() != 0 {
                return Err(Unusable::Fragment);
            }
            is_part = part_be & 1_u16.to_be() != 0;
            protocol = head[0];
            at += 8;
        }
        if at > end || is_extension(protocol) {
            return Err(Unusable::Malformed);
        }
        Ok(Transport {
            protocol,
            offset: at,
            end,
            is_part,
        })
    }
}

/// Whether an IPv6 extension header of the usual form follows (RFC 8200, section 4).
#[inline(always)]
pub(crate) fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS
    )
}

/// A TCP header without its options.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a>(pub &'a [u8; 20]);

impl<'a> Tcp<'a> {
    /// The header that [`Transport`] found; `None` if it does not fit its packet (RFC 9293,
    /// section 3.1).
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, transport: &Transport) -> Option<Self> {
        let head = Self(frame.window(transport.offset)?);
        let length = head.header_length();
        (length >= 20 && transport.offset + length <= transport.end).then_some(head)
    }

    /// Network byte order.
    #[inline(always)]
    pub fn source_port_be(self) -> u16 {
        u16_at(self.0, 0)
    }

    /// Network byte order.
    #[inline(always)]
    pub fn destination_port_be(self) -> u16 {
        u16_at(self.0, 2)
    }

    /// The sequence number.
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        u32::from_be(u32_at(self.0, 4))
    }

    /// The acknowledgement number in network byte order.
    #[inline(always)]
    pub fn acknowledgement_be(self) -> u32 {
        u32_at(self.0, 8)
    }

    /// Bytes of the header with its options.
    #[inline(always)]
    pub fn header_length(self) -> usize {
        (self.0[12] >> 4) as usize * 4
    }

    /// Bits of [`tcp_flag`].
    #[inline(always)]
    pub fn flags(self) -> u8 {
        self.0[13]
    }

    /// Whether it is the beginning of a SYN that comes in parts, which no TCP sends.
    #[inline(always)]
    pub fn is_syn_in_parts(self, transport: &Transport) -> bool {
        transport.is_part && self.flags() & tcp_flag::SYN != 0
    }
}

/// ARP for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug)]
pub struct Arp<'a>(pub &'a [u8; 28]);

impl<'a> Arp<'a> {
    /// The message at `offset`; `None` also for other hardware or protocol types.
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, offset: usize) -> Option<Self> {
        let head: &[u8; 28] = frame.window(offset)?;
        // Ethernet, IPv4, 6 and 4 bytes of address.
        let kind = [head[0], head[1], head[2], head[3], head[4], head[5]];
        (kind == [0, 1, 8, 0, 6, 4]).then_some(Self(head))
    }

    /// Whether it asks who has [`Self::target`]; an announcement asks for its own sender.
    #[inline(always)]
    pub fn is_question(self) -> bool {
        u16_at(self.0, 6) == 1_u16.to_be() && u32_at(self.0, 14) != self.target()
    }

    /// The address that is asked for. Memory order.
    #[inline(always)]
    pub fn target(self) -> u32 {
        u32_at(self.0, 24)
    }
}

/// The target of a neighbour solicitation (RFC 4861, section 4.3); `None` for other messages.
#[inline(always)]
pub fn solicited<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<[u32; 4]> {
    let head: &[u8; 24] = frame.window(offset)?;
    (head[0] == 135).then(|| words_at(head, 8))
}
