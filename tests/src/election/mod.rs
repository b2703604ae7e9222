//! The election on a lab: nodes of lbd's and of keepalived, and how long the VIP was away.
//!
//! Nodes run the election alone (`elect-node`), without a data plane: what is measured is the
//! protocol, the address and the announcements, as of keepalived.

pub mod answers;
pub mod figures;
pub mod frr;
mod node;
pub mod packets;
mod probe;

pub use node::{Member, Router, Setup, holds, wait_until, wait_until_every};
pub use probe::{Answer, Probe, longest_silence};
