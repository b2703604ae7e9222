//! The later parts of a packet that was cut up on its way go where the first one went: only that has the ports.
//!
//! A sender that does not set "don't fragment", behind a link smaller than its own, sends nothing else than
//! parts as soon as a message has begun. TCP itself never sends a SYN in parts.
//!
//! What a stranger can do with parts is bounded. Only a first part of a *proven* session is noted, in an LRU
//! map of [`FRAGMENT_ENTRIES`](lbd_common::maps::FRAGMENT_ENTRIES) for some seconds, so spoofed parts push none
//! out; later parts without a note are dropped. Parts that come before their first are dropped too: TCP sends
//! the segment again. A part at an offset of 8 bytes would overwrite the TCP header (RFC 1858, section 3.1).
use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    programs::XdpContext,
};
use lbd_common::{
    backend::{mode, state},
    counters::Reason,
    fragment::{self, FragmentKey},
};
use lbd_ebpf::wire::{
    frame::Frame,
    parse::{self, Ipv4, Ipv6, ethertype, protocol},
    part::Part,
};

use crate::xdp::{
    code,
    exit::{Exit, Stage, count},
    forward::{
        hop::{Hop, next_hop},
        nat,
        send::forward,
        tunnel,
    },
    packet::Packet,
    tables::{backend::Target, clock, maps::FRAGMENTS, node::is_node},
};

/// Notes where the later parts of this packet go.
///
/// A function of its own, like those that follow: the kernel verifies each once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn note_part(ctx: *mut xdp_md, backend: u32) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let Some((key, _)) = read(&packet) else {
        return 0;
    };
    let note = fragment::note(clock::coarse_ns(), backend as u16);
    FRAGMENTS.insert(&key, &note, 0).is_ok() as u32
}

/// Decides a part of a packet for a VIP that is not the first one.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn follow_part(ctx: *mut xdp_md) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    decide(&mut packet).unwrap_or_else(Exit::finish)
}

#[inline(always)]
fn decide(packet: &mut Packet) -> Stage<u32> {
    if parse::sender(packet).is_some_and(is_node) {
        return Err(Exit::Pass(Reason::PassFromNode));
    }
    let target = match first_part(packet.context().ctx) {
        code::OTHER_SERVICE => return Err(Exit::Pass(Reason::PassOtherService)),
        id => Target::get(id as u16).filter(|_| id != code::NO_BACKEND),
    };
    let target = target
        .filter(|target| target.backend.state == state::UP)
        .ok_or(Exit::Drop(Reason::DropFragment))?;
    let bytes = packet.len();
    let hop = match target.backend.mode {
        mode::LOCAL => Hop::LOCAL,
        mode::IPIP => tunnel::encapsulate_if_it_fits(packet, target)?,
        mode::NAT => {
            nat::part_to_backend(packet, target)?;
            Hop::towards(target.backend)
        }
        _ => {
            next_hop(packet, target.backend)?;
            Hop::towards(target.backend)
        }
    };
    target.count(bytes, false);
    count(Reason::FragmentFollowed);
    if hop == Hop::LOCAL {
        return Ok(xdp_action::XDP_PASS);
    }
    forward(packet, hop)
}

/// Where the first part of this packet went: a backend's id, [`code::NO_BACKEND`], or [`code::OTHER_SERVICE`] for a
/// packet that is no TCP.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn first_part(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let Some((key, part)) = read(&packet) else {
        return code::NO_BACKEND;
    };
    if part.protocol != protocol::TCP {
        return code::OTHER_SERVICE;
    }
    if part.offset <= 1 {
        return code::NO_BACKEND;
    }
    let Some(note) = FRAGMENTS.get_ptr(&key) else {
        return code::NO_BACKEND;
    };
    // SAFETY: a live, aligned map value. An LRU map may give the entry to another packet meanwhile, so the note
    // is one word that is read whole; what it names is a backend in any case.
    let note = unsafe { note.read_volatile() };
    fragment::noted(note, clock::coarse_ns()).map_or(code::NO_BACKEND, u32::from)
}

#[inline(always)]
fn read(packet: &Packet) -> Option<(FragmentKey, Part)> {
    let link = parse::link(packet)?;
    if link.ethertype == ethertype::IPV4 {
        let ip = Ipv4::at(packet, link.network)?;
        let part = Part::of_ipv4(ip);
        let key = FragmentKey {
            source: [ip.source(), 0, 0, 0],
            destination: [ip.destination(), 0, 0, 0],
            identification: part.identification,
            family: 4,
        };
        return Some((key, part));
    }
    let ip = Ipv6::at(packet, link.network)?;
    let part = Part::of_ipv6(ip, packet, link.network)?;
    let key = FragmentKey {
        source: ip.source(),
        destination: ip.destination(),
        identification: part.identification,
        family: 6,
    };
    Some((key, part))
}
