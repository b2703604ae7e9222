//! A flow's state, as people read and write it.
use lbd_common::flow::{FlowWord, state};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A flow's state.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum FlowState {
    /// A SYN was steered; the client has not answered yet.
    HalfOpen,
    /// The client answered; no box has confirmed the session.
    Unproven,
    /// The backend's box has confirmed it, or its client went on for long enough.
    Established,
    /// It was established, and FIN or RST came in its client's name.
    Closing,
    /// The backend's box has ended it; it is forgotten in seconds.
    Ended,
    /// The next frame is answered with a reset.
    Doomed,
}

impl FlowState {
    /// Of the word of a slot that is not free.
    #[must_use]
    pub fn of(word: FlowWord) -> Self {
        match word.state {
            state::HALF_OPEN => Self::HalfOpen,
            state::UNPROVEN => Self::Unproven,
            state::ESTABLISHED => Self::Established,
            state::CLOSING => Self::Closing,
            state::ENDED => Self::Ended,
            _ => Self::Doomed,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open",
            Self::Unproven => "unproven",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Ended => "ended",
            Self::Doomed => "doomed",
        }
    }
}
