//! What a frame is. What happens to it is for [`crate::xdp::program`] to say.
use lbd_common::{counters::Reason, vip::Vip};
use lbd_ebpf::wire::parse::{self, Ipv4, Ipv6, Link, Tcp, Unusable, protocol};

use super::segment::ForVip;
use crate::xdp::{
    exit::{Exit, Stage, unusable},
    family::{Family, V4, V6, key4, key6},
    packet::Packet,
    tables::{
        node::is_node,
        vip::{service, vip4, vip6},
    },
};

/// What an IP packet is to this box.
pub(crate) enum Kind<const K: usize> {
    /// A TCP segment for a served port of a VIP.
    Segment(ForVip<K>),
    /// Likewise, from another box of the cluster, which has steered it here.
    Handed,
    /// A part of a packet for a VIP that is not the first one.
    Part,
    /// ICMP or `ICMPv6` for a VIP.
    Message,
    /// For no VIP, with another IP packet inside.
    Tunnel,
    /// For no VIP.
    ForOthers,
}

/// What an IPv4 packet is. A box of the cluster is a client where `is_clients` is not 0: see
/// [`super::steered`].
#[inline(always)]
pub(crate) fn ipv4(packet: &Packet, link: &Link, is_clients: u32) -> Stage<Kind<1>> {
    let Some(ip) = Ipv4::at(packet, link.network) else {
        return Err(Exit::Pass(Reason::PassMalformed));
    };
    let Some(vip) = vip4(ip.destination()) else {
        return Ok(for_others(ip.protocol()));
    };
    let transport = match ip.transport(packet, link.network) {
        Err(Unusable::Fragment) => return Ok(Kind::Part),
        transport => transport.map_err(unusable)?,
    };
    if transport.protocol != protocol::TCP {
        return other(&transport, protocol::ICMP);
    }
    let Some((tcp, vip_id)) = segment(packet, &transport, vip, is_clients)? else {
        return Ok(Kind::Handed);
    };
    let key = key4(ip.source(), tcp.source_port_be(), vip_id);
    Ok(Kind::Segment(ForVip {
        key,
        hash: V4::hash(&key),
        flags: tcp.flags(),
        has_payload: has_payload(&tcp, &transport),
        port_be: tcp.destination_port_be(),
        is_part: transport.is_part,
    }))
}

/// Likewise, IPv6.
#[inline(always)]
pub(crate) fn ipv6(packet: &Packet, link: &Link, is_clients: u32) -> Stage<Kind<3>> {
    let Some(ip) = Ipv6::at(packet, link.network) else {
        return Err(Exit::Pass(Reason::PassMalformed));
    };
    let Some(vip) = vip6(ip.destination()) else {
        return Ok(for_others(ip.next_header()));
    };
    let transport = match ip.transport(packet, link.network) {
        Err(Unusable::Fragment) => return Ok(Kind::Part),
        transport => transport.map_err(unusable)?,
    };
    if transport.protocol != protocol::TCP {
        return other(&transport, protocol::ICMPV6);
    }
    let Some((tcp, vip_id)) = segment(packet, &transport, vip, is_clients)? else {
        return Ok(Kind::Handed);
    };
    let key = key6(ip.source(), tcp.source_port_be(), vip_id);
    Ok(Kind::Segment(ForVip {
        key,
        hash: V6::hash(&key),
        flags: tcp.flags(),
        has_payload: has_payload(&tcp, &transport),
        port_be: tcp.destination_port_be(),
        is_part: transport.is_part,
    }))
}

/// The rest of both families: a served port, and a sender outside the cluster, or a client in it. `None`
/// if a box of the cluster has steered the segment here.
#[inline(always)]
fn segment<'a>(
    packet: &'a Packet,
    transport: &parse::Transport,
    vip: &Vip,
    is_clients: u32,
) -> Stage<Option<(Tcp<'a>, u16)>> {
    let Some(tcp) = Tcp::at(packet, transport) else {
        return Err(Exit::Drop(Reason::DropMalformed));
    };
    if tcp.is_syn_in_parts(transport) {
        return Err(Exit::Drop(Reason::DropFragment));
    }
    let Some(vip_id) = service(vip, tcp.destination_port_be()) else {
        return Err(Exit::Pass(Reason::PassOtherService));
    };
    if is_clients == 0 && parse::sender(packet).is_some_and(is_node) {
        return Ok(None);
    }
    Ok(Some((tcp, vip_id)))
}

#[inline(always)]
fn has_payload(tcp: &Tcp<'_>, transport: &parse::Transport) -> bool {
    transport.offset + tcp.header_length() < transport.end
}

/// What is for no VIP.
#[inline(always)]
fn for_others<const K: usize>(protocol: u8) -> Kind<K> {
    if protocol == protocol::IPIP || protocol == protocol::IPV6 {
        Kind::Tunnel
    } else {
        Kind::ForOthers
    }
}

/// What is for a VIP and not TCP. An ICMP error never comes in parts (RFC 1812, section 4.3.2.3; RFC 4443,
/// section 2.4): a message that does is the host's affair.
#[inline(always)]
fn other<const K: usize>(transport: &parse::Transport, icmp: u8) -> Stage<Kind<K>> {
    if transport.protocol == icmp && !transport.is_part {
        return Ok(Kind::Message);
    }
    Err(Exit::Pass(Reason::PassOtherService))
}
