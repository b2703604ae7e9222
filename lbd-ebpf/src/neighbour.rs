//! ARP and neighbour discovery for a VIP: only the master answers.
//!
//! Only questions are held back. What others say *about* the VIP (announcements, answers) always
//! goes up, so that the kernel and the daemon hear of rivals.
use lbd_common::counters::Reason;
use lbd_ebpf::parse::{Arp, Ipv6, Link, protocol, solicited};

use crate::{
    admit,
    classify::{vip4, vip6},
    exit::Exit,
    packet::Packet,
};

/// Decides an ARP frame.
#[inline(always)]
pub(crate) fn arp(packet: &Packet, link: &Link) -> Exit {
    match Arp::at(packet, link.network) {
        Some(arp) if arp.is_question() && vip4(arp.target()).is_some() => answered_by_master(),
        _ => Exit::Pass(Reason::PassNotOurs),
    }
}

/// Decides an IPv6 frame that is not TCP for a VIP: it may ask for the VIP's MAC.
#[inline(always)]
pub(crate) fn solicitation(packet: &Packet, link: &Link, ip: Ipv6<'_>) -> Exit {
    if ip.next_header() != protocol::ICMPV6 {
        return Exit::Pass(Reason::PassNotOurs);
    }
    match solicited(packet, link.network + 40) {
        Some(target) if vip6(target).is_some() => answered_by_master(),
        _ => Exit::Pass(Reason::PassNotOurs),
    }
}

#[inline(always)]
fn answered_by_master() -> Exit {
    if admit::is_leased_master() {
        Exit::Pass(Reason::PassNeighbour)
    } else {
        Exit::Drop(Reason::DropNeighbour)
    }
}
