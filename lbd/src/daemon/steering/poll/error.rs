//! Why a backend gave no figures.

use std::time::Duration;

use super::SourceError;
use crate::agent::MeasureError;
use crate::stats::SampleError;

/// Why a poll failed. `Display` is a sentence for the log; [`Self::kind`] a label to count by.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PollError {
    /// The configuration names something that cannot be asked.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The answer was not complete in time.
    #[error("no complete answer within {} s", after.as_secs_f64())]
    TimedOut {
        /// The configured timeout.
        after: Duration,
    },
    /// No connection: the operating system's words.
    #[error("cannot connect to {to}: {error}")]
    Connect {
        /// Host and port.
        to: String,
        /// The operating system's words.
        error: String,
    },
    /// TLS did not come about, or the certificate is not to be believed.
    #[error("no TLS with {to}: {error}")]
    Tls {
        /// Host and port.
        to: String,
        /// What is wrong.
        error: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{to} stopped in mid-answer: {error}")]
    Broken {
        /// Host and port.
        to: String,
        /// What happened.
        error: String,
    },
    /// Another HTTP status than 200.
    #[error("{url} answered with HTTP status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// 100 to 999.
        status: u16,
    },
    /// The command could not be started, or failed.
    #[error("the command {program} {what}")]
    Command {
        /// Its path.
        program: String,
        /// What happened.
        what: String,
    },
    /// This box could not measure itself.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// There was an answer, and it makes no sense.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

impl PollError {
    /// A short label, one for each kind of failure.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::TimedOut { .. } => "timed_out",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Broken { .. } => "broken",
            Self::Status { .. } => "status",
            Self::Command { .. } => "command",
            Self::Measure(_) => "measure",
            Self::Sample(error) => error.kind(),
        }
    }
}
