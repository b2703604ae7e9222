//! `cluster.policy`: what the figures do to the weights.
use std::time::Duration;

use serde::Serialize;

use super::{choice::choice, duration};

choice! {
    /// Which rule.
    pub enum Kind {
        /// Shut a node off that is busy and well above its site's average; nothing else.
        Seed = "seed",
        /// Weights follow queues and unique sources; shut-off with hysteresis.
        QueueAware = "queue-aware",
    }
}

choice! {
    /// What counts as a node's connections.
    pub enum Connections {
        /// Different client addresses with an open session.
        UniqueIps = "unique-ips",
        /// Open sessions.
        Sessions = "sessions",
    }
}

/// The policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// Default `queue-aware`.
    pub kind: Kind,
    /// Default `unique-ips`.
    pub connections: Connections,
    /// Connections above the site's average from which on a node is shut off. Default 50.
    pub above_average: u32,
    /// Connections above which a node is shut off. Default 200.
    pub high_threshold: u32,
    /// The share of a site's nodes that must be active for another to be shut off, 0 to 1.
    /// Default 0.5.
    pub min_active: f64,
    /// `queue-aware`: the load above the site's mean, in conversations and queued messages, that
    /// halves a weight. Default 20.
    pub scale: f64,
    /// `queue-aware`: how far a weight moves towards its target in one interval, 0 (excluded) to 1.
    /// Default 0.5.
    pub smoothing: f64,
    /// `queue-aware`: a shut-off node returns below this share of the thresholds, 0 to 1.
    /// Default 0.6.
    pub return_below: f64,
    /// `queue-aware`: how long a returned node's weight takes to grow to its full. Default 1 m.
    #[serde(serialize_with = "duration::serialize")]
    pub slow_start: Duration,
}
