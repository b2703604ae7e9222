//! What this box may have got wrong about the others.
use super::reach::Reach;

/// What this box knows of its own trustworthiness.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct Doubts {
    /// When it was looked last whether frames come in, and how many were steered by then.
    pub(super) looked_ns: u64,
    pub(super) steered: u64,
    /// The health check is taken to be wrong itself.
    pub(super) check_at_fault: bool,
    /// Whether a peer reaches backends that this node does not.
    pub(in crate::daemon) reach: Reach,
}
