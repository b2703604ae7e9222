//! Virtual addresses and the ports served on them.

/// Ports that one virtual address can serve.
pub const MAX_PORTS: usize = 8;

/// A served port. `port_be == 0` ends the list.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VipPort {
    /// In network byte order, as it stands in the TCP header.
    pub port_be: u16,
    /// The VIP id: one per (address, port), kept as long as the service exists; never 0.
    pub id: u16,
}

/// A slot of `VIPS`: a virtual address. The home slot is [`crate::hash::slot_u32`] of an IPv4
/// address and [`crate::hash::slot_v6`] of an IPv6 one; a key sits at its home or the nearest
/// following slot that was free, and the first slot with `family == 0` ends the search.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Vip {
    /// Four words in memory order; an IPv4 address is in word 0, the others are 0.
    pub address: [u32; 4],
    /// 4, 6, or 0 for a free slot.
    pub family: u32,
    /// Reserved, 0.
    pub reserved: [u32; 3],
    /// The served ports.
    pub ports: [VipPort; MAX_PORTS],
}

const _: () = assert!(size_of::<Vip>() == 64 && align_of::<Vip>() == 4);
