//! `forwarding: nat`, towards the backend: the VIP and its port become the backend's own.
//!
//! The client's address stays, because the mail server judges it. So the replies go to the client's
//! address, and pass the director only because it is the backends' gateway: see [`super::reply`].
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lbd_common::{
    backend::{Backend, mode},
    counters::Reason,
    flow::{FlowWord, state},
    reply::{MAX_REPLY_SERVICES, Reply, ReplyKey, ReplyService},
};
use lbd_ebpf::wire::{
    checksum::Sum,
    parse::{self, ethertype, tcp_flag},
};

use super::{
    error,
    hop::{Hop, next_hop},
    translate::{Place, Side, address_at, replace, segment},
};
use crate::xdp::{
    exit::{Exit, Stage},
    family::{Family, V4, V6, key4, key6},
    packet::Packet,
    path::{flow, segment::ForVip},
    tables::{
        backend::Target,
        maps::{BACKENDS, REPLIES},
    },
};

/// Addresses a segment for the VIP to the backend.
///
/// A function of its own, that parses the frame anew: the kernel verifies it once, and the path of
/// the other modes stays short.
#[inline(always)]
pub(crate) fn to_backend(packet: &Packet, target: Target) -> Stage<()> {
    if translate_to_backend(packet.context().ctx, target.id as u32) == 0 {
        return Err(Exit::Drop(Reason::DropRewriteFailed));
    }
    Ok(())
}

/// Likewise for the fast path: a segment without tags, IPv4 options and IPv6 extension headers.
#[inline(always)]
pub(crate) fn to_backend_plain(packet: &Packet, target: Target, is_v4: bool) -> Stage<Hop> {
    let (ctx, id) = (packet.context().ctx, target.id as u32);
    let done = if is_v4 {
        translate_plain4(ctx, id)
    } else {
        translate_plain6(ctx, id)
    };
    if done == 0 {
        return Err(Exit::Drop(Reason::DropRewriteFailed));
    }
    Ok(Hop::towards(target.backend))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_plain4(ctx: *mut xdp_md, id: u32) -> u32 {
    translate_plain(ctx, id, Place::PLAIN4)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_plain6(ctx: *mut xdp_md, id: u32) -> u32 {
    translate_plain(ctx, id, Place::PLAIN6)
}

#[inline(always)]
fn translate_plain(ctx: *mut xdp_md, id: u32, place: Place) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    let done = BACKENDS.get(id).and_then(|backend| {
        next_hop(&mut packet, backend).ok()?;
        segment_towards(&mut packet, place, backend)
    });
    done.is_some() as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_to_backend(ctx: *mut xdp_md, id: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    let done = BACKENDS
        .get(id)
        .and_then(|backend| towards(&mut packet, backend));
    done.is_some() as u32
}

/// The MACs first: LLVM would leave out their check after one for bytes further back, and the kernel
/// then misses it.
#[inline(always)]
fn towards(packet: &mut Packet, backend: &Backend) -> Option<()> {
    next_hop(packet, backend).ok()?;
    let Some((place, _)) = segment(packet) else {
        return error_towards(packet, backend);
    };
    segment_towards(packet, place, backend)
}

/// Gives the segment at `place` the backend's address and port.
#[inline(always)]
fn segment_towards(packet: &mut Packet, place: Place, backend: &Backend) -> Option<()> {
    if place.is_v4 != (backend.family == 4) {
        return None;
    }
    let (side, address, port_be) = (Side::Destination, &backend.address, backend.port_be);
    replace(packet, place, side, address, port_be)
}

/// Addresses a part of a packet that is not the first one to the backend: no port and no sum but the IP
/// header's are in it. The first part's checksum covers both, and was changed by what changed.
#[inline(always)]
pub(crate) fn part_to_backend(packet: &Packet, target: Target) -> Stage<()> {
    if translate_part(packet.context().ctx, target.id as u32) == 0 {
        return Err(Exit::Drop(Reason::DropRewriteFailed));
    }
    Ok(())
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn translate_part(ctx: *mut xdp_md, id: u32) -> u32 {
    let mut packet = Packet::new(XdpContext::new(ctx));
    let done = BACKENDS
        .get(id)
        .and_then(|backend| part_towards(&mut packet, backend));
    done.is_some() as u32
}

#[inline(always)]
fn part_towards(packet: &mut Packet, backend: &Backend) -> Option<()> {
    next_hop(packet, backend).ok()?;
    let link = parse::link(packet)?;
    let is_v4 = link.ethertype == ethertype::IPV4;
    if is_v4 != (backend.family == 4) {
        return None;
    }
    let (side, address) = (Side::Destination, &backend.address);
    address_at(packet, is_v4, link.network, side, address, Sum::of(0))?;
    Some(())
}

/// An ICMP error about what the backend has sent.
#[inline(always)]
fn error_towards(packet: &mut Packet, backend: &Backend) -> Option<()> {
    let (error, _) = error::quoted(packet)?;
    if error.message.is_v4 != (backend.family == 4) {
        return None;
    }
    let (side, address, port_be) = (Side::Destination, &backend.address, backend.port_be);
    error::replace(packet, error, side, address, port_be)
}

/// Whether sessions with the backend cannot do without a flow.
#[inline(always)]
pub(crate) fn needs_flow(target: Target) -> bool {
    target.backend.mode == mode::NAT
}

/// A client's address and port and a VIP id, as numbers that a function of its own can take.
#[derive(Clone, Copy)]
pub(crate) struct FlowName {
    pub(super) high: u64,
    pub(super) low: u64,
    pub(super) rest: u64,
}

impl FlowName {
    #[inline(always)]
    pub(crate) fn new(is_v4: bool, address: [u32; 4], port_be: u16, vip_id: u16) -> Self {
        Self {
            high: address[0] as u64 | (address[1] as u64) << 32,
            low: address[2] as u64 | (address[3] as u64) << 32,
            rest: port_be as u64 | (vip_id as u64) << 16 | (is_v4 as u64) << 32,
        }
    }

    /// As three words.
    #[inline(always)]
    pub(crate) fn words(self) -> [u64; 3] {
        [self.high, self.low, self.rest]
    }

    #[inline(always)]
    pub(super) fn of_service(self, vip_id: u16) -> Self {
        Self {
            rest: self.rest & !0xffff_0000 | (vip_id as u64) << 16,
            ..self
        }
    }

    /// The service before a backend, other than `but`, through which the client has a session with
    /// it, and the state of its flow.
    #[inline(always)]
    pub(crate) fn service_of(
        self,
        reply: &'static Reply,
        but: u16,
    ) -> Option<(&'static ReplyService, u8)> {
        let found = service_index(reply, self.high, self.low, self.rest, but as u32);
        let service = reply.services.get((found & 0xff) as usize)?;
        Some((service, (found >> 8) as u8))
    }

    /// The place of the service, and above its eight bits the flow's state.
    #[inline(always)]
    fn index_in(self, reply: &Reply, but: u16) -> usize {
        for (index, service) in reply.services.iter().enumerate() {
            if service.id == 0 {
                return NO_SERVICE;
            }
            if service.id == but {
                continue;
            }
            let name = self.of_service(service.id);
            let word = FlowWord::from_bits(if name.rest >> 32 != 0 {
                flow_word4(name.high, name.rest)
            } else {
                flow_word6(name.high, name.low, name.rest)
            });
            if word.state != state::FREE && word.backend as u32 == reply.backend {
                return index | (word.state as usize) << 8;
            }
        }
        NO_SERVICE
    }
}

const NO_SERVICE: usize = MAX_REPLY_SERVICES;

/// See [`FlowName::index_in`]; [`NO_SERVICE`] if there is none. A function of its own: see
/// [`flow_word4`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn service_index(reply: *const Reply, high: u64, low: u64, rest: u64, but: u32) -> u64 {
    // SAFETY: the kernel checks that callers pass an entry of the map, or nothing.
    let Some(reply) = (unsafe { reply.as_ref() }) else {
        return NO_SERVICE as u64;
    };
    FlowName { high, low, rest }.index_in(reply, but as u16) as u64
}

/// The word of a flow; of state `FREE` if there is none.
///
/// A function of its own, with numbers only going in and out, because the kernel verifies such a
/// function once and not for each service that is tried.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_word4(high: u64, rest: u64) -> u64 {
    match flow::find::<1, V4>(&frame4(high, rest)) {
        Some(known) => known.word().to_bits(),
        None => 0,
    }
}

/// Likewise for IPv6. Two functions, so that neither needs more of the stack than its family does.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_word6(high: u64, low: u64, rest: u64) -> u64 {
    match flow::find::<3, V6>(&frame6(high, low, rest)) {
        Some(known) => known.word().to_bits(),
        None => 0,
    }
}

/// Stands for a segment in mid-session of an IPv4 flow.
#[inline(always)]
pub(crate) fn frame4(high: u64, rest: u64) -> ForVip<1> {
    let key = key4(high as u32, rest as u16, (rest >> 16) as u16);
    ForVip::named(key, V4::hash(&key), tcp_flag::ACK)
}

/// Likewise, IPv6.
#[inline(always)]
pub(crate) fn frame6(high: u64, low: u64, rest: u64) -> ForVip<3> {
    let source = [
        high as u32,
        (high >> 32) as u32,
        low as u32,
        (low >> 32) as u32,
    ];
    let key = key6(source, rest as u16, (rest >> 16) as u16);
    ForVip::named(key, V6::hash(&key), tcp_flag::ACK)
}

/// Whether the client has a session with this `nat` backend from the same port, through another
/// service: at the backend both would be the same connection.
#[inline(always)]
pub(crate) fn has_twin<const K: usize, F: Family<K>>(frame: &ForVip<K>, target: Target) -> bool {
    if !needs_flow(target) {
        return false;
    }
    let (source, port_be, vip_id) = F::parts(&frame.key);
    let name = FlowName::new(F::NUMBER == 4, source, port_be, vip_id);
    let rest = name.rest | (frame.port_be as u64) << 48;
    nat_twin(name.high, name.low, rest, target.id as u32) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_twin(high: u64, low: u64, rest: u64, id: u32) -> u32 {
    let Some(backend) = BACKENDS.get(id) else {
        return 0;
    };
    let kept = backend.port_be == 0;
    let key = ReplyKey {
        address: backend.address,
        port_be: if kept {
            (rest >> 48) as u16
        } else {
            backend.port_be
        },
        family: backend.family,
    };
    let Some(reply) = reply(&key) else {
        return 0;
    };
    let name = FlowName {
        high,
        low,
        rest: rest & 0xffff_ffff_ffff,
    };
    // Not by `service_index`, whose frame would be one too many on older kernels' stack.
    (name.index_in(reply, (rest >> 16) as u16) != NO_SERVICE) as u32
}

/// The services before a backend's address and port.
#[inline(always)]
pub(crate) fn reply(key: &ReplyKey) -> Option<&'static Reply> {
    // SAFETY: an entry that the daemon replaces meanwhile is freed after this program has ended
    // (kernel/bpf/hashtab.c waits for RCU), and its fields are read once each.
    unsafe { REPLIES.get(key) }
}
