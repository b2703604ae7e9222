//! The ends of tunnels between the cluster's boxes: whose outer header is taken off.

/// Values of [`TunnelEnd::side`].
pub mod side {
    /// An address of this box that others tunnel to.
    pub const OWN: u32 = 1;
    /// An address that another box of the cluster tunnels from.
    pub const PEER: u32 = 2;
}

/// A slot of `TUNNELS`: an address. The home slot is that of a [`crate::vip::Vip`] in a table of
/// [`crate::maps::TUNNEL_SLOTS`], and the search likewise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TunnelEnd {
    /// Four words in memory order; an IPv4 address is in word 0, the others are 0.
    pub address: [u32; 4],
    /// 4, 6, or 0 for a free slot.
    pub family: u32,
    /// One of [`side`].
    pub side: u32,
    /// Reserved, 0.
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<TunnelEnd>() == 32 && align_of::<TunnelEnd>() == 4);

/// Bytes of an outer header of family 4 or 6.
#[inline(always)]
#[must_use]
pub const fn outer_bytes(family: u16) -> u16 {
    if family == 4 { 20 } else { 40 }
}
