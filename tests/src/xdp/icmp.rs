//! Builds ICMP messages, with a library that has nothing in common with the code under test.
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, Ipv4Header, Ipv6FlowLabel,
    Ipv6Header,
};

use super::packet::{
    ACK, CLIENT4, CLIENT6, OUR_MAC, ROUTER_MAC, Segment, VIP4, VIP6, framed, v4, v6,
};

/// A router on the way to the client.
pub const ROUTER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// A router on the way to the client.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);

/// An ICMP message of a router to the VIP, in its frame.
#[derive(Clone, Debug)]
pub struct Icmp {
    family: u8,
    kind: u8,
    code: u8,
    /// The second word of the header: the MTU, the pointer.
    rest: u32,
    /// What follows the header.
    body: Vec<u8>,
    from: (Ipv4Addr, Ipv6Addr),
    to: (Ipv4Addr, Ipv6Addr),
    macs: [[u8; 6]; 2],
    tags: Vec<u16>,
    edits: Vec<(usize, Vec<u8>)>,
    cut: Option<usize>,
}

/// An IPv4 segment from the VIP to the client.
#[must_use]
pub fn reply4() -> Segment {
    v4(ACK).back().payload(100)
}

/// An IPv6 segment from the VIP to the client.
#[must_use]
pub fn reply6() -> Segment {
    v6(ACK).back().payload(100)
}

/// An ICMP error about the start of [`reply4`], as RFC 792 has it: the IP header and 8 bytes.
#[must_use]
pub fn icmp4(kind: u8, code: u8) -> Icmp {
    Icmp {
        family: 4,
        kind,
        code,
        rest: 0,
        body: reply4().packet()[..28].to_vec(),
        from: (ROUTER4, ROUTER6),
        to: (VIP4, VIP6),
        macs: [ROUTER_MAC, OUR_MAC],
        tags: Vec::new(),
        edits: Vec::new(),
        cut: None,
    }
}

/// An `ICMPv6` error about [`reply6`].
#[must_use]
pub fn icmp6(kind: u8, code: u8) -> Icmp {
    Icmp {
        family: 6,
        body: reply6().packet(),
        ..icmp4(kind, code)
    }
}

impl Icmp {
    /// With this in the second word of the header.
    #[must_use]
    pub fn rest(mut self, rest: u32) -> Self {
        self.rest = rest;
        self
    }

    /// With these bytes behind the header.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// About the first `bytes` of another packet.
    #[must_use]
    pub fn about(self, segment: &Segment, bytes: usize) -> Self {
        let mut packet = segment.packet();
        packet.truncate(bytes);
        self.body(packet)
    }

    /// To another address.
    #[must_use]
    pub fn to(mut self, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        self.to = (v4, v6);
        self
    }

    /// From another address.
    #[must_use]
    pub fn from(mut self, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        self.from = (v4, v6);
        self
    }

    /// Sent to the box with this MAC.
    #[must_use]
    pub fn to_mac(mut self, mac: [u8; 6]) -> Self {
        self.macs[1] = mac;
        self
    }

    /// From the VIP to the client, as an answer of the program.
    #[must_use]
    pub fn answer(mut self) -> Self {
        self.from = (VIP4, VIP6);
        self.to = (CLIENT4, CLIENT6);
        self.macs = [OUR_MAC, ROUTER_MAC];
        self
    }

    /// Sent by a box with this MAC.
    #[must_use]
    pub fn from_mac(mut self, mac: [u8; 6]) -> Self {
        self.macs[0] = mac;
        self
    }

    /// With these 802.1Q tags, the outer first.
    #[must_use]
    pub fn tagged(mut self, ids: &[u16]) -> Self {
        self.tags = ids.to_vec();
        self
    }

    /// With these bytes at `offset` of the finished frame.
    #[must_use]
    pub fn edit(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.edits.push((offset, bytes.to_vec()));
        self
    }

    /// Cut to so many bytes.
    #[must_use]
    pub fn cut(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    /// The IP packet.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let (type_u8, code_u8, bytes5to8) = (self.kind, self.code, self.rest.to_be_bytes());
        let length = u16::try_from(8 + self.body.len()).expect("a short body");
        let mut packet = Vec::new();
        if self.family == 4 {
            let (from, to) = (self.from.0.octets(), self.to.0.octets());
            let mut ip = Ipv4Header::new(length, 64, IpNumber::ICMP, from, to).expect("short");
            ip.dont_fragment = true;
            ip.header_checksum = ip.calc_header_checksum();
            ip.write(&mut packet).expect("a vector takes all");
            let icmp = Icmpv4Type::Unknown {
                type_u8,
                code_u8,
                bytes5to8,
            };
            let icmp = Icmpv4Header::with_checksum(icmp, &self.body);
            icmp.write(&mut packet).expect("a vector takes all");
        } else {
            let (source, destination) = (self.from.1.octets(), self.to.1.octets());
            let ip = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: length,
                next_header: IpNumber::IPV6_ICMP,
                hop_limit: 64,
                source,
                destination,
            };
            ip.write(&mut packet).expect("a vector takes all");
            let icmp = Icmpv6Type::Unknown {
                type_u8,
                code_u8,
                bytes5to8,
            };
            let icmp = Icmpv6Header::with_checksum(icmp, source, destination, &self.body);
            let icmp = icmp.expect("short");
            icmp.write(&mut packet).expect("a vector takes all");
        }
        packet.extend(&self.body);
        packet
    }

    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = framed(self.macs, &self.tags, self.family, &self.packet());
        for (offset, bytes) in &self.edits {
            frame[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        if let Some(length) = self.cut {
            frame.truncate(length);
        }
        frame
    }
}
