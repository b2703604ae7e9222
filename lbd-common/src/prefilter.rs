//! Which frames can concern lbd, told by the last byte of their destination, and which can be from a
//! box of the cluster, told by the last byte of the sender's MAC: a filter before every lookup, so that
//! a frame for another host costs only the look at it. The byte may be the same by chance; then
//! the lookups tell.
//!
//! Here too: the MACs that frames for this box are addressed to, by the interface that they come in by.

/// An IPv4 frame to an address with this last byte may.
pub const IPV4: u8 = 1;
/// An IPv6 frame may, also one to the solicited-node address, which ends as the address does
/// (RFC 4291, section 2.7.1).
pub const IPV6: u8 = 2;
/// A frame from a MAC with this last byte may be from a box in `NODES`.
pub const NODE: u8 = 4;

/// Slots of [`Prefilter::macs`], a power of two: the interfaces of a box, with their VLANs.
pub const MAC_SLOTS: u32 = 64;

/// The one entry of [`crate::maps::PREFILTER`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prefilter {
    /// Bits of [`IPV4`], [`IPV6`] and [`NODE`] by the last byte of an address.
    pub bits: [u8; 256],
    /// [`arrival`]s that are this box's own, each in its [`mac_slot`] or the nearest one after it that
    /// was free; 0 is free. An interface without an entry accepts every frame.
    pub macs: [u64; MAC_SLOTS as usize],
}

const _: () = assert!(size_of::<Prefilter>() == 768 && align_of::<Prefilter>() == 8);

impl Prefilter {
    /// No frame concerns lbd.
    pub const NONE: Self = Self {
        bits: [0; 256],
        macs: [0; MAC_SLOTS as usize],
    };
}

/// A frame's destination, as [`crate::node::mac_to_u64`] has it, with the interface that it came in by
/// in the two bytes above. Of a number beyond 16 bits the low ones are enough: two interfaces would
/// have to agree in them and in their MACs.
#[inline(always)]
#[must_use]
pub const fn arrival(mac: u64, ifindex: u32) -> u64 {
    mac | (ifindex as u64) << 48
}

/// Where an interface's MACs begin in [`Prefilter::macs`].
#[inline(always)]
#[must_use]
pub const fn mac_slot(ifindex: u32) -> u32 {
    ifindex & (MAC_SLOTS - 1)
}
