//! Sends a rewritten frame on its way.
use aya_ebpf::bindings::xdp_action;
use lbd_common::counters::Reason;

use crate::{
    exit::{Exit, Stage},
    maps::DEVICES,
    packet::Packet,
    rewrite::Hop,
};

/// The XDP action for a hop.
#[inline(always)]
pub(crate) fn forward(packet: &Packet, hop: Hop) -> Stage<u32> {
    match hop {
        Hop::Local => Ok(xdp_action::XDP_PASS),
        Hop::Interface(ifindex) if ifindex == packet.context().ingress_ifindex() as u32 => {
            Ok(xdp_action::XDP_TX)
        }
        Hop::Interface(ifindex) => DEVICES
            .redirect(ifindex, 0)
            .map_err(|_| Exit::Drop(Reason::DropNoDevice)),
    }
}
