//! Reads headers. Every view is a window into the frame that was checked to be there.
use super::{
    field::{arp, ethernet, extension, fragment, icmp, ipv4, ipv6, tcp},
    frame::{Frame, u16_at, u32_at, words_at},
};

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
    let head: &[u8; ethernet::HEADER] = frame.window(0)?;
    let mut ethertype = u16_at(head, ethernet::TYPE);
    let mut network = ethernet::HEADER;
    for _ in 0..MAX_TAGS {
        if ethertype != ethertype::VLAN && ethertype != ethertype::SERVICE_VLAN {
            break;
        }
        let tag = frame.window::<{ ethernet::TAG }>(network)?;
        ethertype = u16_at(tag, ethernet::TAG_TYPE);
        network += ethernet::TAG;
    }
    Some(Link { ethertype, network })
}

/// The sender's MAC, as [`lbd_common::node::mac_to_u64`] has it.
///
/// Not a part of [`Link`], because frames for other hosts, nearly all of them, need no sender.
#[inline(always)]
pub fn sender<F: Frame + ?Sized>(frame: &F) -> Option<u64> {
    let head: &[u8; ethernet::HEADER] = frame.window(0)?;
    let tail = u16_at(head, ethernet::SOURCE + ethernet::MAC_TAIL) as u64;
    Some(u32_at(head, ethernet::SOURCE) as u64 | tail << 32)
}

/// The receiver's MAC, likewise.
#[inline(always)]
pub fn receiver<F: Frame + ?Sized>(frame: &F) -> Option<u64> {
    let head: &[u8; ethernet::HEADER] = frame.window(0)?;
    let tail = u16_at(head, ethernet::DESTINATION + ethernet::MAC_TAIL) as u64;
    Some(u32_at(head, ethernet::DESTINATION) as u64 | tail << 32)
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
pub struct Ipv4<'a>(pub &'a [u8; ipv4::HEADER]);

impl<'a> Ipv4<'a> {
    /// The header at `offset`.
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, offset: usize) -> Option<Self> {
        frame.window(offset).map(Self)
    }

    /// 4, if it is one.
    #[inline(always)]
    pub fn version(self) -> u8 {
        self.0[ipv4::VERSION_AND_LENGTH] >> 4
    }

    /// What follows this header: one of [`protocol`].
    #[inline(always)]
    pub fn protocol(self) -> u8 {
        self.0[ipv4::PROTOCOL]
    }

    /// The class of service, with ECN.
    #[inline(always)]
    pub fn class(self) -> u8 {
        self.0[ipv4::CLASS]
    }

    /// Bytes of this header with its options.
    #[inline(always)]
    pub fn header_length(self) -> usize {
        (self.0[ipv4::VERSION_AND_LENGTH] as usize & 0xf) * 4
    }

    /// Memory order.
    #[inline(always)]
    pub fn source(self) -> u32 {
        u32_at(self.0, ipv4::SOURCE)
    }

    /// Memory order.
    #[inline(always)]
    pub fn destination(self) -> u32 {
        u32_at(self.0, ipv4::DESTINATION)
    }

    /// Bytes of the whole packet.
    #[inline(always)]
    pub fn total_length(self) -> usize {
        u16::from_be(u16_at(self.0, ipv4::TOTAL_LENGTH)) as usize
    }

    /// The flags and the offset of a part (RFC 791, section 3.1), in network byte order.
    #[inline(always)]
    fn part_be(self) -> u16 {
        u16_at(self.0, ipv4::FRAGMENT)
    }

    /// Whether it is a part of a packet, and not the first.
    #[inline(always)]
    pub fn is_later_part(self) -> bool {
        self.part_be() & ipv4::FRAGMENT_OFFSET.to_be() != 0
    }

    /// Where this part begins in the whole packet's payload, in units of 8 bytes.
    #[inline(always)]
    pub fn part_offset(self) -> u16 {
        u16::from_be(self.part_be()) & ipv4::FRAGMENT_OFFSET
    }

    /// What all parts of a packet have in common, in memory order.
    #[inline(always)]
    pub fn identification(self) -> u32 {
        u16_at(self.0, ipv4::IDENTIFICATION) as u32
    }

    /// Checks the lengths (RFC 791, section 3.1) and finds the transport header.
    #[inline(always)]
    pub fn transport<F: Frame + ?Sized>(
        self,
        frame: &F,
        offset: usize,
    ) -> Result<Transport, Unusable> {
        if self.is_later_part() {
            return Err(Unusable::Fragment);
        }
        let header = self.header_length();
        let end = offset + self.total_length();
        if self.version() != 4
            || header < ipv4::HEADER
            || offset + header > end
            || end > frame.len()
        {
            return Err(Unusable::Malformed);
        }
        Ok(Transport {
            protocol: self.protocol(),
            offset: offset + header,
            end,
            is_part: self.part_be() & ipv4::MORE_FRAGMENTS.to_be() != 0,
        })
    }
}

/// An IPv6 header without its extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(pub &'a [u8; ipv6::HEADER]);

impl<'a> Ipv6<'a> {
    /// The header at `offset`.
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, offset: usize) -> Option<Self> {
        frame.window(offset).map(Self)
    }

    /// Memory order.
    #[inline(always)]
    pub fn source(self) -> [u32; 4] {
        words_at(self.0, ipv6::SOURCE)
    }

    /// Memory order.
    #[inline(always)]
    pub fn destination(self) -> [u32; 4] {
        words_at(self.0, ipv6::DESTINATION)
    }

    /// 6, if it is one.
    #[inline(always)]
    pub fn version(self) -> u8 {
        self.0[ipv6::VERSION_AND_CLASS] >> 4
    }

    /// What follows this header.
    #[inline(always)]
    pub fn next_header(self) -> u8 {
        self.0[ipv6::NEXT_HEADER]
    }

    /// The traffic class, with ECN.
    #[inline(always)]
    pub fn class(self) -> u8 {
        let first = u16::from_be(u16_at(self.0, ipv6::VERSION_AND_CLASS));
        (first >> 4).to_le_bytes()[0]
    }

    /// Bytes after this header.
    #[inline(always)]
    pub fn payload_length(self) -> usize {
        u16::from_be(u16_at(self.0, ipv6::PAYLOAD_LENGTH)) as usize
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
        let mut at = offset + ipv6::HEADER;
        for _ in 0..MAX_EXTENSIONS {
            if !is_extension(protocol) {
                break;
            }
            let head: &[u8; 2] = frame.window(at).ok_or(Unusable::Malformed)?;
            protocol = head[extension::NEXT_HEADER];
            at += (head[extension::LENGTH] as usize + 1) * extension::UNIT;
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
        let end = offset + ipv6::HEADER + self.payload_length();
        if self.version() != 6 || end > frame.len() {
            return Err(Unusable::Malformed);
        }
        let (mut protocol, mut at) = self.behind_extensions(frame, offset)?;
        let mut is_part = false;
        if protocol == protocol::FRAGMENT {
            let part = FragmentHeader::at(frame, at).ok_or(Unusable::Malformed)?;
            if part.is_later_part() {
                return Err(Unusable::Fragment);
            }
            is_part = part.is_followed();
            protocol = part.next_header();
            at += fragment::HEADER;
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

/// IPv6's fragment header (RFC 8200, section 4.5).
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentHeader<'a>(pub(super) &'a [u8; fragment::HEADER]);

impl<'a> FragmentHeader<'a> {
    /// The header at `offset`.
    #[inline(always)]
    pub(super) fn at<F: Frame + ?Sized>(frame: &'a F, offset: usize) -> Option<Self> {
        frame.window(offset).map(Self)
    }

    /// What the whole packet carries: one of [`protocol`].
    #[inline(always)]
    pub(super) fn next_header(self) -> u8 {
        self.0[fragment::NEXT_HEADER]
    }

    #[inline(always)]
    fn part_be(self) -> u16 {
        u16_at(self.0, fragment::OFFSET)
    }

    /// Whether it is a part of a packet, and not the first.
    #[inline(always)]
    pub(super) fn is_later_part(self) -> bool {
        self.part_be() & fragment::OFFSET_BITS.to_be() != 0
    }

    /// Whether more parts follow.
    #[inline(always)]
    fn is_followed(self) -> bool {
        self.part_be() & fragment::MORE.to_be() != 0
    }

    /// Where this part begins in the whole packet's payload, in units of 8 bytes.
    #[inline(always)]
    pub(super) fn part_offset(self) -> u16 {
        u16::from_be(self.part_be()) >> 3
    }

    /// What all parts of a packet have in common, in memory order.
    #[inline(always)]
    pub(super) fn identification(self) -> u32 {
        u32_at(self.0, fragment::IDENTIFICATION)
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
pub struct Tcp<'a>(pub &'a [u8; tcp::HEADER]);

impl<'a> Tcp<'a> {
    /// The header that [`Transport`] found; `None` if it does not fit its packet (RFC 9293,
    /// section 3.1).
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, transport: &Transport) -> Option<Self> {
        let head = Self(frame.window(transport.offset)?);
        let length = head.header_length();
        (length >= tcp::HEADER && transport.offset + length <= transport.end).then_some(head)
    }

    /// Network byte order.
    #[inline(always)]
    pub fn source_port_be(self) -> u16 {
        u16_at(self.0, tcp::SOURCE_PORT)
    }

    /// Network byte order.
    #[inline(always)]
    pub fn destination_port_be(self) -> u16 {
        u16_at(self.0, tcp::DESTINATION_PORT)
    }

    /// The sequence number.
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        u32::from_be(u32_at(self.0, tcp::SEQUENCE))
    }

    /// The acknowledgement number in network byte order.
    #[inline(always)]
    pub fn acknowledgement_be(self) -> u32 {
        u32_at(self.0, tcp::ACKNOWLEDGEMENT)
    }

    /// Bytes of the header with its options.
    #[inline(always)]
    pub fn header_length(self) -> usize {
        (self.0[tcp::DATA_OFFSET] >> 4) as usize * 4
    }

    /// Bits of [`tcp_flag`].
    #[inline(always)]
    pub fn flags(self) -> u8 {
        self.0[tcp::FLAGS]
    }

    /// Whether it is the beginning of a SYN that comes in parts, which no TCP sends.
    #[inline(always)]
    pub fn is_syn_in_parts(self, transport: &Transport) -> bool {
        transport.is_part && self.flags() & tcp_flag::SYN != 0
    }
}

/// ARP for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug)]
pub struct Arp<'a>(pub &'a [u8; arp::MESSAGE]);

impl<'a> Arp<'a> {
    /// The message at `offset`; `None` also for other hardware or protocol types.
    #[inline(always)]
    pub fn at<F: Frame + ?Sized>(frame: &'a F, offset: usize) -> Option<Self> {
        let head: &[u8; arp::MESSAGE] = frame.window(offset)?;
        let kind = [head[0], head[1], head[2], head[3], head[4], head[5]];
        (kind == arp::KIND).then_some(Self(head))
    }

    /// Whether it asks who has [`Self::target`]; an announcement asks for its own sender.
    #[inline(always)]
    pub fn is_question(self) -> bool {
        u16_at(self.0, arp::OPERATION) == arp::REQUEST.to_be()
            && u32_at(self.0, arp::SENDER) != self.target()
    }

    /// The address that is asked for. Memory order.
    #[inline(always)]
    pub fn target(self) -> u32 {
        u32_at(self.0, arp::TARGET)
    }
}

/// The target of a neighbour solicitation (RFC 4861, section 4.3); `None` for other messages.
#[inline(always)]
pub fn solicited<F: Frame + ?Sized>(frame: &F, offset: usize) -> Option<[u32; 4]> {
    let head: &[u8; icmp::SOLICITATION_MESSAGE] = frame.window(offset)?;
    (head[icmp::KIND] == icmp::SOLICITATION).then(|| words_at(head, icmp::SOLICITED))
}
