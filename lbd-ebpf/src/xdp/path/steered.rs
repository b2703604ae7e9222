//! Whether a frame from a box of the cluster was steered by it, or is that of a client: of the box itself,
//! or of a host that is routed through it.
//!
//! The source MAC does not tell. A box that stands by sends mail of its own to the VIP, and what it
//! forwards as a router has its MAC too. Taken for steered, such a session goes up the master's own stack,
//! which may have no mail server, and past the lists.
//!
//! What tells is the *mark* ([`lbd_ebpf::wire::mark`]), which a director puts on each SYN that it steers to a
//! box whose lbd takes it off again, and the *lease*: new sessions are steered by a node that holds it. So
//! there, a SYN from another box without the mark is a client's: it is admitted, limited and steered as
//! any client's is. Everywhere else it was steered here.
//!
//! A frame in mid-session without the mark is a client's where this box holds the lease and has itself
//! steered the session's SYN elsewhere: it follows its flow. In every other case it was steered, and
//! [`super::second_chance`] decides.
//!
//! Nothing goes in a circle, even between two boxes that both hold a lease: what a box of the cluster
//! sent is steered on with the mark only, and a marked frame goes up and is never steered again.
//!
//! Strangers gain nothing. A client that sets the bit itself is not in `NODES`, and of it the mark means
//! nothing; one that is routed through a box of the cluster reaches the master's own stack instead of
//! another's.
//!
//! Each function here is one of its own, which the kernel verifies once, apart from the chain.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{backend::mode, flow::flag};
use lbd_ebpf::wire::{frame::Frame, mark, parse, parse::tcp_flag};

use super::{
    admit, flow,
    segment::{ForVip, frame4, frame6},
};
use crate::xdp::{
    code,
    family::{Family, V4, V6},
    forward::translate::segment,
    packet::Packet,
    tables::{
        backend::Target,
        node::{is_node, may_be_node},
        sign,
    },
};

/// Whether a frame that a box of the cluster sent is that of a client all the same; 0 also for frames of
/// anyone else, which nearly all are: they are known without a call.
#[inline(always)]
pub(crate) fn is_a_clients(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    if !parse::sender(&packet).is_some_and(may_be_node) {
        return 0;
    }
    is_a_nodes_client(ctx)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_a_nodes_client(ctx: *mut xdp_md) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    judge(&packet).is_some_and(|is_clients| is_clients) as u32
}

#[inline(always)]
fn judge(packet: &Packet) -> Option<bool> {
    if !parse::sender(packet).is_some_and(is_node) || !admit::is_leased_master() {
        return None;
    }
    let (place, ends) = segment(packet)?;
    // A SYN with an ACK is no client's.
    let turns = ends.flags & (tcp_flag::SYN | tcp_flag::ACK);
    if mark::is_set(packet.window(place.transport)?) || turns == tcp_flag::SYN | tcp_flag::ACK {
        return None;
    }
    Some(if place.is_v4 {
        begins_or_goes_on::<1, V4>(&frame4(&ends)?)
    } else {
        begins_or_goes_on::<3, V6>(&frame6(&ends)?)
    })
}

#[inline(always)]
fn begins_or_goes_on<const K: usize, F: Family<K>>(frame: &ForVip<K>) -> bool {
    if frame.is_syn() {
        return true;
    }
    let Some(known) = flow::find::<K, F>(frame) else {
        return false;
    };
    let word = known.word();
    word.flags & (flag::FROM_PEER | flag::ADOPTED) == 0
        && Target::get(word.backend).is_some_and(|target| !target.is_local())
}

/// What the chain says in addition to the action of a frame that it has sent to a backend, for [`mark`].
#[inline(always)]
pub(crate) fn way(target: Target) -> u32 {
    if target.backend.mode != mode::DSR {
        return 0;
    }
    if sign::takes_mark(target.id) {
        code::BY_MAC | code::TO_LBD
    } else {
        code::BY_MAC
    }
}

/// Marks a frame on its way out if it has to be: each SYN to a box that takes the mark off, and all that
/// came from a box of the cluster. A stack without lbd ignores the bit.
#[inline(always)]
pub(crate) fn mark(ctx: *mut xdp_md, action: u32, is_clients: u32) -> u32 {
    if is_clients != 0 || action & code::TO_LBD != 0 {
        put_mark_on_the_way(ctx, is_clients);
    }
    action & !(code::BY_MAC | code::TO_LBD)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn put_mark_on_the_way(ctx: *mut xdp_md, always: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    let Some((place, ends)) = segment(&packet) else {
        return 0;
    };
    let others = tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN;
    if always == 0 && ends.flags & (tcp_flag::SYN | others) != tcp_flag::SYN {
        return 0;
    }
    let Some(tcp) = packet.window_mut(place.transport) else {
        return 0;
    };
    mark::put(tcp, true);
    1
}
