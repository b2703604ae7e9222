//! Builds frames, with a library that has nothing in common with the code under test.
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv4Options, Ipv6FlowLabel, Ipv6Header,
    NetHeaders, PacketHeaders, SingleVlanHeader, TcpHeader, TcpHeaderSlice, TransportHeader,
    VlanId, VlanPcp,
};

/// The interface that the program runs on.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xd1];
/// Where clients' frames come from.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
/// Another box of the cluster.
pub const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe1];

/// The virtual address.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 25);
/// The virtual address.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25);
/// A sender of mail.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// A sender of mail.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
/// Its port.
pub const CLIENT_PORT: u16 = 40_000;
/// The served port.
pub const PORT: u16 = 25;

/// TCP flags as they are written in rows.
pub const FIN: u8 = 1;
/// See [`FIN`].
pub const SYN: u8 = 2;
/// See [`FIN`].
pub const RST: u8 = 4;
/// See [`FIN`].
pub const PSH: u8 = 8;
/// See [`FIN`].
pub const ACK: u8 = 16;

/// A TCP segment in its frame, from the client to the VIP unless told otherwise.
#[derive(Clone, Debug)]
pub struct Segment {
    family: u8,
    macs: [[u8; 6]; 2],
    tags: Vec<u16>,
    v4: [Ipv4Addr; 2],
    v6: [Ipv6Addr; 2],
    options: usize,
    ports: [u16; 2],
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    payload: Vec<u8>,
    padding: usize,
    dont_fragment: bool,
    ttl: u8,
    class: u8,
    identification: u16,
    window: u16,
    /// Changes to the finished frame.
    edits: Vec<(usize, Vec<u8>)>,
    cut: Option<usize>,
}

/// An IPv4 segment of the client to the VIP.
pub fn v4(flags: u8) -> Segment {
    Segment {
        family: 4,
        macs: [ROUTER_MAC, OUR_MAC],
        tags: Vec::new(),
        v4: [CLIENT4, VIP4],
        v6: [CLIENT6, VIP6],
        options: 0,
        ports: [CLIENT_PORT, PORT],
        sequence: 1000,
        acknowledgement: 2000,
        flags,
        payload: Vec::new(),
        padding: 0,
        dont_fragment: true,
        ttl: 60,
        class: 0,
        identification: 4711,
        window: 64_240,
        edits: Vec::new(),
        cut: None,
    }
}

/// An IPv6 segment of the client to the VIP.
pub fn v6(flags: u8) -> Segment {
    Segment {
        family: 6,
        ..v4(flags)
    }
}

impl Segment {
    /// With these 802.1Q tags, the outer first.
    #[must_use]
    pub fn tagged(mut self, ids: &[u16]) -> Self {
        self.tags = ids.to_vec();
        self
    }

    /// With so many bytes of IPv4 options (a multiple of 4, at most 40).
    #[must_use]
    pub fn options(mut self, bytes: usize) -> Self {
        self.options = bytes;
        self
    }

    /// With so many bytes of text.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = (b'a'..=b'z').cycle().take(bytes).collect();
        self
    }

    /// With so many bytes after the IP packet, as short Ethernet frames have.
    #[must_use]
    pub fn padding(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// Sent by a box with this MAC.
    #[must_use]
    pub fn from_mac(mut self, mac: [u8; 6]) -> Self {
        self.macs[0] = mac;
        self
    }

    /// Sent to the box with this MAC.
    #[must_use]
    pub fn to_mac(mut self, mac: [u8; 6]) -> Self {
        self.macs[1] = mac;
        self
    }

    /// From another port of the client.
    #[must_use]
    pub fn from_port(mut self, port: u16) -> Self {
        self.ports[0] = port;
        self
    }

    /// To another port.
    #[must_use]
    pub fn to_port(mut self, port: u16) -> Self {
        self.ports[1] = port;
        self
    }

    /// From another IPv4 address.
    #[must_use]
    pub fn from4(mut self, address: Ipv4Addr) -> Self {
        self.v4[0] = address;
        self
    }

    /// From another IPv6 address.
    #[must_use]
    pub fn from6(mut self, address: Ipv6Addr) -> Self {
        self.v6[0] = address;
        self
    }

    /// To another IPv4 address.
    #[must_use]
    pub fn to4(mut self, address: Ipv4Addr) -> Self {
        self.v4[1] = address;
        self
    }

    /// To another IPv6 address.
    #[must_use]
    pub fn to6(mut self, address: Ipv6Addr) -> Self {
        self.v6[1] = address;
        self
    }

    /// With other TCP flags.
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// Whether it has exactly these TCP flags, but for [`PSH`].
    #[must_use]
    pub fn is(&self, flags: u8) -> bool {
        self.flags & !PSH == flags
    }

    /// With these sequence and acknowledgement numbers.
    #[must_use]
    pub fn numbers(mut self, sequence: u32, acknowledgement: u32) -> Self {
        self.sequence = sequence;
        self.acknowledgement = acknowledgement;
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

    /// The RST that answers it (RFC 9293, section 3.10.7.1), from the VIP to the client.
    #[must_use]
    pub fn reset(&self) -> Self {
        let mut answer = self.clone();
        answer.macs.reverse();
        answer.v4.reverse();
        answer.v6.reverse();
        answer.ports.reverse();
        answer.options = 0;
        answer.padding = 0;
        answer.edits.clear();
        answer.ttl = 64;
        answer.identification = 0;
        answer.window = 0;
        answer.payload.clear();
        if self.flags & ACK == 0 {
            let length = u32::try_from(self.payload.len()).expect("a short payload")
                + u32::from(self.flags & SYN != 0)
                + u32::from(self.flags & FIN != 0);
            answer.sequence = 0;
            answer.acknowledgement = self.sequence + length;
            answer.flags = RST | ACK;
        } else {
            answer.sequence = self.acknowledgement;
            answer.acknowledgement = 0;
            answer.flags = RST;
        }
        answer
    }

    /// The other way: from the VIP to the client.
    #[must_use]
    pub fn back(mut self) -> Self {
        self.macs.reverse();
        self.v4.reverse();
        self.v6.reverse();
        self.ports.reverse();
        self
    }

    /// With this type of service or traffic class.
    #[must_use]
    pub fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }

    /// With "don't fragment" or without.
    #[must_use]
    pub fn dont_fragment(mut self, dont: bool) -> Self {
        self.dont_fragment = dont;
        self
    }

    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = framed(self.macs, &self.tags, self.family, &self.packet());
        frame.extend(std::iter::repeat_n(0, self.padding));
        for (offset, bytes) in &self.edits {
            frame[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        if let Some(length) = self.cut {
            frame.truncate(length);
        }
        frame
    }

    /// The IP packet, without the changes to the finished frame.
    ///
    /// # Panics
    /// When the segment cannot be written, such as with 7 bytes of options.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let mut packet = Vec::new();
        let mut tcp = TcpHeader::new(self.ports[0], self.ports[1], self.sequence, self.window);
        tcp.acknowledgment_number = self.acknowledgement;
        tcp.fin = self.flags & FIN != 0;
        tcp.syn = self.flags & SYN != 0;
        tcp.rst = self.flags & RST != 0;
        tcp.psh = self.flags & PSH != 0;
        tcp.ack = self.flags & ACK != 0;
        let length = u16::try_from(20 + self.payload.len()).expect("a short payload");
        if self.family == 4 {
            let [from, to] = self.v4.map(|address| address.octets());
            let mut ip = Ipv4Header::new(length, self.ttl, IpNumber::TCP, from, to)
                .expect("a short payload");
            ip.identification = self.identification;
            ip.dscp = (self.class >> 2).try_into().expect("6 bits");
            ip.ecn = (self.class & 3).try_into().expect("2 bits");
            ip.dont_fragment = self.dont_fragment;
            // No-operation options.
            ip.options = Ipv4Options::try_from(&[1; 40][..self.options]).expect("a multiple of 4");
            ip.set_payload_len(length.into()).expect("a short payload");
            ip.header_checksum = ip.calc_header_checksum();
            tcp.checksum = tcp
                .calc_checksum_ipv4(&ip, &self.payload)
                .expect("a short payload");
            ip.write(&mut packet).expect("a vector takes all");
        } else {
            let [from, to] = self.v6.map(|address| address.octets());
            let ip = Ipv6Header {
                traffic_class: self.class,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: length,
                next_header: IpNumber::TCP,
                hop_limit: self.ttl,
                source: from,
                destination: to,
            };
            tcp.checksum = tcp
                .calc_checksum_ipv6(&ip, &self.payload)
                .expect("a short payload");
            ip.write(&mut packet).expect("a vector takes all");
        }
        tcp.write(&mut packet).expect("a vector takes all");
        packet.extend(&self.payload);
        packet
    }
}

impl From<Segment> for Vec<u8> {
    fn from(segment: Segment) -> Self {
        segment.bytes()
    }
}

/// An IP packet in its frame: MACs of sender and receiver, 802.1Q tags, the outer first.
///
/// # Panics
/// When a tag has more than 12 bits.
#[must_use]
pub fn framed(macs: [[u8; 6]; 2], tags: &[u16], family: u8, packet: &[u8]) -> Vec<u8> {
    let network = if family == 4 {
        EtherType::IPV4
    } else {
        EtherType::IPV6
    };
    let mut frame = Vec::new();
    Ethernet2Header {
        source: macs[0],
        destination: macs[1],
        ether_type: if tags.is_empty() {
            network
        } else {
            EtherType::VLAN_TAGGED_FRAME
        },
    }
    .write(&mut frame)
    .expect("a vector takes all");
    for (index, id) in tags.iter().enumerate() {
        SingleVlanHeader {
            pcp: VlanPcp::ZERO,
            drop_eligible_indicator: false,
            vlan_id: VlanId::try_new(*id).expect("12 bits"),
            ether_type: if index + 1 == tags.len() {
                network
            } else {
                EtherType::VLAN_TAGGED_FRAME
            },
        }
        .write(&mut frame)
        .expect("a vector takes all");
    }
    frame.extend(packet);
    frame
}

/// The payload of an Ethernet frame between two boxes.
pub fn ethernet(from: [u8; 6], to: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &ether_type.to_be_bytes()].concat();
    frame.extend(payload);
    frame
}

/// An ARP message (operation 1 asks, 2 answers).
pub fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation];
    message.extend(ROUTER_MAC);
    message.extend(sender.octets());
    message.extend([0; 6]);
    message.extend(target.octets());
    ethernet(ROUTER_MAC, [0xff; 6], 0x0806, &message)
}

/// An `ICMPv6` message of neighbour discovery (135 asks, 136 answers) about `target`.
pub fn neighbour(kind: u8, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![58_u8, 255];
    message.extend(CLIENT6.octets());
    message.extend(target.octets());
    let mut packet = vec![0x60, 0, 0, 0, 0, 24];
    packet.extend(&message);
    packet.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
    packet.extend(target.octets());
    ethernet(ROUTER_MAC, [0x33, 0x33, 0xff, 0, 0, 0x25], 0x86dd, &packet)
}

/// Whether the checksums of a frame are right: of TCP and ICMP, and of what is inside a tunnel.
///
/// # Errors
/// What is wrong with it.
pub fn check_sums(frame: &[u8]) -> Result<(), String> {
    let headers = PacketHeaders::from_ethernet_slice(frame).map_err(|error| error.to_string())?;
    check_packet(frame, &headers)
}

/// `whole` is what the headers were read of.
fn check_packet(whole: &[u8], headers: &PacketHeaders<'_>) -> Result<(), String> {
    let payload = headers.payload.slice();
    let inner = match &headers.net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            if ip.header_checksum != ip.calc_header_checksum() {
                return Err(format!("IPv4 checksum {:#06x}", ip.header_checksum));
            }
            ip.protocol
        }
        Some(NetHeaders::Ipv6(ip, _)) => ip.next_header,
        _ => return Ok(()),
    };
    if matches!(inner, IpNumber::IPV4 | IpNumber::IPV6) {
        let inner = PacketHeaders::from_ip_slice(payload).map_err(|error| error.to_string())?;
        return check_packet(payload, &inner);
    }
    let (found, wanted) = match (&headers.net, &headers.transport) {
        (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Tcp(tcp))) => {
            let wanted = tcp_slice(whole, payload, tcp)?;
            let wanted = wanted.calc_checksum_ipv4_raw(ip.source, ip.destination, payload);
            (tcp.checksum, wanted.map_err(|error| error.to_string())?)
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Tcp(tcp))) => {
            let wanted = tcp_slice(whole, payload, tcp)?;
            let wanted = wanted.calc_checksum_ipv6_raw(ip.source, ip.destination, payload);
            (tcp.checksum, wanted.map_err(|error| error.to_string())?)
        }
        (_, Some(TransportHeader::Icmpv4(icmp))) => {
            (icmp.checksum, icmp.icmp_type.calc_checksum(payload))
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Icmpv6(icmp))) => {
            let (from, to) = (ip.source, ip.destination);
            let wanted = icmp.icmp_type.calc_checksum(from, to, payload);
            (icmp.checksum, wanted.map_err(|error| error.to_string())?)
        }
        _ => return Ok(()),
    };
    if found == wanted {
        Ok(())
    } else {
        Err(format!(
            "transport checksum {found:#06x} instead of {wanted:#06x}"
        ))
    }
}

/// The header before `payload` as it stands in the packet: a `TcpHeader` has no reserved bits.
fn tcp_slice<'a>(
    whole: &'a [u8],
    payload: &[u8],
    tcp: &TcpHeader,
) -> Result<TcpHeaderSlice<'a>, String> {
    let end = payload.as_ptr().addr() - whole.as_ptr().addr();
    TcpHeaderSlice::from_slice(&whole[end - tcp.header_len()..end])
        .map_err(|error| error.to_string())
}

/// The frame as a box hands it on for the last time: with the first reserved bit of its TCP header set.
///
/// # Panics
/// When it is no frame of a whole TCP segment.
#[must_use]
pub fn marked(mut frame: Vec<u8>) -> Vec<u8> {
    let headers = PacketHeaders::from_ethernet_slice(&frame).expect("a whole frame");
    let Some(TransportHeader::Tcp(tcp)) = &headers.transport else {
        panic!("no TCP segment");
    };
    let payload = headers.payload.slice();
    let start = payload.as_ptr().addr() - frame.as_ptr().addr() - tcp.header_len();
    let mut slice = frame[start..start + tcp.header_len()].to_vec();
    slice[12] |= 0x08;
    let slice = TcpHeaderSlice::from_slice(&slice).expect("one");
    let sum = match &headers.net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            slice.calc_checksum_ipv4_raw(ip.source, ip.destination, payload)
        }
        Some(NetHeaders::Ipv6(ip, _)) => {
            slice.calc_checksum_ipv6_raw(ip.source, ip.destination, payload)
        }
        _ => panic!("no IP packet"),
    };
    let sum = sum.expect("a short payload").to_be_bytes();
    frame[start + 12] |= 0x08;
    frame[start + 16..start + 18].copy_from_slice(&sum);
    frame
}
