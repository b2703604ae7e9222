//! Sends a rewritten frame on its way.
use aya_ebpf::bindings::xdp_action;
use lbd_common::counters::Reason;

use super::hop::Hop;
use crate::xdp::{
    exit::{Exit, Stage},
    packet::Packet,
    tables::maps::DEVICES,
};

/// The XDP action for a hop.
#[inline(always)]
pub(crate) fn forward(packet: &Packet, hop: Hop) -> Stage<u32> {
    if hop == Hop::LOCAL {
        return Ok(xdp_action::XDP_PASS);
    }
    let ifindex = hop.ifindex();
    if ifindex == packet.context().ingress_ifindex() as u32 {
        return Ok(xdp_action::XDP_TX);
    }
    DEVICES
        .redirect(ifindex, 0)
        .map_err(|_| Exit::Drop(Reason::DropNoDevice))
}
