//! The fast path: what nearly every frame is, decided with the fewest instructions.
//!
//! A frame that is not for this box, and the ordinary frame of an open session, without tags, IPv4
//! options and IPv6 extension headers. Everything else, and everything that looks odd, takes the whole
//! chain ([`crate::xdp::program`]), which decides these frames in the same way. The shortcut pays because
//! all offsets are constants, because one comparison finds the frame long enough, and because no cold code has the
//! compiler keep values for it on the stack.
use aya_ebpf::bindings::xdp_action;
use lbd_common::{
    backend::mode,
    prefilter::{IPV4, IPV6},
};
use lbd_ebpf::wire::{
    field::{ethernet, ipv4, ipv6, tcp},
    frame::{Frame, u16_at, u32_at, words_at},
    parse::{self, ethertype, protocol, tcp_flag},
};

use super::{addressee, flow, segment::ForVip};
use crate::xdp::{
    exit::Exit,
    family::{Family, Key, V4, V6, key4, key6},
    forward::{
        hop::{Hop, next_hop},
        nat,
        send::forward,
        tunnel,
    },
    packet::Packet,
    tables::{
        node::is_node,
        prefilter,
        vip::{service, vip4, vip6},
    },
};

/// Where the IP header is in a frame without tags.
const IP: usize = ethernet::HEADER;
/// Where TCP is behind IPv4 without options.
const TCP4: usize = IP + ipv4::HEADER;
/// Where TCP is behind IPv6 without extension headers.
const TCP6: usize = IP + ipv6::HEADER;
/// Ethernet, IPv4 and TCP, all without options.
const HEADERS4: usize = TCP4 + tcp::HEADER;
/// Ethernet, IPv6 and TCP, likewise.
const HEADERS6: usize = TCP6 + tcp::HEADER;

/// The flags of IPv4's [`ipv4::FRAGMENT`] and its offset that only a part of a packet has.
const IS_PART: u16 = ipv4::MORE_FRAGMENTS | ipv4::FRAGMENT_OFFSET;

/// Flags at which a session begins or ends: these frames change the flow.
const TURNS: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;

/// The action; `None` for a frame that has to take the chain.
#[inline(always)]
pub(crate) fn decide(packet: &mut Packet) -> Option<u32> {
    let head: &[u8; HEADERS4] = packet.window(0)?;
    match u16_at(head, ethernet::TYPE) {
        ethertype::IPV4 => ipv4(packet),
        ethertype::IPV6 => ipv6(packet),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(packet: &mut Packet) -> Option<u32> {
    let head: &[u8; HEADERS4] = packet.window(0)?;
    if !prefilter::is_possible(head[IP + ipv4::DESTINATION + 3], IPV4) {
        return Some(xdp_action::XDP_PASS);
    }
    let vip = vip4(u32_at(head, IP + ipv4::DESTINATION))?;
    // Version 4 without options, no fragment, TCP.
    if head[IP + ipv4::VERSION_AND_LENGTH] != ipv4::PLAIN
        || u16_at(head, IP + ipv4::FRAGMENT) & IS_PART.to_be() != 0
        || head[IP + ipv4::PROTOCOL] != protocol::TCP
        || head[TCP4 + tcp::FLAGS] & TURNS != 0
    {
        return None;
    }
    let length = u16::from_be(u16_at(head, IP + ipv4::TOTAL_LENGTH)) as usize;
    let offset = head[TCP4 + tcp::DATA_OFFSET];
    if IP + length > packet.len() || !fits(ipv4::HEADER, offset, length) {
        return None;
    }
    let vip_id = service(vip, u16_at(head, TCP4 + tcp::DESTINATION_PORT))?;
    let (source, port_be) = (
        u32_at(head, IP + ipv4::SOURCE),
        u16_at(head, TCP4 + tcp::SOURCE_PORT),
    );
    let key = key4(source, port_be, vip_id);
    session::<1, V4>(packet, key)
}

#[inline(always)]
fn ipv6(packet: &mut Packet) -> Option<u32> {
    let head: &[u8; HEADERS6] = packet.window(0)?;
    // A question for a VIP's MAC may have any destination.
    if !prefilter::is_possible(head[IP + ipv6::DESTINATION + 15], IPV6)
        && head[IP + ipv6::NEXT_HEADER] != protocol::ICMPV6
    {
        return Some(xdp_action::XDP_PASS);
    }
    let vip = vip6(words_at(head, IP + ipv6::DESTINATION))?;
    if head[IP + ipv6::VERSION_AND_CLASS] >> 4 != 6
        || head[IP + ipv6::NEXT_HEADER] != protocol::TCP
        || head[TCP6 + tcp::FLAGS] & TURNS != 0
    {
        return None;
    }
    let length = u16::from_be(u16_at(head, IP + ipv6::PAYLOAD_LENGTH)) as usize;
    let offset = head[TCP6 + tcp::DATA_OFFSET];
    if TCP6 + length > packet.len() || !fits(0, offset, length) {
        return None;
    }
    let vip_id = service(vip, u16_at(head, TCP6 + tcp::DESTINATION_PORT))?;
    let (source, port_be) = (
        words_at(head, IP + ipv6::SOURCE),
        u16_at(head, TCP6 + tcp::SOURCE_PORT),
    );
    let key = key6(source, port_be, vip_id);
    session::<3, V6>(packet, key)
}

/// Whether a TCP header of this length field (RFC 9293, section 3.1), after `before` bytes, ends within so
/// many.
#[inline(always)]
fn fits(before: usize, offset: u8, bytes: usize) -> bool {
    offset >= 5 << 4 && before + (offset >> 4) as usize * 4 <= bytes
}

/// Sends the frame of an open session on.
#[inline(always)]
fn session<const K: usize, F: Family<K>>(packet: &mut Packet, key: Key<K>) -> Option<u32> {
    if !addressee::is_own_at_once(packet) || parse::sender(packet).is_none_or(is_node) {
        return None;
    }
    let frame = ForVip::named(key, F::hash(&key), tcp_flag::ACK);
    let target = flow::steady::<K, F>(&frame)?;
    let bytes = packet.len();
    // What changes more than the MACs does so in functions of its own: the stack of this one stays small.
    let is_v4 = F::NUMBER == 4;
    let hop = match target.backend.mode {
        mode::LOCAL => Ok(Hop::LOCAL),
        mode::DSR => next_hop(packet, target.backend).map(|()| Hop::towards(target.backend)),
        mode::NAT => nat::to_backend_plain(packet, target, is_v4),
        _ => tunnel::encapsulate_plain(packet, target, is_v4)?,
    };
    target.count(bytes, false);
    let action = hop.and_then(|hop| forward(packet, hop));
    Some(action.unwrap_or_else(Exit::finish))
}
