//! ARP and neighbour discovery for a VIP: only the master answers.
//!
//! Only questions are held back. What others say *about* the VIP (announcements, answers) always
//! goes up, so that the kernel and the daemon hear of rivals.
use lbd_common::counters::Reason;
use lbd_ebpf::wire::{
    field::ipv6,
    parse::{Arp, Ipv6, Link, ethertype, protocol, solicited},
};

use crate::xdp::{
    exit::{Exit, NOT_OURS},
    packet::Packet,
    path::admit,
    tables::vip::{vip4, vip6},
};

/// Decides a frame to many boxes: one that asks for a VIP's MAC, and every other.
#[inline(always)]
pub(crate) fn asked(packet: &Packet, link: &Link) -> Exit {
    match link.ethertype {
        ethertype::ARP => arp(packet, link),
        ethertype::IPV6 => solicitation(packet, link).unwrap_or(NOT_OURS),
        _ => NOT_OURS,
    }
}

/// Decides an ARP frame.
#[inline(always)]
pub(crate) fn arp(packet: &Packet, link: &Link) -> Exit {
    match Arp::at(packet, link.network) {
        Some(arp) if arp.is_question() && vip4(arp.target()).is_some() => answered_by_master(),
        _ => NOT_OURS,
    }
}

/// Decides an IPv6 frame that is for no VIP, if it asks for a VIP's MAC.
#[inline(always)]
pub(crate) fn solicitation(packet: &Packet, link: &Link) -> Option<Exit> {
    if Ipv6::at(packet, link.network)?.next_header() != protocol::ICMPV6 {
        return None;
    }
    let target = solicited(packet, link.network + ipv6::HEADER)?;
    vip6(target).map(|_| answered_by_master())
}

#[inline(always)]
fn answered_by_master() -> Exit {
    if admit::is_leased_master() {
        Exit::Pass(Reason::PassNeighbour)
    } else {
        Exit::Drop(Reason::DropNeighbour)
    }
}
