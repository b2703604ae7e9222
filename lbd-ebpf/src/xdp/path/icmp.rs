//! ICMP and `ICMPv6` for a VIP: an error goes to the backend whose session it is about, everything
//! else (ping, neighbour discovery) is the host's affair.
//!
//! Only errors about what the VIP itself has sent are steered: a backend that answers the client
//! directly does so from the VIP, and so the error comes back to it.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{backend::state, counters::Reason, vip::Vip};
use lbd_ebpf::wire::{
    parse::{self, Ipv4, Ipv6, Link, ethertype},
    quote::{self, Quoted, is_error4, is_error6, quoted4, quoted6},
};

use super::{admit, flow, segment::ForVip, select};
use crate::xdp::{
    answer::neighbour,
    code,
    exit::{Exit, NOT_OURS, Stage, count},
    family::{Family, V4, V6, key4, key6},
    packet::Packet,
    tables::{
        backend::Target,
        node::is_node,
        vip::{service, vip4, vip6},
    },
};

/// The backend that an ICMP error for a VIP goes to, which is counted; every other message leaves.
///
/// By a function of its own, that parses the frame anew: the kernel verifies it once, and it keeps
/// nothing on the stack while the frame is sent on.
#[inline(always)]
pub(crate) fn owner(packet: &Packet) -> Stage<Target> {
    let found = owner_of_error(packet.context().ctx);
    if found & code::DECIDED != 0 {
        return Err(Exit::Done(found & !code::DECIDED));
    }
    Target::get(found as u16).ok_or(UNKNOWN)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn owner_of_error(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    match message(&packet) {
        Ok(id) => {
            count(Reason::IcmpSteered);
            id as u32
        }
        Err(exit) => exit.finish() | code::DECIDED,
    }
}

const UNKNOWN: Exit = Exit::Pass(Reason::PassIcmpUnknown);

#[inline(always)]
fn message(packet: &Packet) -> Stage<u16> {
    let Some(link) = parse::link(packet) else {
        return Err(Exit::Pass(Reason::PassMalformed));
    };
    let target = if link.ethertype == ethertype::IPV4 {
        of_session::<1, V4>(&ipv4(packet, &link)?)?
    } else {
        of_session::<3, V6>(&ipv6(packet, &link)?)?
    };
    match target.backend.state {
        state::UP => Ok(target.id),
        state::UNRESOLVED => Err(Exit::Drop(Reason::DropUnresolved)),
        _ => Err(UNKNOWN),
    }
}

/// The session that an ICMP error is about.
#[inline(always)]
fn ipv4(packet: &Packet, link: &Link) -> Stage<ForVip<1>> {
    let ip = Ipv4::at(packet, link.network).ok_or(UNKNOWN)?;
    let icmp = ip.transport(packet, link.network).map_err(|_| UNKNOWN)?;
    if !quote::kind(packet, &icmp).is_some_and(is_error4) {
        return Err(Exit::Pass(Reason::PassOtherService));
    }
    from_outside(packet)?;
    let quoted = quoted4(packet, &icmp).ok_or(UNKNOWN)?;
    // RFC 1122, section 3.2.2: an error goes to the sender of what it quotes.
    if quoted.source != ip.destination() {
        return Err(UNKNOWN);
    }
    let vip_id = sender(vip4(quoted.source), &quoted)?;
    let key = key4(quoted.destination, quoted.destination_port_be, vip_id);
    Ok(ForVip::named(key, V4::hash(&key), 0))
}

/// Likewise for `ICMPv6`.
#[inline(always)]
fn ipv6(packet: &Packet, link: &Link) -> Stage<ForVip<3>> {
    let ip = Ipv6::at(packet, link.network).ok_or(UNKNOWN)?;
    let icmp = ip.transport(packet, link.network).map_err(|_| UNKNOWN)?;
    match quote::kind(packet, &icmp) {
        Some(kind) if is_error6(kind) => {}
        // Neighbour discovery, which also asks the VIP itself whether it is still there.
        Some(133..=137) => {
            return Err(neighbour::solicitation(packet, link).unwrap_or(NOT_OURS));
        }
        _ => return Err(Exit::Pass(Reason::PassOtherService)),
    }
    from_outside(packet)?;
    let quoted = quoted6(packet, &icmp).ok_or(UNKNOWN)?;
    if quoted.source != ip.destination() {
        return Err(UNKNOWN);
    }
    let vip_id = sender(vip6(quoted.source), &quoted)?;
    let key = key6(quoted.destination, quoted.destination_port_be, vip_id);
    Ok(ForVip::named(key, V6::hash(&key), 0))
}

/// What a node of the cluster sends was steered already.
#[inline(always)]
fn from_outside(packet: &Packet) -> Stage<()> {
    if parse::sender(packet).is_some_and(is_node) {
        return Err(Exit::Pass(Reason::PassFromNode));
    }
    Ok(())
}

/// The VIP id of the service that sent the quoted packet.
#[inline(always)]
fn sender<A>(vip: Option<&'static Vip>, quoted: &Quoted<A>) -> Stage<u16> {
    vip.and_then(|vip| service(vip, quoted.source_port_be))
        .ok_or(UNKNOWN)
}

/// The backend that the flow names; without one, on the master, the one that the ring names for a frame in
/// mid-session.
/// The session itself is left as it is: an error is no word of the client's.
#[inline(always)]
fn of_session<const K: usize, F: Family<K>>(session: &ForVip<K>) -> Stage<Target> {
    if let Some(known) = flow::find::<K, F>(session) {
        return Target::get(known.backend()).ok_or(UNKNOWN);
    }
    let director = admit::director()
        .filter(|director| admit::holds_lease(director))
        .ok_or(UNKNOWN)?;
    let slots = select::slots::<K, F>(session, director);
    select::by_ring(director, slots).map_err(|_| UNKNOWN)
}
