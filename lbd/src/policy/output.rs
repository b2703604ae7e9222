//! What a step of the policy decides.
use schemars::JsonSchema;
use serde::Serialize;

use super::reason::{Connections, Reason};
use crate::units::{BackendId, WeightPermille};

/// Every backend's weight, site by site.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Output {
    /// In the input's order.
    pub sites: Vec<SiteOutput>,
}

impl Output {
    /// The decisions of all sites.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.sites.iter().flat_map(|site| &site.backends)
    }

    /// The decision on one backend.
    #[must_use]
    pub fn decision(&self, id: BackendId) -> Option<&Decision> {
        self.decisions().find(|decision| decision.id == id)
    }
}

/// A site's decisions and the figures they were taken from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteOutput {
    /// The site's name.
    pub name: String,
    /// The average connections of its backends that are online.
    pub average: f64,
    /// Their mean load per unit of weight; 0 under the seed's rule.
    pub mean_load: f64,
    /// Backends that take new sessions.
    pub active: u32,
    /// Backends of the site.
    pub servers: u32,
    /// It is full: the sites it spills to take a share.
    pub spilling: bool,
    /// In the input's order.
    pub backends: Vec<Decision>,
}

/// What one backend gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Which backend.
    pub id: BackendId,
    /// Its effective weight; 0 exactly when it is not accepting.
    pub weight: WeightPermille,
    /// Whether it gets new sessions.
    pub accepting: bool,
    /// Why, with the numbers.
    pub reason: Reason,
    /// The figures as the policy took them.
    pub basis: Basis,
}

/// A backend's figures as the policy took them.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize)]
pub struct Basis {
    /// By the configured count: polled while fresh, else our own.
    pub connections: Connections,
    /// Queued messages, when its source says so.
    pub queued: Option<u64>,
    /// Load per unit of weight: connections and queue.
    pub load: f64,
    /// Age of the polled figures; `None` when there are none.
    pub age_ns: Option<u64>,
}
