//! The next hop of a frame: the interface it leaves by, and the MACs it leaves with.
use lbd_common::{backend::Backend, counters::Reason};
use lbd_ebpf::wire::{
    field::ethernet::{DESTINATION, MAC_TAIL, MACS, SOURCE},
    frame::{put_u16, put_u32, u16_at, u32_at},
};

use crate::xdp::{
    exit::{Exit, Stage},
    packet::Packet,
};

/// Where a rewritten frame goes: out of the interface of this number, or up this box's own stack.
///
/// No enum, because the compiler would write what a variant without a number leaves undefined, which
/// the kernel refuses.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Hop(u32);

impl Hop {
    /// Up this box's own stack; no interface has the number 0.
    pub(crate) const LOCAL: Self = Self(0);

    /// Out of the interface that faces a backend.
    #[inline(always)]
    pub(crate) fn towards(backend: &Backend) -> Self {
        Self(backend.ifindex)
    }

    /// Out of the interface of this number.
    #[inline(always)]
    pub(crate) fn by(ifindex: u32) -> Self {
        Self(ifindex)
    }

    /// The interface's number.
    #[inline(always)]
    pub(crate) fn ifindex(self) -> u32 {
        self.0
    }
}

/// Both MACs: the source is our own, because a bridge would otherwise learn the client's address
/// on our port.
#[inline(always)]
pub(crate) fn next_hop(packet: &mut Packet, backend: &Backend) -> Stage<()> {
    let Some(ethernet) = packet.window_mut::<MACS>(0) else {
        return Err(Exit::Drop(Reason::DropRewriteFailed));
    };
    put_u32(ethernet, DESTINATION, u32_at(&backend.mac, 0));
    let tail = u16_at(&backend.mac, MAC_TAIL);
    put_u16(ethernet, DESTINATION + MAC_TAIL, tail);
    put_u32(ethernet, SOURCE, u32_at(&backend.source_mac, 0));
    let tail = u16_at(&backend.source_mac, MAC_TAIL);
    put_u16(ethernet, SOURCE + MAC_TAIL, tail);
    Ok(())
}
