//! The cluster channel: what nodes tell each other, so that any of them can go on with every session.
//!
//! [`Channel`] is the protocol of one node with all its peers, as a pure machine: datagrams and
//! times go in, datagrams and flows come out. A datagram is signed for one peer and names the epoch
//! (the start) of the peer that it is for, which the peer told in a signed datagram of its own. So a
//! recording is worth nothing to a node that has started since, and no clocks need to agree.
//!
//! - *hello*, every second: who is there, and whether a full table is wanted.
//! - *flows*: sessions opened and closed, in the order in which they were; also a full table.
//! - *weights*: what the master decided; its backups write them into their own maps.
//! - *orders*: operators' drains and weights; every node keeps them.
//! - *history*: rows of [`crate::history`], and questions for those that a node lacks.
//!
//! Sequence numbers show a replay, which is refused, and a gap, after which the table is asked for.
mod counters;
mod datagram;
mod keys;
mod link;
mod machine;
mod orders;
mod record;
#[cfg(test)]
mod tests;
mod weights;
mod window;

pub use counters::Counters;
pub use datagram::{Body, Datagram, Epoch, HISTORY_BYTES, MAX_BYTES, Refused, SenderId, VERSION};
pub use keys::Keys;
pub use machine::{Channel, Output, PeerStatus};
pub use orders::{OrderRecord, Word};
pub use record::{Change, FlowRecord, Part};
pub use weights::{BackendWeight, Weights};
pub use window::{Seen, Window};
