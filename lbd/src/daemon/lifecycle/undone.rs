//! Whether what lbd changed on the box was undone.
use anyhow::anyhow;

use crate::host::Undone;

/// Names what was not undone, as an error.
pub(in crate::daemon) fn complete(undone: &Undone) -> anyhow::Result<()> {
    if undone.is_complete() {
        return Ok(());
    }
    let failed: Vec<String> = undone
        .failed
        .iter()
        .map(|(change, error)| format!("{change}: {error}"))
        .collect();
    Err(anyhow!(
        "not everything was undone; run `lbd cleanup` to retry: {}",
        failed.join("; ")
    ))
}
