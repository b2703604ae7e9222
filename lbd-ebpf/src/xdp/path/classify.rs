//! Whom a frame is for, and who sent it.
use lbd_common::{
    counters::Reason,
    hash::{MAX_PROBE, slot_mac, slot_u32, slot_v6},
    maps::{NODE_SLOTS, VIP_SLOTS},
    prefilter::NODE,
    vip::{MAX_PORTS, Vip},
};
use lbd_ebpf::wire::parse::{self, Ipv4, Ipv6, Link, Tcp, Unusable, protocol, tcp_flag};

use super::prefilter;
use crate::xdp::{
    answer::neighbour,
    exit::{Exit, Stage, later},
    family::{Family, Key, V4, V6, key4, key6},
    forward::{decap, reply, translate::Ends},
    packet::Packet,
    tables::maps::{NODES, VIPS},
};

/// A TCP segment for a served port of a VIP, which no box of the cluster has steered here.
pub(crate) struct ForVip<const K: usize> {
    /// Who talks to which VIP.
    pub(crate) key: Key<K>,
    /// Of the key.
    pub(crate) hash: u64,
    /// Bits of [`tcp_flag`].
    pub(crate) flags: u8,
    /// Whether it carries data.
    pub(crate) has_payload: bool,
    /// The port of the VIP. Network byte order.
    pub(crate) port_be: u16,
}

/// What is wanted of a VIP.
pub(crate) enum Wanted<const K: usize> {
    /// Its service.
    Segment(ForVip<K>),
    /// It is told something by ICMP or `ICMPv6`: see [`super::icmp`].
    Message,
}

impl<const K: usize> ForVip<K> {
    /// Stands for the session of this key, as if a segment with these flags had come.
    #[inline(always)]
    pub(crate) fn named(key: Key<K>, hash: u64, flags: u8) -> Self {
        Self {
            key,
            hash,
            flags,
            has_payload: false,
            port_be: 0,
        }
    }

    /// What it does, as a number that a function of its own can take.
    #[inline(always)]
    pub(crate) fn what(&self) -> u32 {
        self.flags as u32 | (self.has_payload as u32) << 8
    }

    /// Stands for a segment of this key that does `what`.
    #[inline(always)]
    pub(crate) fn told(key: Key<K>, what: u32) -> Self {
        Self {
            key,
            hash: 0,
            flags: what as u8,
            has_payload: what & 1 << 8 != 0,
            port_be: 0,
        }
    }

    /// Whether the client asks for a new connection.
    #[inline(always)]
    pub(crate) fn is_syn(&self) -> bool {
        self.flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN)
            == tcp_flag::SYN
    }

    /// Whether it ends the session at once.
    #[inline(always)]
    pub(crate) fn is_reset(&self) -> bool {
        self.flags & tcp_flag::RST != 0
    }

    /// Whether it is a segment of a session that goes on.
    #[inline(always)]
    pub(crate) fn is_data(&self) -> bool {
        self.flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN)
            == tcp_flag::ACK
    }
}

/// The frame of an IPv4 segment with these ends, as far as it is known by them.
#[inline(always)]
pub(crate) fn frame4(ends: &Ends) -> Option<ForVip<1>> {
    let vip_id = service(vip4(ends.destination[0])?, ends.destination_port_be)?;
    let key = key4(ends.source[0], ends.source_port_be, vip_id);
    Some(ForVip::named(key, V4::hash(&key), ends.flags))
}

/// Likewise, IPv6.
#[inline(always)]
pub(crate) fn frame6(ends: &Ends) -> Option<ForVip<3>> {
    let vip_id = service(vip6(ends.destination)?, ends.destination_port_be)?;
    let key = key6(ends.source, ends.source_port_be, vip_id);
    Some(ForVip::named(key, V6::hash(&key), ends.flags))
}

/// Lets an IPv4 frame go on if it is a TCP segment for a VIP.
#[inline(always)]
pub(crate) fn ipv4(packet: &Packet, link: &Link, is_clients: u32) -> Stage<Wanted<1>> {
    let Some(ip) = Ipv4::at(packet, link.network) else {
        return Err(Exit::Pass(Reason::PassMalformed));
    };
    let Some(vip) = vip4(ip.destination()) else {
        if decap::is_tunnel(ip.protocol()) {
            return Err(decap::decapsulate(packet));
        }
        return Err(reply::from_backend());
    };
    let transport = ip.transport(packet, link.network).map_err(unusable)?;
    if transport.protocol != protocol::TCP {
        return other(transport.protocol, protocol::ICMP);
    }
    let (tcp, vip_id) = segment(packet, &transport, vip, is_clients)?;
    let key = key4(ip.source(), tcp.source_port_be(), vip_id);
    Ok(Wanted::Segment(ForVip {
        key,
        hash: V4::hash(&key),
        flags: tcp.flags(),
        has_payload: has_payload(&tcp, &transport),
        port_be: tcp.destination_port_be(),
    }))
}

/// Lets an IPv6 frame go on if it is a TCP segment for a VIP.
#[inline(always)]
pub(crate) fn ipv6(packet: &Packet, link: &Link, is_clients: u32) -> Stage<Wanted<3>> {
    let Some(ip) = Ipv6::at(packet, link.network) else {
        return Err(Exit::Pass(Reason::PassMalformed));
    };
    let Some(vip) = vip6(ip.destination()) else {
        if decap::is_tunnel(ip.next_header()) {
            return Err(decap::decapsulate(packet));
        }
        return Err(match neighbour::solicitation(packet, link, ip) {
            Some(exit) => exit,
            None => reply::from_backend(),
        });
    };
    let transport = ip.transport(packet, link.network).map_err(unusable)?;
    if transport.protocol != protocol::TCP {
        return other(transport.protocol, protocol::ICMPV6);
    }
    let (tcp, vip_id) = segment(packet, &transport, vip, is_clients)?;
    let key = key6(ip.source(), tcp.source_port_be(), vip_id);
    Ok(Wanted::Segment(ForVip {
        key,
        hash: V6::hash(&key),
        flags: tcp.flags(),
        has_payload: has_payload(&tcp, &transport),
        port_be: tcp.destination_port_be(),
    }))
}

/// The rest of both families: a served port, and a sender outside the cluster, or a client in it
/// ([`super::steered`]).
#[inline(always)]
fn segment<'a>(
    packet: &'a Packet,
    transport: &parse::Transport,
    vip: &Vip,
    is_clients: u32,
) -> Stage<(Tcp<'a>, u16)> {
    let Some(tcp) = Tcp::at(packet, transport) else {
        return Err(Exit::Drop(Reason::DropMalformed));
    };
    let Some(vip_id) = service(vip, tcp.destination_port_be()) else {
        return Err(Exit::Pass(Reason::PassOtherService));
    };
    if is_clients == 0 && parse::sender(packet).is_some_and(is_node) {
        return Err(Exit::Done(later::HANDED));
    }
    Ok((tcp, vip_id))
}

#[inline(always)]
fn has_payload(tcp: &Tcp<'_>, transport: &parse::Transport) -> bool {
    transport.offset + tcp.header_length() < transport.end
}

/// What is for a VIP and not TCP.
#[inline(always)]
fn other<const K: usize>(protocol: u8, icmp: u8) -> Stage<Wanted<K>> {
    if protocol == icmp {
        return Ok(Wanted::Message);
    }
    Err(Exit::Pass(Reason::PassOtherService))
}

#[inline(always)]
pub(crate) fn unusable(why: Unusable) -> Exit {
    Exit::Drop(match why {
        Unusable::Malformed => Reason::DropMalformed,
        Unusable::Fragment => Reason::DropFragment,
    })
}

/// The VIP with this IPv4 address.
#[inline(always)]
pub(crate) fn vip4(address: u32) -> Option<&'static Vip> {
    let home = slot_u32(address, VIP_SLOTS);
    for distance in 0..MAX_PROBE {
        let vip = VIPS.get((home + distance) & (VIP_SLOTS - 1))?;
        if vip.family == 0 {
            return None;
        }
        if vip.address[0] == address && vip.family == 4 {
            return Some(vip);
        }
    }
    None
}

/// The VIP with this IPv6 address.
#[inline(always)]
pub(crate) fn vip6(address: [u32; 4]) -> Option<&'static Vip> {
    let home = slot_v6(address, VIP_SLOTS);
    for distance in 0..MAX_PROBE {
        let vip = VIPS.get((home + distance) & (VIP_SLOTS - 1))?;
        if vip.family == 0 {
            return None;
        }
        if vip.address == address && vip.family == 6 {
            return Some(vip);
        }
    }
    None
}

/// The VIP id of a served port.
#[inline(always)]
pub(crate) fn service(vip: &Vip, port_be: u16) -> Option<u16> {
    for served in &vip.ports {
        if served.port_be == port_be {
            // Port 0 ends the list; it is never served.
            return (port_be != 0).then_some(served.id);
        }
    }
    const { assert!(MAX_PORTS == 8, "the loop above is unrolled") };
    None
}

/// Whether a MAC belongs to a box of the cluster.
#[inline(always)]
pub(crate) fn is_node(mac: u64) -> bool {
    if !prefilter::is_possible((mac >> 40) as u8, NODE) {
        return false;
    }
    let home = slot_mac(mac, NODE_SLOTS);
    for distance in 0..MAX_PROBE {
        match NODES.get((home + distance) & (NODE_SLOTS - 1)) {
            Some(node) if node.mac == mac => return mac != 0,
            Some(node) if node.mac != 0 => {}
            _ => return false,
        }
    }
    false
}
