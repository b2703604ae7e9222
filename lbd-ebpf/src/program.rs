//! The chain.
use aya_ebpf::{bindings::xdp_md, macros::xdp, programs::XdpContext};
use lbd_common::counters::Reason;
use lbd_ebpf::{
    frame::Frame,
    parse::{self, ethertype},
};

use crate::{
    classify::{self, ForVip},
    exit::{Exit, Stage},
    family::{Family, V4, V6},
    fast, flow,
    forward::forward,
    neighbour,
    packet::Packet,
    reset,
    rewrite::rewrite,
    select::{Routed, select},
};

/// The program that lbd attaches.
#[xdp]
#[inline(always)]
pub(crate) fn lbd(ctx: XdpContext) -> u32 {
    let ctx_of_chain = ctx.ctx;
    fast::decide(&mut Packet::new(ctx)).unwrap_or_else(|| chain(ctx_of_chain))
}

/// Every stage, for frames that [`fast`] leaves.
///
/// A function of its own, so that the short way keeps nothing on the stack for it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chain(ctx: *mut xdp_md) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    match decide(&mut packet) {
        Ok(action) => action,
        Err(exit) => exit.finish(),
    }
}

#[inline(always)]
fn decide(packet: &mut Packet) -> Stage<u32> {
    let Some(link) = parse::link(packet) else {
        return Err(Exit::Pass(Reason::PassMalformed));
    };
    match link.ethertype {
        ethertype::IPV4 => {
            let frame = classify::ipv4(packet, &link)?;
            steer::<1, V4>(packet, &frame)
        }
        ethertype::IPV6 => {
            let frame = classify::ipv6(packet, &link)?;
            steer::<3, V6>(packet, &frame)
        }
        ethertype::ARP => Err(neighbour::arp(packet, &link)),
        _ => Err(Exit::Pass(Reason::PassNotOurs)),
    }
}

/// From a segment for a VIP to the action.
#[inline(always)]
fn steer<const K: usize, F: Family<K>>(packet: &mut Packet, frame: &ForVip<K>) -> Stage<u32> {
    let known = match flow::find::<K, F>(frame) {
        Some(known) => flow::follow::<K, F>(&known, frame)?,
        None => None,
    };
    let routed = match known {
        Some(routed) => routed,
        None => select::<K, F>(frame)?,
    };
    match routed {
        Routed::To { target, opened } => {
            let bytes = packet.len();
            let hop = rewrite(packet, target)?;
            target.count(bytes, opened);
            forward(packet, hop)
        }
        Routed::Reset(reason) => Err(reset::answer(packet, reason)),
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
