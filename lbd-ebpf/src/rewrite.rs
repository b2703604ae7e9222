//! Addresses a frame to its backend.
use lbd_common::{
    backend::{Backend, mode},
    counters::Reason,
};
use lbd_ebpf::frame::{put_u16, put_u32, u16_at, u32_at};

use crate::{
    backend::Target,
    exit::{Exit, Stage},
    packet::Packet,
};

/// Where a rewritten frame goes.
pub(crate) enum Hop {
    /// Up this box's own stack.
    Local,
    /// Out of an interface.
    Interface(u32),
}

/// Makes the frame what the backend's mode wants.
#[inline(always)]
pub(crate) fn rewrite(packet: &mut Packet, target: Target) -> Stage<Hop> {
    if target.backend.mode == mode::LOCAL {
        return Ok(Hop::Local);
    }
    next_hop(packet, target.backend)?;
    Ok(Hop::Interface(target.backend.ifindex))
}

/// Both MACs: the source is our own, because a bridge would otherwise learn the client's address
/// on our port.
#[inline(always)]
fn next_hop(packet: &mut Packet, backend: &Backend) -> Stage<()> {
    let Some(ethernet) = packet.window_mut::<12>(0) else {
        return Err(Exit::Drop(Reason::DropRewriteFailed));
    };
    put_u32(ethernet, 0, u32_at(&backend.mac, 0));
    put_u16(ethernet, 4, u16_at(&backend.mac, 4));
    put_u32(ethernet, 6, u32_at(&backend.source_mac, 0));
    put_u16(ethernet, 10, u16_at(&backend.source_mac, 4));
    Ok(())
}
