//! The flow tables, shared with the XDP program through memory.
mod ids;

pub use ids::IdsInUse;
