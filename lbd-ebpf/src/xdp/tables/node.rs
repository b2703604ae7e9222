//! Which MACs belong to boxes of the cluster.
use lbd_common::{
    hash::{MAX_PROBE, slot_mac},
    maps::NODE_SLOTS,
    prefilter::NODE,
};

use super::{maps::NODES, prefilter};

/// Whether a MAC may belong to a box of the cluster, told by its last byte.
#[inline(always)]
pub(crate) fn may_be_node(mac: u64) -> bool {
    prefilter::is_possible((mac >> 40) as u8, NODE)
}

/// Whether a MAC belongs to a box of the cluster.
#[inline(always)]
pub(crate) fn is_node(mac: u64) -> bool {
    if !may_be_node(mac) {
        return false;
    }
    let home = slot_mac(mac, NODE_SLOTS);
    for distance in 0..MAX_PROBE {
        match NODES.get((home + distance) & (NODE_SLOTS - 1)) {
            Some(node) if node.mac == mac => return mac != 0,
            Some(node) if node.mac != 0 => {}
            _ => return false,
        }
    }
    false
}
