//! What the floor programs of the benchmark share with it.
#![no_std]

/// Buckets of the bare bucket table: as many as the real one has.
pub const FLOOR_BUCKETS: u32 = lbd_common::flow::BUCKETS4;
/// Entries of the LRU hash: as many as the real table has slots.
pub const FLOOR_LRU: u32 = 4 * FLOOR_BUCKETS;
/// Slots of the ring.
pub const FLOOR_RING: u32 = lbd_common::ring::RING_SLOTS;

/// Which flows `walk` goes through.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Walk {
    /// The next flow's number.
    pub next: u64,
    /// Flows less one, a power of two less one.
    pub mask: u64,
    /// Bytes of the packet.
    pub length: u32,
    /// TCP flags of every packet.
    pub tcp_flags: u32,
    /// The source address of flow 0, in host byte order.
    pub first_source: u32,
    /// 0: in a fixed order; otherwise as at random.
    pub shuffled: u32,
    /// Half the bits of `mask`, at least 1.
    pub half_bits: u64,
    /// IPv4: where every packet goes, in memory order.
    pub destination: u32,
    /// Reserved, 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Walk>() == 48);

// SAFETY: `#[repr(C)]` of integers without padding (its size is asserted above), so every byte is initialised
// and every bit pattern is valid.
#[cfg(not(target_arch = "bpf"))]
unsafe impl aya::Pod for Walk {}
