//! The simulator: the very policy and selection code over simulated SMTP traffic.
//!
//! Seeded and discrete-event: the same options give the same report, to the bit. Every balancer of
//! a comparison sees the same messages. Polled figures are up to an interval old, sessions are held
//! open by their clients' pace and the box's filter, messages then wait in a queue, and one message
//! may hold four connections: connection counts alone mislead, here as in life.
mod balancer;
mod engine;
pub mod mail;
mod measure;
mod node;
pub mod plot;
pub mod postfix_log;
pub mod render;
pub mod replay;
mod report;
mod rng;
pub mod scenario;
pub mod scenarios;
pub mod statistics;
#[cfg(test)]
mod tests;
mod trace;
mod traffic;

pub use balancer::Strategy;
pub use engine::run_one;
pub use measure::{Outcome, Sample};
pub use report::{Options, Report, Row, run};
pub use trace::{Trace, TraceError};
