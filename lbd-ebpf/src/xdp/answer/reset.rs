//! Turns a frame into the RST that answers it, so that a sender retries at once instead of waiting
//! out its timeout.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::counters::Reason;
use lbd_ebpf::wire::{
    checksum::Sum,
    field::{
        ethernet::{DESTINATION, MAC_TAIL, MACS, SOURCE},
        ipv4, ipv6, tcp,
    },
    frame::{put_u16, put_u32, u16_at, u32_at},
    header::{Header, put_ipv4, put_ipv6},
    parse::{self, Ipv4, Ipv6, Tcp, Transport, ethertype, protocol, tcp_flag},
};

use crate::xdp::{code, exit::Exit, packet::Packet};

/// Bytes of a TCP header without options.
const TCP: usize = tcp::HEADER;

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
    let answer = to_segment(tcp, &transport);
    let done = match link.ethertype {
        ethertype::IPV4 => answer4(&mut packet, link.network, &answer),
        _ => answer6(&mut packet, link.network, &answer),
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
fn answer4(packet: &mut Packet, network: usize, answer: &Answer) -> Option<()> {
    let ip = Ipv4::at(packet, network)?;
    let (client, vip) = (ip.source(), ip.destination());
    packet.cut(network + ipv4::HEADER + TCP)?;
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
    write_tcp(packet, network + ipv4::HEADER, answer, pseudo)
}

#[inline(always)]
fn answer6(packet: &mut Packet, network: usize, answer: &Answer) -> Option<()> {
    let ip = Ipv6::at(packet, network)?;
    let (client, vip) = (ip.source(), ip.destination());
    packet.cut(network + ipv6::HEADER + TCP)?;
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
    write_tcp(packet, network + ipv6::HEADER, answer, pseudo)
}

#[inline(always)]
fn write_tcp(packet: &mut Packet, at: usize, answer: &Answer, pseudo: Sum) -> Option<()> {
    let head = packet.window_mut::<TCP>(at)?;
    let fourth = u32::from_ne_bytes([(TCP as u8 / 4) << 4, answer.flags, 0, 0]);
    let sum = pseudo
        .add_u16((protocol::TCP as u16).to_be())
        .add_u16((TCP as u16).to_be())
        .add_u32(answer.ports)
        .add_u32(answer.sequence_be)
        .add_u32(answer.acknowledgement_be)
        .add_u32(fourth);
    put_u32(head, tcp::SOURCE_PORT, answer.ports);
    put_u32(head, tcp::SEQUENCE, answer.sequence_be);
    put_u32(head, tcp::ACKNOWLEDGEMENT, answer.acknowledgement_be);
    put_u32(head, tcp::DATA_OFFSET, fourth);
    put_u16(head, tcp::CHECKSUM, sum.finish());
    put_u16(head, tcp::URGENT, 0);
    Some(())
}

#[inline(always)]
fn swap_macs(packet: &mut Packet) -> Option<()> {
    let head = packet.window_mut::<MACS>(0)?;
    let (to, to_tail) = (
        u32_at(head, DESTINATION),
        u16_at(head, DESTINATION + MAC_TAIL),
    );
    let (from, from_tail) = (u32_at(head, SOURCE), u16_at(head, SOURCE + MAC_TAIL));
    put_u32(head, DESTINATION, from);
    put_u16(head, DESTINATION + MAC_TAIL, from_tail);
    put_u32(head, SOURCE, to);
    put_u16(head, SOURCE + MAC_TAIL, to_tail);
    Some(())
}
