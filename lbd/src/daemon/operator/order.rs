//! What an operator says about backends, and what the policy answers: plain data.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::policy::explain::Explanation;

/// The policy's last decisions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct Explained {
    /// As a person would say it.
    pub text: String,
    /// The same, with the numbers.
    #[schemars(with = "Explanation")]
    pub decisions: serde_json::Value,
}

/// An operator who waits for an answer.
#[derive(Debug)]
pub(in crate::daemon) struct Ordered {
    pub(in crate::daemon) request: OperatorRequest,
    pub(in crate::daemon) reply: oneshot::Sender<Result<String, String>>,
}

/// An operator's word on a backend.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorRequest {
    /// The backend's name.
    pub backend: String,
    /// What to do with it.
    pub order: Order,
}

/// What becomes of the sessions that are open when a drain has lasted long enough.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// They stay until they end by themselves.
    #[default]
    Keep,
    /// They are reset, so that their senders try again elsewhere at once.
    Reset,
}

/// What an operator may order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// No new sessions.
    Drain {
        /// How long the open ones may go on, in seconds; as long as they like without it.
        timeout_s: Option<u64>,
        /// What becomes of those that are open then.
        then: Then,
    },
    /// This weight, regardless of the policy.
    Weight(u16),
    /// What the policy says.
    Release,
}
