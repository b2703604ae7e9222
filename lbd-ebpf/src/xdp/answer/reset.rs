//! Turns a frame into the RST that answers it, so that a sender retries at once instead of waiting
//! out its timeout.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::counters::Reason;
use lbd_ebpf::wire::{
    checksum::Sum,
    frame::{put_u16, put_u32, u16_at, u32_at},
    header::{Header, put_ipv4, put_ipv6},
    parse::{self, Ipv4, Ipv6, Tcp, Transport, ethertype, protocol, tcp_flag},
};

use crate::xdp::{code, exit::Exit, packet::Packet};

/// Bytes of a TCP header without options.
const TCP: usize = 20;

/// The TCP part of the answer.
struct Answer {
    /// Both ports, already swapped, as they stand in memory.
    ports: u32,
    sequence_be: u32,
    acknowledgement_be: u32,
    flags: u8,
}

/// Answers a segment for a VIP.
///
/// A function of its own, that parses the frame anew: the kernel verifies it once and not for every
/// way that leads to it, and the open session's path stays short.
#[inline(always)]
pub(crate) fn answer(packet: &Packet, reason: Reason) -> Exit {
    match answer_with_reset(packet.context().ctx) {
        code::DONE => Exit::Answer(reason),
        code::HELD_BACK => Exit::Drop(Reason::DropNoResetForReset),
        _ => Exit::Drop(Reason::DropRewriteFailed),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn answer_with_reset(ctx: *mut xdp_md) -> u32 {
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
    let Some(tcp) = Tcp::at(&packet, &transport) else {
        return code::FAILED;
    };
    if tcp.flags() & tcp_flag::RST != 0 {
        return code::HELD_BACK;
    }
    let tcp = to_segment(tcp, &transport);
    let done = match link.ethertype {
        ethertype::IPV4 => ipv4(&mut packet, link.network, &tcp),
        _ => ipv6(&mut packet, link.network, &tcp),
    };
    match done {
        Some(()) => code::DONE,
        None => code::FAILED,
    }
}

/// RFC 9293, section 3.10.7.1: the answer to a segment for a connection that does not exist.
#[inline(always)]
fn to_segment(tcp: Tcp<'_>, transport: &Transport) -> Answer {
    let ports = tcp.source_port_be() as u32 | (tcp.destination_port_be() as u32) << 16;
    let ports = ports.rotate_left(16);
    if tcp.flags() & tcp_flag::ACK != 0 {
        return Answer {
            ports,
            sequence_be: tcp.acknowledgement_be(),
            acknowledgement_be: 0,
            flags: tcp_flag::RST,
        };
    }
    let payload = transport.end - transport.offset - tcp.header_length();
    let syn = tcp.flags() & tcp_flag::SYN != 0;
    let fin = tcp.flags() & tcp_flag::FIN != 0;
    let length = payload as u32 + syn as u32 + fin as u32;
    Answer {
        ports,
        sequence_be: 0,
        acknowledgement_be: tcp.sequence().wrapping_add(length).to_be(),
        flags: tcp_flag::RST | tcp_flag::ACK,
    }
}

#[inline(always)]
fn ipv4(packet: &mut Packet, network: usize, tcp: &Answer) -> Option<()> {
    let ip = Ipv4::at(packet, network)?;
    let (client, vip) = (ip.source(), ip.destination());
    packet.cut(network + 20 + TCP)?;
    swap_macs(packet)?;
    let header = Header {
        class: 0,
        payload: TCP as u16,
        protocol: protocol::TCP,
        source: vip,
        destination: client,
    };
    put_ipv4(packet.window_mut(network)?, &header);
    let pseudo = Sum::new().add_u32(vip).add_u32(client);
    write_tcp(packet, network + 20, tcp, pseudo)
}

#[inline(always)]
fn ipv6(packet: &mut Packet, network: usize, tcp: &Answer) -> Option<()> {
    let ip = Ipv6::at(packet, network)?;
    let (client, vip) = (ip.source(), ip.destination());
    packet.cut(network + 40 + TCP)?;
    swap_macs(packet)?;
    let header = Header {
        class: 0,
        payload: TCP as u16,
        protocol: protocol::TCP,
        source: vip,
        destination: client,
    };
    put_ipv6(packet.window_mut(network)?, &header, 0);
    let pseudo = Sum::new().add_words(vip).add_words(client);
    write_tcp(packet, network + 40, tcp, pseudo)
}

#[inline(always)]
fn write_tcp(packet: &mut Packet, at: usize, tcp: &Answer, pseudo: Sum) -> Option<()> {
    let head = packet.window_mut::<TCP>(at)?;
    let fourth = u32::from_ne_bytes([(TCP as u8 / 4) << 4, tcp.flags, 0, 0]);
    let sum = pseudo
        .add_u16((protocol::TCP as u16).to_be())
        .add_u16((TCP as u16).to_be())
        .add_u32(tcp.ports)
        .add_u32(tcp.sequence_be)
        .add_u32(tcp.acknowledgement_be)
        .add_u32(fourth);
    put_u32(head, 0, tcp.ports);
    put_u32(head, 4, tcp.sequence_be);
    put_u32(head, 8, tcp.acknowledgement_be);
    put_u32(head, 12, fourth);
    put_u16(head, 16, sum.finish());
    put_u16(head, 18, 0);
    Some(())
}

#[inline(always)]
fn swap_macs(packet: &mut Packet) -> Option<()> {
    let head = packet.window_mut::<12>(0)?;
    let (to_low, to_high) = (u32_at(head, 0), u16_at(head, 4));
    let (from_low, from_high) = (u32_at(head, 6), u16_at(head, 10));
    put_u32(head, 0, from_low);
    put_u16(head, 4, from_high);
    put_u32(head, 6, to_low);
    put_u16(head, 10, to_high);
    Some(())
}
