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
    /// A denied source's SYN is answered with RST instead of silence.
    pub const RESET_DENIED: u32 = 2;
    /// All sessions of one source go to one backend, within `affinity_skew_permille`.
    pub const AFFINITY: u32 = 4;
    /// `ALLOW4`, `DENY4`, `ALLOW6` or `DENY6` have entries. Without it no list is looked at.
    pub const LISTS: u32 = 8;
    /// `REPLIES` has entries. Without it no frame is taken for a reply of a `nat` backend.
    pub const NAT: u32 = 16;
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
    /// Mid-session frames without a flow that become one, each second on each CPU; 0 adopts none.
    pub adopt_per_second: u32,
    /// New connections that one source (IPv4 /32, IPv6 /64) may open each second; 0 is no limit.
    pub new_per_second: u32,
    /// SYNs without a flow, each second on each CPU, above which a flood is on: then one candidate is looked at
    /// and no flow inserted, so that a choice repeats statelessly. 0 is never.
    pub flood_per_second: u32,
    /// Flows not heard for so long may be displaced, in units of 2^30 ns
    /// ([`crate::flow::SEEN_SHIFT`]); 0 is never.
    pub idle_units: u32,
    /// Affinity: how far `(load + 1) / weight` of a source's backend may lie above that of its
    /// second one before new sessions go there.
    pub affinity_skew_permille: u32,
    /// Reserved, 0.
    pub reserved: [u32; 4],
}

const _: () = assert!(size_of::<Director>() == 64 && align_of::<Director>() == 8);
