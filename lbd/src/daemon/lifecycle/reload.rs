//! Notices edits of the configuration file and of the files that it names.
use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{runtime::Handle, sync::mpsc};
use tracing::error;

use crate::{config::Config, daemon::event::Event};

/// An editor writes in several steps, and a script writes list after list: look once they are done.
const SETTLE: Duration = Duration::from_millis(100);

/// Tells the event loop of edits as long as it lives.
#[derive(Debug)]
pub(in crate::daemon) struct Edits {
    edited: mpsc::Sender<()>,
    files: BTreeSet<PathBuf>,
    /// One for each folder.
    watchers: Vec<RecommendedWatcher>,
}

impl Edits {
    /// Watches nothing yet.
    pub(in crate::daemon) fn new(runtime: &Handle, events: mpsc::Sender<Event>) -> Self {
        let (edited, mut edits) = mpsc::channel(1);
        runtime.spawn(async move {
            while edits.recv().await.is_some() {
                tokio::time::sleep(SETTLE).await;
                while edits.try_recv().is_ok() {}
                if events.send(Event::ConfigEdited).await.is_err() {
                    return;
                }
            }
        });
        Self {
            edited,
            files: BTreeSet::new(),
            watchers: Vec::new(),
        }
    }

    /// Watches the configuration and what it names from now on.
    pub(in crate::daemon) fn follow(&mut self, path: &Path, config: &Config) {
        let access = &config.cluster.access;
        let named = [
            &access.allow_file,
            &access.deny_file,
            &config.cluster.secret_file,
        ];
        let named = named.into_iter().flatten().cloned();
        let files: BTreeSet<PathBuf> = named.chain([path.to_owned()]).collect();
        if files == self.files {
            return;
        }
        // The new ones first: no edit in between is missed.
        let folders: BTreeSet<&Path> = files.iter().map(|file| folder(file)).collect();
        let watchers = folders.iter().filter_map(|folder| {
            let names = names(folder, &files);
            watch(folder, names, self.edited.clone())
                .inspect_err(|failed| {
                    error!(
                        "edits to files in {} will not be noticed: {failed}; send SIGHUP to reload them",
                        folder.display()
                    );
                })
                .ok()
        });
        self.watchers = watchers.collect();
        self.files = files;
    }
}

fn folder(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The names of those files that are in the folder.
fn names(of: &Path, files: &BTreeSet<PathBuf>) -> BTreeSet<OsString> {
    files
        .iter()
        .filter(|file| folder(file) == of)
        .filter_map(|file| file.file_name().map(ToOwned::to_owned))
        .collect()
}

/// Sends a unit for every change of a file of these names.
///
/// The folder is watched, not the file: editors and config management replace the file by renaming
/// another over it, after which a watch on the file itself would watch the old one.
fn watch(
    folder: &Path,
    names: BTreeSet<OsString>,
    edited: mpsc::Sender<()>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let touched = event
            .paths
            .iter()
            .any(|path| path.file_name().is_some_and(|name| names.contains(name)));
        if touched && !event.kind.is_access() {
            // Full means that a notice is waiting already: one is enough.
            let _ = edited.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_watched_by_name_in_their_folders() {
        let files = ["/a/x", "/a/y", "/b/x", "z"].map(PathBuf::from).into();
        let shown =
            |of: &str| -> Vec<OsString> { names(Path::new(of), &files).into_iter().collect() };
        assert_eq!(shown("/a"), ["x", "y"]);
        assert_eq!(shown("/b"), ["x"]);
        assert_eq!(shown("."), ["z"]);
    }
}
