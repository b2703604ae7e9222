//! The cluster's own boxes, known by MAC: what they send was steered already.

/// A slot of `NODES`; `mac == 0` is a free slot. The home slot is [`crate::hash::slot_mac`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Node {
    /// [`mac_to_u64`] of the node's address on this segment.
    pub mac: u64,
}

/// A MAC as the program reads it: bytes 0 to 3 as one little-endian word, then 4 and 5 above it.
#[inline(always)]
#[must_use]
pub const fn mac_to_u64(mac: [u8; 6]) -> u64 {
    u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
}

const _: () = assert!(size_of::<Node>() == 8);
