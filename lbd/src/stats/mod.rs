//! What a backend reports, and the formats it may come in.
//!
//! Every format is a pure function from bytes to a [`Sample`] or a [`SampleError`] that says what
//! was wrong and where. Nothing here reads a clock: where time matters, `now` is an argument.
//!
//! | format | file | who speaks it |
//! |---|---|---|
//! | lbd's own JSON | [`own_json`] | `lbd agent`, `lbd run` |
//! | any JSON, by RFC 6901 pointers | [`http_json`] | an MTA's or a vendor's HTTP interface |
//! | Prometheus text | [`prometheus`] | exporters, `KumoMTA` |
//! | HAProxy's agent-check line | [`agent_check`] | agents written for HAProxy |
//! | a command's output | [`command`] | anything else |

pub mod agent_check;
pub mod command;
mod error;
mod figure;
pub mod http_json;
pub mod own_json;
pub mod prometheus;
mod sample;

pub use error::SampleError;
pub use figure::{Figure, FigureError, Figures, MAX_FIGURE};
pub use sample::{AgentState, AgentWeight, Report, Sample};

/// The longest answer that is read, in bytes. A Prometheus exporter on a busy MTA stays below a
/// tenth of this; what is longer is refused before it is parsed.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
