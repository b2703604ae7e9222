//! Tells a client that a packet is too long for the tunnel to its backend: ICMP "fragmentation
//! needed" (RFC 792 and 1191) or `ICMPv6` "packet too big" (RFC 4443, section 3.2), from the VIP.
//!
//! Also for IPv4 without "don't fragment": this program cannot cut a packet up, and a sender that
//! looks for the path MTU is helped, the other one lost either way.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::counters::Reason;
use lbd_ebpf::wire::{
    checksum::Sum,
    field::{icmp, ipv4, ipv6},
    frame::{put_u16, put_u32, put_words, words_at},
    header::{Header, put_ipv4, put_ipv6_start},
    parse::{self, Ipv4, Ipv6, ethertype, protocol},
};

use crate::xdp::{code, exit::Exit, forward::ethernet::Ethernet, packet::Packet, path::rate};

/// Bytes of the packet that an ICMP error quotes: what makes 576 (RFC 1812, section 4.3.2.3).
const QUOTE4: usize = 576 - ipv4::HEADER - icmp::HEADER;
/// Bytes of the packet that an `ICMPv6` error quotes: what makes 1280 (RFC 4443, section 2.4).
const QUOTE6: usize = 1280 - ipv6::HEADER - icmp::HEADER;
/// Answers in a second on a CPU (RFC 4443, section 2.4 (f), wants a limit). A path needs one every ten
/// minutes.
const ANSWERS_PER_SECOND: u16 = 1000;

/// Answers a frame whose IP packet has more than `mtu` bytes.
#[inline(always)]
pub(crate) fn answer(packet: &Packet, mtu: u16) -> Exit {
    match answer_too_big(packet.context().ctx, mtu as u32) {
        code::DONE => Exit::Answer(Reason::IcmpTooBig),
        code::HELD_BACK => Exit::Drop(Reason::DropTooBig),
        _ => Exit::Drop(Reason::DropRewriteFailed),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answer_too_big(ctx: *mut xdp_md, mtu: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    let Some(link) = parse::link(&packet) else {
        return code::FAILED;
    };
    let transport =
        match link.ethertype {
            ethertype::IPV4 => Ipv4::at(&packet, link.network)
                .and_then(|ip| ip.transport(&packet, link.network).ok()),
            _ => Ipv6::at(&packet, link.network)
                .and_then(|ip| ip.transport(&packet, link.network).ok()),
        };
    let Some(transport) = transport else {
        return code::FAILED;
    };
    // An ICMP error is never answered with another (RFC 1122, section 3.2.2).
    if transport.protocol != protocol::TCP || !rate::may_answer_too_big(ANSWERS_PER_SECOND) {
        return code::HELD_BACK;
    }
    let done = match link.ethertype {
        ethertype::IPV4 => ipv4(&mut packet, link.network, mtu),
        _ => ipv6(&mut packet, link.network, mtu),
    };
    match done {
        Some(()) => code::DONE,
        None => code::FAILED,
    }
}

#[inline(always)]
fn ipv4(packet: &mut Packet, network: usize, mtu: u32) -> Option<()> {
    const ROOM: usize = ipv4::HEADER + icmp::HEADER;
    packet.cut(network + QUOTE4)?;
    packet.move_start(-(ROOM as i32))?;
    let ethernet = Ethernet::at(packet, ROOM, network)?.answered();
    ethernet.write(packet, ethertype::IPV4)?;
    let quoted = network + ROOM;
    let ip = Ipv4::at(packet, quoted)?;
    let header = Header {
        class: 0,
        payload: (icmp::HEADER + QUOTE4) as u16,
        protocol: protocol::ICMP,
        source: ip.destination(),
        destination: ip.source(),
    };
    put_ipv4(packet.window_mut(network)?, &header);
    let sum = packet
        .sum::<512>(quoted, Sum::new())
        .and_then(|sum| packet.sum::<{ QUOTE4 - 512 }>(quoted + 512, sum))?;
    // Type 3, code 4.
    write_icmp(packet, network + ipv4::HEADER, [3, 4], mtu, sum)
}

#[inline(always)]
fn ipv6(packet: &mut Packet, network: usize, mtu: u32) -> Option<()> {
    const ROOM: usize = ipv6::HEADER + icmp::HEADER;
    packet.cut(network + QUOTE6)?;
    packet.move_start(-(ROOM as i32))?;
    let ethernet = Ethernet::at(packet, ROOM, network)?.answered();
    ethernet.write(packet, ethertype::IPV6)?;
    let quoted = network + ROOM;
    let payload = (icmp::HEADER + QUOTE6) as u16;
    // Both headers in one window and one address after the other, so that few values are kept.
    let heads = packet.window_mut::<{ ROOM + ipv6::HEADER }>(network)?;
    put_ipv6_start(heads, [0, protocol::ICMPV6], payload, 0);
    let vip = words_at(heads, ROOM + ipv6::DESTINATION);
    put_words(heads, ipv6::SOURCE, vip);
    let pseudo = Sum::new().add_words(vip);
    let client = words_at(heads, ROOM + ipv6::SOURCE);
    put_words(heads, ipv6::DESTINATION, client);
    let pseudo = pseudo
        .add_words(client)
        .add_u16(payload.to_be())
        .add_u16((protocol::ICMPV6 as u16).to_be());
    let sum = packet
        .sum::<512>(quoted, pseudo)
        .and_then(|sum| packet.sum::<512>(quoted + 512, sum))
        .and_then(|sum| packet.sum::<{ QUOTE6 - 1024 }>(quoted + 1024, sum))?;
    // Type 2, code 0.
    write_icmp(packet, network + ipv6::HEADER, [2, 0], mtu, sum)
}

/// Both put the MTU into the second word, which has more than the 16 bits that ICMP gives it.
#[inline(always)]
fn write_icmp(packet: &mut Packet, at: usize, kind: [u8; 2], mtu: u32, quoted: Sum) -> Option<()> {
    let head = packet.window_mut::<{ icmp::HEADER }>(at)?;
    let first = u32::from_ne_bytes([kind[0], kind[1], 0, 0]);
    let sum = quoted.add_u32(first).add_u32(mtu.to_be());
    put_u32(head, icmp::KIND, first);
    put_u16(head, icmp::CHECKSUM, sum.finish());
    put_u32(head, icmp::SECOND_WORD, mtu.to_be());
    Some(())
}
