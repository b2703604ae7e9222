//! The cluster channel: what nodes tell each other, so that any of them can go on with every session.
//!
//! [`Channel`] is the protocol of one node with all its peers, as a pure machine: datagrams and
//! times go in, datagrams and flows come out. A datagram is signed for one peer and names the epoch
//! (the start) of the peer that it is for, which the peer told in a signed datagram of its own. So a
//! recording is worth nothing to a node that has started since, and no clocks need to agree.
//!
//! - *hello*, every second: who is there, by which MACs ([`Station`]), which configuration it has, and whether
//!   a full table is wanted; at once when datagrams are missing, with their numbers.
//! - *flows*: sessions opened and closed, in the order in which they were; also a full table, and what
//!   a missing datagram was about. What a director sees of a session is its client's half. Each box
//!   adds its own half, of which it alone may speak: sessions that its kernel has begun
//!   ([`Change::Confirmed`]), has ([`Change::Held`]) and has ended ([`Change::Ended`]). A full table ends with all that the sender's kernel has, so what
//!   it does not list has ended, even where its end was never reported ([`Output::Listed`]).
//! - *no listener*, with each hello of a box that lacks one: for which services it has no listening socket.
//!   It does not speak for their sessions, which may end in a container's stack, and where it refuses their connections
//!   it is chosen for none ([`NoListener`]).
//! - *weights*: what the master decided; its backups write them into their own maps.
//! - *orders*: operators' drains and weights; every node keeps them.
//! - *history*: rows of [`crate::history`], and questions for those that a node lacks.
//! - *denials*: sources that operators denied by hand; every node keeps them too.
//!
//! Sequence numbers show a replay, which is refused, and a gap. What was lost is asked for by its
//! numbers, and told again *as it is by then* ([`Content`]): a flow that was opened in the lost datagram and
//! has ended since is told to have ended. What the sender no longer remembers, because it was more than
//! it can keep or more than it could tell, makes the other ask for the table.
//!
//! What one peer may say is limited (`bucket`), far above what an lbd has to say. The keys are the cluster's,
//! not a peer's: who has one may speak in any peer's name, and take that peer's share.
//!
//! # Nodes of different versions
//! A datagram of another version is refused before its signature is looked at, counted, and said in the
//! log; so nodes of different versions do not synchronise flows, and a cluster is upgraded box by box
//! within minutes. Until then a box of the other version is to this one a backend that reports no
//! session, as is one whose kernel cannot tell (its hello says which): what is known of its sessions is
//! their clients' half, with the shorter lives that go with it.
//!
//! # Why the table comes by UDP, not by TCP
//! A table is bulk, and TCP is made for bulk: it paces, repeats and orders. But it repeats bytes, and
//! here bytes grow old. What a table says of a flow is true when it is read; a segment that is repeated
//! after 200 ms, or a socket's buffer that drains behind a slow reader, would bring sessions back that the
//! stream next to it has ended in between. Two connections need a rule which of two words came later,
//! hence a version in every flow of every node; one numbered channel has that order already. A place
//! of the table that was lost is read anew when it is told again, so that nothing that is told is older
//! than the datagram that tells it, and the sender keeps 40 bytes a datagram instead of the table.
//!
//! TCP would bring a listener too: connections from anyone, before the first byte is verified, with
//! memory and a handshake for each. A datagram is verified in a microsecond, or dropped.
//!
//! What TCP would have given is little: the pace is fixed and below what a receive buffer takes
//! (a segment of the boxes' own, not the Internet), and a repetition is a list of numbers every 50 ms.
//! `sync_join` joins with a million flows while 5 % of the datagrams are lost.
mod bucket;
mod counters;
mod datagram;
mod denials;
mod edition;
mod keys;
mod link;
mod machine;
mod no_listener;
mod orders;
mod record;
mod retransmit;
mod station;
#[cfg(test)]
mod tests;
mod weights;
mod window;

pub use counters::Counters;
pub use datagram::{
    Body, Datagram, Epoch, HISTORY_BYTES, MAX_BYTES, Missing, Proof, Refused, SenderId, VERSION,
};
pub use denials::{DenialRecord, Verdict};
pub use edition::{Comparison, Edition};
pub use keys::Keys;
pub use link::Checks;
pub use machine::{Channel, Output, PeerStatus};
pub use no_listener::NoListener;
pub use orders::{OrderRecord, Word};
pub use record::{Change, FlowRecord, Part};
pub use retransmit::{Content, Place, Table};
pub use station::Station;
pub use weights::{BackendWeight, Weights};
pub use window::{Seen, Window};
