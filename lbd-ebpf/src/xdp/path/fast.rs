//! The short way: what nearly every frame is, decided with the fewest instructions.
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

/// Ethernet.
const LINK: usize = 14;
/// Ethernet, IPv4 and TCP, all without options.
const HEADERS4: usize = LINK + 20 + 20;
/// Ethernet, IPv6 and TCP, likewise.
const HEADERS6: usize = LINK + 40 + 20;

/// Flags at which a session begins or ends: these frames change the flow.
const TURNS: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;

/// The action; `None` for a frame that has to take the chain.
#[inline(always)]
pub(crate) fn decide(packet: &mut Packet) -> Option<u32> {
    let head: &[u8; HEADERS4] = packet.window(0)?;
    match u16_at(head, 12) {
        ethertype::IPV4 => ipv4(packet),
        ethertype::IPV6 => ipv6(packet),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(packet: &mut Packet) -> Option<u32> {
    let head: &[u8; HEADERS4] = packet.window(0)?;
    if !prefilter::is_possible(head[LINK + 19], IPV4) {
        return Some(xdp_action::XDP_PASS);
    }
    let vip = vip4(u32_at(head, LINK + 16))?;
    // Version 4 without options, no fragment, TCP.
    if head[LINK] != 0x45
        || u16_at(head, LINK + 6) & 0x3fff_u16.to_be() != 0
        || head[LINK + 9] != protocol::TCP
        || head[LINK + 20 + 13] & TURNS != 0
    {
        return None;
    }
    let length = u16::from_be(u16_at(head, LINK + 2)) as usize;
    if LINK + length > packet.len() || !fits(20, head[LINK + 20 + 12], length) {
        return None;
    }
    let vip_id = service(vip, u16_at(head, LINK + 20 + 2))?;
    let key = key4(u32_at(head, LINK + 12), u16_at(head, LINK + 20), vip_id);
    session::<1, V4>(packet, key)
}

#[inline(always)]
fn ipv6(packet: &mut Packet) -> Option<u32> {
    let head: &[u8; HEADERS6] = packet.window(0)?;
    // A question for a VIP's MAC may have any destination.
    if !prefilter::is_possible(head[LINK + 39], IPV6) && head[LINK + 6] != protocol::ICMPV6 {
        return Some(xdp_action::XDP_PASS);
    }
    let vip = vip6(words_at(head, LINK + 24))?;
    if head[LINK] >> 4 != 6 || head[LINK + 6] != protocol::TCP || head[LINK + 40 + 13] & TURNS != 0
    {
        return None;
    }
    let length = u16::from_be(u16_at(head, LINK + 4)) as usize;
    if LINK + 40 + length > packet.len() || !fits(0, head[LINK + 40 + 12], length) {
        return None;
    }
    let vip_id = service(vip, u16_at(head, LINK + 40 + 2))?;
    let key = key6(words_at(head, LINK + 8), u16_at(head, LINK + 40), vip_id);
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
