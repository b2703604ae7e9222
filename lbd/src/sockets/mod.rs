//! The sessions of this box's own TCP: what a director cannot see, and a stranger cannot claim.
//!
//! A BPF program at `sock:inet_sock_set_state` ([`Sockets`]) tells of sessions that begin and end on the
//! served ports; sock_diag says which are open at one moment ([`snapshot()`]). [`OpenSessions`] puts both
//! together. The program is attached first, the snapshot comes next, what the program tells after that:
//! so no session is missed in between, and one that both speak of is the same one.
//!
//! Nothing here is pinned. A program whose events are not read reports nothing, and the snapshot of the
//! daemon that follows has every session that is open by then; those that its peers know and it does not
//! have ended meanwhile.
mod offsets;
mod open;
mod program;
mod snapshot;

use std::net::SocketAddr;

pub use self::{
    open::OpenSessions,
    program::{Sockets, SocketsError},
    snapshot::{Snapshot, listeners, snapshot},
};

/// A session, by its two ends. An IPv4 address is one also on a socket of IPv6.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Session {
    /// The client.
    pub client: SocketAddr,
    /// What it has connected to: a virtual address, or this box's own.
    pub local: SocketAddr,
}

/// What the kernel has told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A client's handshake is done.
    Opened(Session),
    /// This box's half is over: closed, reset, or given up.
    Ended(Session),
    /// A listener on this port has come or gone.
    Listener(u16),
}
