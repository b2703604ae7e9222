//! Which frames can concern lbd, told by the last byte of their destination, and which can be from a
//! box of the cluster, told by the last byte of the sender's MAC: a filter before every lookup, so that
//! a frame for somebody else costs no more than to look at it.
//!
//! The byte may be the same by chance; then the lookups tell.

/// An IPv4 frame to an address with this last byte may.
pub const IPV4: u8 = 1;
/// An IPv6 frame may, also one to the solicited-node address, which ends as the address does
/// (RFC 4291, section 2.7.1).
pub const IPV6: u8 = 2;
/// A frame from a MAC with this last byte may be from a box in `NODES`.
pub const NODE: u8 = 4;

/// The one entry of [`crate::maps::CONCERNS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Concerns {
    /// Bits of [`IPV4`], [`IPV6`] and [`NODE`] by the last byte of an address.
    pub bits: [u8; 256],
}

const _: () = assert!(size_of::<Concerns>() == 256);
