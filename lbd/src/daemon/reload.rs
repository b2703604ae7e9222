//! Notices edits of the configuration file.
use std::{ffi::OsStr, path::Path};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Sends a unit for every change of `file`, as long as the watcher lives.
///
/// The folder is watched, not the file: editors and config management replace the file by renaming
/// another over it, after which a watch on the file itself would watch the old one.
pub(super) fn watch(file: &Path, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(OsStr::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let touched = event
            .paths
            .iter()
            .any(|path| path.file_name() == name.as_deref());
        if touched && !event.kind.is_access() {
            // Full means that a notice is waiting already: one is enough.
            let _ = changed.try_send(());
        }
    })?;
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    watcher.watch(
        folder.unwrap_or(Path::new(".")),
        RecursiveMode::NonRecursive,
    )?;
    Ok(watcher)
}
