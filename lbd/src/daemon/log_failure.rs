//! Failures that the daemon lives with.
use tracing::warn;

/// For what should not fail while the daemon runs: when it does, the old state stays.
pub(super) fn log_failure<E: Into<anyhow::Error>>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        warn!("{what}: {:#}", error.into());
    }
}
