//! What the box's own TCP says of its sessions: the backend's half, which no frame can claim.

/// Values of [`SockEvent::change`].
pub mod change {
    /// A client's handshake is done: a session has begun here.
    pub const OPENED: u8 = 1;
    /// This box has ended a session, or has seen it end: closed it, reset it, been reset, or given it up.
    pub const ENDED: u8 = 2;
    /// A listener has come or gone. Only the local port has a meaning.
    pub const LISTENER: u8 = 3;
}

/// An entry of `SOCK_EVENTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SockEvent {
    /// The client: four words in memory order; an IPv4 address is in word 0.
    pub remote: [u32; 4],
    /// What the client has connected to, likewise.
    pub local: [u32; 4],
    /// The client's port, in network byte order.
    pub remote_port_be: u16,
    /// This box's port, in network byte order.
    pub local_port_be: u16,
    /// 4 or 6. An IPv4 session of a socket for both families is an IPv4-mapped one of 6.
    pub family: u8,
    /// One of [`change`].
    pub change: u8,
    /// The state that the socket was in, and is in now (`include/net/tcp_states.h`).
    pub old_state: u8,
    /// See above.
    pub new_state: u8,
}

const _: () = assert!(size_of::<SockEvent>() == 40 && align_of::<SockEvent>() == 4);

/// Ring buffer of [`SockEvent`].
pub const SOCK_EVENTS: &str = "SOCK_EVENTS";
/// The ports whose sessions are told: an array of `u64`, a bit a port ([`port_word`], [`port_bit`]). A hash would
/// cost as much as all the rest of the program, which runs for every socket of the machine.
pub const SOCK_PORTS: &str = "SOCK_PORTS";
/// A word of `SOCK_PORTS` behind those of the ports: if it is not 0, sessions of every port are told, because one
/// may be of a service that the box redirects.
pub const TELL_ALL: u32 = 1 << 10;
/// Events that found no room, per CPU: one `u64`.
pub const SOCK_LOST: &str = "SOCK_LOST";

/// Bytes of `SOCK_EVENTS`: room for 21,000 events, some seconds of the busiest mail server.
pub const SOCK_EVENT_BYTES: u32 = 1 << 20;
/// Words of `SOCK_PORTS`.
pub const SOCK_PORT_WORDS: u32 = TELL_ALL + 1;

/// The word of a port, as it stands in memory in network byte order.
#[inline(always)]
#[must_use]
pub const fn port_word(port_be: u16) -> u32 {
    port_be as u32 >> 6
}

/// Its bit there.
#[inline(always)]
#[must_use]
pub const fn port_bit(port_be: u16) -> u64 {
    1 << (port_be & 63)
}
