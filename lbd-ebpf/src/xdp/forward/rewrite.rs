//! Addresses a frame to its backend.
use lbd_common::backend::mode;

use super::{
    hop::{Hop, next_hop},
    nat, tunnel,
};
use crate::xdp::{exit::Stage, packet::Packet, tables::backend::Target};

/// Makes the frame what the backend's mode wants.
#[inline(always)]
pub(crate) fn rewrite(packet: &mut Packet, target: Target) -> Stage<Hop> {
    match target.backend.mode {
        mode::LOCAL => Ok(Hop::LOCAL),
        mode::IPIP => tunnel::encapsulate(packet, target),
        mode::NAT => {
            nat::to_backend(packet, target)?;
            Ok(Hop::towards(target.backend))
        }
        _ => {
            next_hop(packet, target.backend)?;
            Ok(Hop::towards(target.backend))
        }
    }
}
