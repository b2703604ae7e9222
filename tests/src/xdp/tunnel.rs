//! Builds tunnelled packets, with a library that has nothing in common with the code under test.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};

use super::packet::{OUR_MAC, ROUTER_MAC, framed};

/// An address of this box: what it tunnels from, and what others tunnel to.
pub const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
/// See [`OWN4`].
pub const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);
/// A box of the cluster on another subnet.
pub const PEER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 40);
/// See [`PEER4`].
pub const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x40, 0, 0, 0, 0, 1);

/// An IP packet inside another, in its frame: from the peer to this box unless told otherwise.
#[derive(Clone, Debug)]
pub struct Tunnelled {
    inner: Vec<u8>,
    protocol: IpNumber,
    from: IpAddr,
    to: IpAddr,
    macs: [[u8; 6]; 2],
    tags: Vec<u16>,
    flow_label: u32,
    edits: Vec<(usize, Vec<u8>)>,
    cut: Option<usize>,
}

/// In an outer IPv4 header.
#[must_use]
pub fn in4(inner: impl Into<Vec<u8>>) -> Tunnelled {
    tunnelled(inner.into(), PEER4.into(), OWN4.into())
}

/// In an outer IPv6 header.
#[must_use]
pub fn in6(inner: impl Into<Vec<u8>>) -> Tunnelled {
    tunnelled(inner.into(), PEER6.into(), OWN6.into())
}

fn tunnelled(inner: Vec<u8>, from: IpAddr, to: IpAddr) -> Tunnelled {
    Tunnelled {
        protocol: if inner.first().is_some_and(|first| first >> 4 == 6) {
            IpNumber::IPV6
        } else {
            IpNumber::IPV4
        },
        inner,
        from,
        to,
        macs: [ROUTER_MAC, OUR_MAC],
        tags: Vec::new(),
        flow_label: 0,
        edits: Vec::new(),
        cut: None,
    }
}

impl Tunnelled {
    /// From another address.
    #[must_use]
    pub fn from(mut self, address: impl Into<IpAddr>) -> Self {
        self.from = address.into();
        self
    }

    /// To another address.
    #[must_use]
    pub fn to(mut self, address: impl Into<IpAddr>) -> Self {
        self.to = address.into();
        self
    }

    /// From this box to the peer.
    #[must_use]
    pub fn outwards(mut self) -> Self {
        std::mem::swap(&mut self.from, &mut self.to);
        self
    }

    /// Between these MACs.
    #[must_use]
    pub fn between(mut self, from: [u8; 6], to: [u8; 6]) -> Self {
        self.macs = [from, to];
        self
    }

    /// With these 802.1Q tags, the outer first.
    #[must_use]
    pub fn tagged(mut self, ids: &[u16]) -> Self {
        self.tags = ids.to_vec();
        self
    }

    /// With another protocol number in the outer header.
    #[must_use]
    pub fn protocol(mut self, number: u8) -> Self {
        self.protocol = IpNumber(number);
        self
    }

    /// With this flow label, if the outer header is of IPv6.
    #[must_use]
    pub fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label;
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

    /// The frame. Bytes after the inner packet become padding of the frame.
    ///
    /// # Panics
    /// When it cannot be written, such as with addresses of two families.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let inner = &self.inner;
        let be16 = |at: usize| u16::from_be_bytes([inner[at], inner[at + 1]]);
        let is_v6 = inner[0] >> 4 == 6;
        let (class, length) = if is_v6 {
            (inner[0] << 4 | inner[1] >> 4, 40 + be16(4))
        } else {
            (inner[1], be16(2))
        };
        let mut packet = Vec::new();
        let family = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let mut ip = Ipv4Header::new(length, 64, self.protocol, from, to).expect("short");
                ip.dscp = (class >> 2).try_into().expect("6 bits");
                ip.ecn = (class & 3).try_into().expect("2 bits");
                ip.dont_fragment = true;
                ip.header_checksum = ip.calc_header_checksum();
                ip.write(&mut packet).expect("a vector takes all");
                4
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ip = Ipv6Header {
                    traffic_class: class,
                    flow_label: Ipv6FlowLabel::try_new(self.flow_label).expect("20 bits"),
                    payload_length: length,
                    next_header: self.protocol,
                    hop_limit: 64,
                    source: from.octets(),
                    destination: to.octets(),
                };
                ip.write(&mut packet).expect("a vector takes all");
                6
            }
            _ => panic!("addresses of two families"),
        };
        packet.extend(inner);
        let mut frame = framed(self.macs, &self.tags, family, &packet);
        for (offset, bytes) in &self.edits {
            frame[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        if let Some(length) = self.cut {
            frame.truncate(length);
        }
        frame
    }
}
