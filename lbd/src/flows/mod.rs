//! The flow tables, shared with the XDP program through memory.
//!
//! [`lbd_common::flow`] has the protocol. Everything here works on any memory of the table's layout:
//! the daemon's is the mapped BPF array, the tests' is the heap.
mod ids;
#[cfg(test)]
mod interleavings;
mod key;
mod load;
mod sources;
mod state;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod word;

pub use ids::IdsInUse;
pub use key::{FlowKey, Key4, Key6};
pub use load::LoadCheck;
pub use sources::SourceSet;
pub use state::FlowState;
pub use sweep::{BackendFlows, ServiceFlows, StateCounts, SweepReport, Sweeper, Timeouts};
pub use table::{Flow, Flows, Flows4, Flows6, Insert, NewFlow};
pub use word::{Confirm, End, OpenSession};

pub use lbd_common::flow::age;
