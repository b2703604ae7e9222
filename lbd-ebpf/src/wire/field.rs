//! Where the fields of each header are, in bytes from its first one, and how a field is divided.

/// Ethernet. A MAC is read as four bytes and then two.
pub mod ethernet {
    /// The receiver's MAC.
    pub const DESTINATION: usize = 0;
    /// The sender's MAC.
    pub const SOURCE: usize = 6;
    /// What follows: one of [`crate::wire::parse::ethertype`].
    pub const TYPE: usize = 12;
    /// Bytes of both MACs.
    pub const MACS: usize = 12;
    /// Bytes of the header without tags.
    pub const HEADER: usize = 14;
    /// Bytes of a tag (IEEE 802.1Q), which stands between the MACs and the type.
    pub const TAG: usize = 4;
    /// Where what follows a tag is named, in a tag that is read from behind its own type on.
    pub const TAG_TYPE: usize = 2;
    /// The last two bytes of a MAC.
    pub const MAC_TAIL: usize = 4;
}

/// ARP for IPv4 over Ethernet (RFC 826).
pub mod arp {
    /// Hardware and protocol type, and the lengths of their addresses.
    pub const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
    /// What the message is.
    pub const OPERATION: usize = 6;
    /// [`OPERATION`] of a question.
    pub const REQUEST: u16 = 1;
    /// The sender's IPv4 address.
    pub const SENDER: usize = 14;
    /// The IPv4 address that is asked for.
    pub const TARGET: usize = 24;
    /// Bytes of the message.
    pub const MESSAGE: usize = 28;
}

/// IPv4 (RFC 791, section 3.1).
pub mod ipv4 {
    /// Four bits each: the version, and the header's length in words of four bytes.
    pub const VERSION_AND_LENGTH: usize = 0;
    /// [`VERSION_AND_LENGTH`] of a header without options.
    pub const PLAIN: u8 = 0x45;
    /// The class of service, with ECN (RFC 3168).
    pub const CLASS: usize = 1;
    /// Bytes of the packet.
    pub const TOTAL_LENGTH: usize = 2;
    /// What the parts of a packet have in common.
    pub const IDENTIFICATION: usize = 4;
    /// Flags, and where a part begins.
    pub const FRAGMENT: usize = 6;
    /// Of [`FRAGMENT`]: no router may cut the packet up.
    pub const DONT_FRAGMENT: u16 = 0x4000;
    /// Of [`FRAGMENT`]: more parts follow.
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    /// Of [`FRAGMENT`]: where this part begins, in units of 8 bytes.
    pub const FRAGMENT_OFFSET: u16 = 0x1fff;
    /// What follows: one of [`crate::wire::parse::protocol`].
    pub const PROTOCOL: usize = 9;
    /// The header's checksum.
    pub const CHECKSUM: usize = 10;
    /// The sender's address.
    pub const SOURCE: usize = 12;
    /// The receiver's address.
    pub const DESTINATION: usize = 16;
    /// Bytes of the header without options.
    pub const HEADER: usize = 20;
}

/// IPv6 (RFC 8200, section 3).
pub mod ipv6 {
    /// The version, the traffic class and the flow label.
    pub const VERSION_AND_CLASS: usize = 0;
    /// Bytes after this header.
    pub const PAYLOAD_LENGTH: usize = 4;
    /// What follows: one of [`crate::wire::parse::protocol`].
    pub const NEXT_HEADER: usize = 6;
    /// The sender's address.
    pub const SOURCE: usize = 8;
    /// The receiver's address.
    pub const DESTINATION: usize = 24;
    /// Bytes of the header.
    pub const HEADER: usize = 40;
}

/// An IPv6 extension header of the usual form (RFC 8200, section 4.2).
pub mod extension {
    /// What follows.
    pub const NEXT_HEADER: usize = 0;
    /// Its length beyond the first unit.
    pub const LENGTH: usize = 1;
    /// Bytes of a unit.
    pub const UNIT: usize = 8;
}

/// IPv6's fragment header (RFC 8200, section 4.5).
pub mod fragment {
    /// What the whole packet carries.
    pub const NEXT_HEADER: usize = 0;
    /// Where this part begins, and whether more follow.
    pub const OFFSET: usize = 2;
    /// Of [`OFFSET`]: where this part begins, in bytes.
    pub const OFFSET_BITS: u16 = 0xfff8;
    /// Of [`OFFSET`]: more parts follow.
    pub const MORE: u16 = 1;
    /// What the parts of a packet have in common.
    pub const IDENTIFICATION: usize = 4;
    /// Bytes of the header.
    pub const HEADER: usize = 8;
}

/// TCP (RFC 9293, section 3.1).
pub mod tcp {
    /// The sender's port.
    pub const SOURCE_PORT: usize = 0;
    /// The receiver's port.
    pub const DESTINATION_PORT: usize = 2;
    /// Bytes of both ports.
    pub const PORTS: usize = 4;
    /// The sequence number.
    pub const SEQUENCE: usize = 4;
    /// The acknowledgement number.
    pub const ACKNOWLEDGEMENT: usize = 8;
    /// Its upper four bits: the header's length in words of four bytes.
    pub const DATA_OFFSET: usize = 12;
    /// Bits of [`crate::wire::parse::tcp_flag`].
    pub const FLAGS: usize = 13;
    /// The checksum.
    pub const CHECKSUM: usize = 16;
    /// The urgent pointer.
    pub const URGENT: usize = 18;
    /// Bytes of the header without options.
    pub const HEADER: usize = 20;
}

/// ICMP (RFC 792) and `ICMPv6` (RFC 4443).
pub mod icmp {
    /// What the message is.
    pub const KIND: usize = 0;
    /// The checksum.
    pub const CHECKSUM: usize = 2;
    /// The second word, whose meaning the kind decides: of "too big", the MTU.
    pub const SECOND_WORD: usize = 4;
    /// Bytes before what the message carries.
    pub const HEADER: usize = 8;
    /// [`KIND`] of a neighbour solicitation (RFC 4861, section 4.3).
    pub const SOLICITATION: u8 = 135;
    /// The address that a solicitation asks for.
    pub const SOLICITED: usize = 8;
    /// Bytes of a solicitation without options.
    pub const SOLICITATION_MESSAGE: usize = 24;
}
