//! Where sessions go.

/// How a frame reaches a backend.
pub mod mode {
    /// Destination MAC rewritten; the VIP sits on the backend's loopback.
    pub const DSR: u8 = 0;
    /// Addresses translated; replies pass the director.
    pub const NAT: u8 = 1;
    /// Encapsulated in IPv4 or IPv6.
    pub const IPIP: u8 = 2;
    /// This box: the frame goes up its own stack.
    pub const LOCAL: u8 = 3;
}

/// What may be sent to a backend.
pub mod state {
    /// No backend has this id.
    pub const UNUSED: u8 = 0;
    /// Takes sessions by its weight.
    pub const UP: u8 = 1;
    /// Known, but its MAC is not resolved yet: frames are dropped (TCP sends them again) and counted.
    pub const UNRESOLVED: u8 = 2;
    /// Dead by the health check: its open sessions are reset, so that senders retry at once.
    pub const DEAD: u8 = 3;
}

/// An entry of `BACKENDS`, by backend id. One cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backend {
    /// The next hop's MAC.
    pub mac: [u8; 6],
    /// The MAC of our own interface that faces it: the frame's new source.
    pub source_mac: [u8; 6],
    /// The interface that faces it.
    pub ifindex: u32,
    /// One of [`mode`].
    pub mode: u8,
    /// One of [`state`].
    pub state: u8,
    /// NAT: the port on the backend in network byte order; 0 keeps the VIP's.
    pub port_be: u16,
    /// 4 or 6: the family of `address`.
    pub family: u16,
    /// IPIP: the largest inner packet in bytes.
    pub mtu: u16,
    /// Four words in memory order; an IPv4 address is in word 0.
    pub address: [u32; 4],
    /// IPIP: our own address towards the backend.
    pub source_address: [u32; 4],
    /// Reserved, 0.
    pub reserved: u64,
}

const _: () = assert!(size_of::<Backend>() == 64 && align_of::<Backend>() == 8);

/// An entry of `BACKEND_STATS`, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BackendStats {
    /// Frames steered to the backend.
    pub packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Sessions that were selected for it (each SYN that made a flow).
    pub connections: u64,
}
