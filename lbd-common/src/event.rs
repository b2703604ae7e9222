//! What the program tells the daemon about sessions.

/// Values of [`FlowEvent::kind`].
pub mod kind {
    /// The client's first ACK was seen.
    pub const OPENED: u8 = 1;
    /// FIN or RST of the client was seen.
    pub const CLOSED: u8 = 2;
    /// The client's SYN was steered.
    pub const OPENING: u8 = 3;
    /// A reply of a `nat` backend found no MAC on its way to `FlowEvent::source`: the daemon has the
    /// kernel ask for it. Only that field and the family have a meaning.
    pub const NO_NEIGHBOUR: u8 = 4;
    /// A frame of a source that a list denies. Not each is told of; the backend has no meaning.
    pub const DENIED: u8 = 5;
    /// A SYN above the rate that a source may open; likewise.
    pub const RATE_LIMITED: u8 = 6;
    /// The session is proven: the backend has answered through this box, or its client went on for long
    /// enough ([`crate::flow::PROVING_FRAMES`]).
    pub const PROVEN: u8 = 7;
}

/// An entry of `EVENTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FlowEvent {
    /// Four words in memory order; an IPv4 address is in word 0.
    pub source: [u32; 4],
    /// Network byte order.
    pub port_be: u16,
    /// [`crate::vip::VipPort::id`].
    pub vip_id: u16,
    /// Backend id.
    pub backend: u16,
    /// 4 or 6.
    pub family: u8,
    /// One of [`kind`].
    pub kind: u8,
}

const _: () = assert!(size_of::<FlowEvent>() == 24);
