//! What this box may do, right now.

/// Values of [`Director::role`].
pub mod role {
    /// Steers known flows only.
    pub const BACKUP: u32 = 0;
    /// Takes new sessions while the lease holds.
    pub const MASTER: u32 = 1;
}

/// Bits of [`Director::flags`].
pub mod flag {
    /// SYN flood: one candidate, no flow inserted, so that a choice repeats statelessly.
    pub const FLOOD: u32 = 1;
}

/// The one entry of `DIRECTOR`. Each field has one writer and is stored whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Director {
    /// New sessions and ARP/ND for a VIP are served until then. `CLOCK_BOOTTIME`, so that a
    /// suspended box wakes up without the lease. Written by the election's thread.
    pub lease_until_ns: u64,
    /// One of [`role`]. Written by the election's thread.
    pub role: u32,
    /// Which of `RINGS` is live: 0 or 1. Written by the daemon after the other one is filled.
    pub ring_index: u32,
    /// Sum of all weights in permille; 0 answers a SYN with RST, so that the sender tries its next MX.
    pub total_weight_permille: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// [`crate::ABI_VERSION`] of the daemon that wrote this.
    pub abi_version: u32,
    /// Reserved, 0.
    pub reserved: [u32; 9],
}

const _: () = assert!(size_of::<Director>() == 64 && align_of::<Director>() == 8);
