//! To whose MAC a frame is addressed.
//!
//! A switch floods frames for a MAC that it has not learnt to every port, a promiscuous interface takes
//! all of them, and XDP runs before the kernel compares a frame's destination (`eth_type_trans` of
//! `net/ethernet/eth.c`). A flooded frame of a session with another box would look as if it had been
//! steered to this one. So what is not addressed to the interface it came in by leaves untouched, for
//! the kernel to drop, or for whoever the port is promiscuous for: a bridge, a macvlan, a virtual MAC
//! of another program (RFC 9568, section 7.3), which are not this box's own stack.
//!
//! This box's own are the interface's MAC and those of VLANs on top of it, which may differ; the ports
//! of a bond receive for the bond. Multicast and broadcast only ask: see [`crate::xdp::answer::neighbour`]. The
//! kernel takes no TCP from them either (`tcp_v4_rcv` wants `PACKET_HOST`).
use lbd_common::{
    hash::MAX_PROBE,
    prefilter::{arrival, mac_slot},
};
use lbd_ebpf::wire::parse::receiver;

use crate::xdp::{packet::Packet, tables::prefilter};

/// The receiver that a frame names.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Addressee {
    /// This box.
    Own,
    /// Many.
    Group,
    /// Another one.
    Other,
}

/// Whether the frame is addressed to this box, by one comparison; false if it takes more to know.
#[inline(always)]
pub(crate) fn is_own_at_once(packet: &Packet) -> bool {
    let ifindex = packet.context().ingress_ifindex() as u32;
    receiver(packet)
        .is_some_and(|mac| prefilter::own_arrival(mac_slot(ifindex)) == arrival(mac, ifindex))
}

/// The receiver that the frame names.
#[inline(always)]
pub(crate) fn of(packet: &Packet) -> Addressee {
    let Some(mac) = receiver(packet) else {
        return Addressee::Other;
    };
    if mac & 1 != 0 {
        return Addressee::Group;
    }
    let ifindex = packet.context().ingress_ifindex() as u32;
    let wanted = arrival(mac, ifindex);
    let mut is_known = false;
    for distance in 0..MAX_PROBE {
        let own = prefilter::own_arrival(mac_slot(ifindex + distance));
        if own == wanted {
            return Addressee::Own;
        }
        if own == 0 {
            break;
        }
        is_known |= own >> 48 == wanted >> 48;
    }
    if is_known {
        Addressee::Other
    } else {
        Addressee::Own
    }
}
