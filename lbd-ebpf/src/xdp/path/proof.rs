//! Proof that the program runs, for a daemon that asks for it.
//!
//! The kernel's books say that a program is attached, not that the driver runs it. Counting every frame
//! would cost the fast path more than its decision, so the daemon asks: it writes an interface's number
//! into [`UNSEEN`], and the next frame that takes the chain there wipes it out. Where nothing takes the chain,
//! the daemon sends every frame there by a prefilter that lets all through.
use lbd_common::prefilter::{MAC_SLOTS, mac_slot};

use crate::xdp::{packet::Packet, tables::maps::UNSEEN};

/// A frame has come in.
#[inline(always)]
pub(crate) fn give(packet: &Packet) {
    let ifindex = packet.context().ingress_ifindex() as u32;
    let Some(unseen) = UNSEEN.get_ptr_mut(mac_slot(ifindex) & (MAC_SLOTS - 1)) else {
        return;
    };
    // SAFETY: the entry is always there and aligned; the daemon and other CPUs use it too, so it is read
    // and written whole. Nothing is written unless the daemon asks: the line stays shared.
    unsafe {
        if unseen.read_volatile() == ifindex as u64 {
            unseen.write_volatile(0);
        }
    }
}
