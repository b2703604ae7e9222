//! The chain.
use aya_ebpf::{bindings::xdp_md, macros::xdp, programs::XdpContext};
use lbd_common::counters::Reason;
use lbd_ebpf::wire::{
    frame::Frame,
    parse::{self, ethertype},
};

#[cfg(feature = "log")]
use super::log;
use super::{
    answer::{neighbour, reset},
    code,
    exit::{Exit, NOT_OURS, Stage},
    family::{V4, V6},
    forward::{decap, reply, rewrite::rewrite, send::forward},
    packet::Packet,
    path::{
        addressee::{self, Addressee},
        classify::{self, Kind},
        fast, flow,
        follow::{Followed, Noted, follow},
        fragment::{follow_part, note_part},
        icmp, proof, second_chance,
        segment::ForVip,
        select::{Routed, no_backend, select},
        socket, steered,
    },
    tables::{backend::Target, vip::count_session},
};

/// The program that lbd attaches.
#[xdp]
#[inline(always)]
pub(crate) fn lbd(ctx: XdpContext) -> u32 {
    #[cfg(feature = "log")]
    {
        let ctx = ctx.ctx;
        log::begin(ctx);
        let action = decide_frame(XdpContext::new(ctx));
        log::decided(ctx, action);
        action
    }
    #[cfg(not(feature = "log"))]
    decide_frame(ctx)
}

/// The action for a frame: all of the program, also while frames are traced.
#[inline(always)]
pub(crate) fn decide_frame(ctx: XdpContext) -> u32 {
    let ctx_of_chain = ctx.ctx;
    fast::decide(&mut Packet::new(ctx)).unwrap_or_else(|| whole(ctx_of_chain))
}

/// The chain, and what it leaves to functions that need as much stack as it does.
#[inline(always)]
fn whole(ctx: *mut xdp_md) -> u32 {
    let is_clients = steered::is_a_clients(ctx);
    match chain(ctx, is_clients) {
        code::REPLY => reply::translate(ctx),
        code::HANDED => second_chance::handed(ctx, true),
        code::PART => follow_part(ctx),
        code::TAKEN_OUT => second_chance::handed(ctx, false),
        action if action & code::BY_MAC != 0 => steered::mark(ctx, action, is_clients),
        action => action,
    }
}

/// Every stage, for frames that [`fast`] leaves.
///
/// A function of its own, so that the fast path keeps nothing on the stack for it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chain(ctx: *mut xdp_md, is_clients: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    proof::give(&packet);
    match decide(&mut packet, is_clients) {
        Ok(action) => action,
        Err(exit) => exit.finish(),
    }
}

#[inline(always)]
fn decide(packet: &mut Packet, is_clients: u32) -> Stage<u32> {
    let Some(link) = parse::link(packet) else {
        return Err(Exit::Pass(Reason::PassMalformed));
    };
    match addressee::of(packet) {
        Addressee::Own => {}
        Addressee::Group => return Err(neighbour::asked(packet, &link)),
        Addressee::Other => return Err(Exit::Pass(Reason::PassOtherMac)),
    }
    let (target, opened) = match link.ethertype {
        ethertype::IPV4 => match classify::ipv4(packet, &link, is_clients)? {
            Kind::Segment(frame) => route::<1, V4>(packet, &frame)?,
            Kind::Handed => return Err(Exit::Done(code::HANDED)),
            Kind::Part => return Err(Exit::Done(code::PART)),
            Kind::Message => (icmp::owner(packet)?, false),
            Kind::Tunnel => return Err(decap::decapsulate(packet)),
            Kind::ForOthers => return Err(reply::from_backend()),
        },
        ethertype::IPV6 => match classify::ipv6(packet, &link, is_clients)? {
            Kind::Segment(frame) => route::<3, V6>(packet, &frame)?,
            Kind::Handed => return Err(Exit::Done(code::HANDED)),
            Kind::Part => return Err(Exit::Done(code::PART)),
            Kind::Message => (icmp::owner(packet)?, false),
            Kind::Tunnel => return Err(decap::decapsulate(packet)),
            Kind::ForOthers => {
                let asked = neighbour::solicitation(packet, &link);
                return Err(asked.unwrap_or_else(reply::from_backend));
            }
        },
        ethertype::ARP => return Err(neighbour::arp(packet, &link)),
        _ => return Err(NOT_OURS),
    };
    let bytes = packet.len();
    let hop = rewrite(packet, target)?;
    target.count(bytes, opened);
    Ok(forward(packet, hop)? | steered::way(target))
}

/// From a segment for a VIP to its backend, and whether it opens a session there.
#[inline(always)]
fn route<const K: usize, F: Noted<K>>(packet: &Packet, frame: &ForVip<K>) -> Stage<(Target, bool)> {
    let known = match flow::find::<K, F>(frame) {
        Some(known) => {
            if frame.is_part && known.is_proven() {
                note_part(packet.context().ctx, known.backend() as u32);
            }
            follow::<K, F>(&known, frame)?
        }
        None => Followed::Anew(no_backend()),
    };
    let routed = match known {
        Followed::Goes(routed) => routed,
        Followed::Anew(but) => select::<K, F>(packet, frame, but)?,
    };
    match routed {
        Routed::To { target, opened } => {
            if opened {
                let (_, _, vip_id) = F::parts(&frame.key);
                count_session(vip_id);
            }
            if target.is_local() {
                socket::note::<K, F>(packet, frame);
            }
            Ok((target, opened))
        }
        Routed::Reset(reason) => Err(reset::answer(packet, reason)),
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
