//! The list of what lbd has changed, on disk before each change is made.
//!
//! One line of JSON for each step, appended and synced: `made` before a change, `undone` after its
//! undoing. What was made and not undone is what `lbd cleanup` or the next start has to deal with.
//! The first line says which boot and which network namespace the rest is about: all that lbd
//! changes is gone after a reboot, and a value that is the same by chance must not be "put back".
//!
//! A process that dies while it writes leaves half a line; that change was not made yet, and the
//! half line is cut off.
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Change, HostError};

/// The journal's name in `node.state_dir`.
pub const FILE_NAME: &str = "host.journal";

/// Where a node's journal is.
#[must_use]
pub fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE_NAME)
}

/// Whose state a journal describes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Scope {
    /// What `/proc/sys/kernel/random/boot_id` says.
    boot_id: String,
    /// The inode of `/proc/thread-self/ns/net`.
    net_namespace: u64,
}

/// A line of the file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum Line {
    Host(Scope),
    Made { id: u64, change: Change },
    Undone { id: u64 },
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    change: Change,
    /// Made by this process, or made again by it.
    claimed: bool,
}

/// What was found on opening.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Changes of a process that did not undo them, oldest first.
    pub changes: Vec<Change>,
    /// Changes that were of an earlier boot, which ended them.
    pub of_another_boot: usize,
    /// Changes of a network namespace that this process is not in. They were not touched; the file
    /// that lists them was put aside here.
    pub of_another_namespace: Option<(PathBuf, usize)>,
    /// Lines that could not be read, without the last one if it was cut short.
    pub damaged_lines: usize,
}

/// The open journal. Its lock is held until it is dropped.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    entries: BTreeMap<u64, Entry>,
    next_id: u64,
}

impl Journal {
    /// Opens the journal, creates it and its directory if need be, and takes its lock.
    pub fn open(path: &Path) -> Result<(Self, Recovered), HostError> {
        let scope = Scope::of_this_process().map_err(failed("read", path))?;
        let mut file = open_locked(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed("read", path))?;
        let mut replayed = replay(&text);
        let mut recovered = Recovered {
            damaged_lines: replayed.damaged_lines,
            ..Recovered::default()
        };
        // A first line that was lost says nothing; then the list counts as ours, since undoing what
        // is not there does no harm and forgetting what is there does.
        if let Some(other) = replayed.scope.take_if(|written| *written != scope) {
            let stranded = std::mem::take(&mut replayed.entries).len();
            if other.boot_id != scope.boot_id {
                recovered.of_another_boot = stranded;
            } else if stranded > 0 {
                let aside = put_aside(path, &text, &other)?;
                recovered.of_another_namespace = Some((aside, stranded));
            }
        }
        let mut journal = Self {
            path: path.to_owned(),
            file,
            next_id: replayed.next_id,
            entries: replayed.entries,
        };
        journal.cut_to(replayed.complete_bytes)?;
        if journal.entries.is_empty() {
            journal.begin(scope)?;
        }
        recovered.changes = journal.changes().cloned().collect();
        Ok((journal, recovered))
    }

    /// The changes that stand, oldest first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.entries.values().map(|entry| &entry.change)
    }

    /// Writes that a change is about to be made, and gives its id and whether it is a new entry.
    ///
    /// What is listed already is claimed. A sysctl is listed once, with the value it had first.
    pub fn record(&mut self, change: &Change) -> Result<(u64, bool), HostError> {
        let known = self
            .entries
            .iter()
            .find(|(_, entry)| entry.change.is_about_the_same(change))
            .map(|(id, entry)| (*id, entry.change == *change));
        let id = known.map_or(self.next_id, |(id, _)| id);
        if !matches!(known, Some((_, true))) {
            let change = change.clone();
            self.append(&Line::Made { id, change })?;
        }
        let entry = Entry {
            change: change.clone(),
            claimed: true,
        };
        self.next_id = self.next_id.max(id.saturating_add(1));
        self.entries.insert(id, entry);
        Ok((id, known.is_none()))
    }

    /// Writes that a change is undone.
    pub fn settle(&mut self, id: u64) -> Result<(), HostError> {
        if self.entries.contains_key(&id) {
            self.append(&Line::Undone { id })?;
            self.entries.remove(&id);
        }
        Ok(())
    }

    /// Writes that a change is undone, by what it is.
    pub fn forget(&mut self, change: &Change) -> Result<(), HostError> {
        let known = self
            .entries
            .iter()
            .find(|(_, entry)| entry.change.is_about_the_same(change))
            .map(|(id, _)| *id);
        known.map_or(Ok(()), |id| self.settle(id))
    }

    /// What to undo, the newest first: what is unclaimed, or all.
    pub fn newest_first(&self, claimed_too: bool) -> Vec<(u64, Change)> {
        self.entries
            .iter()
            .rev()
            .filter(|(_, entry)| claimed_too || !entry.claimed)
            .map(|(id, entry)| (*id, entry.change.clone()))
            .collect()
    }

    /// The value that a sysctl had before lbd first changed it, if lbd did.
    #[must_use]
    pub fn sysctl_old(&self, wanted: &str) -> Option<u32> {
        self.entries.values().find_map(|entry| match &entry.change {
            Change::Sysctl { key, old, .. } if key == wanted => Some(*old),
            _ => None,
        })
    }

    /// Claims a sysctl that a dead process raised and that still is as wanted.
    pub fn claim_sysctl(&mut self, wanted: &str) {
        for entry in self.entries.values_mut() {
            if matches!(&entry.change, Change::Sysctl { key, .. } if key == wanted) {
                entry.claimed = true;
            }
        }
    }

    /// Removes the file, if nothing is left to undo. Losing the race or the right to do so leaves an
    /// empty list behind, which harms nothing.
    pub fn remove(self) {
        if self.entries.is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Starts the file over; only when nothing is listed.
    fn begin(&mut self, scope: Scope) -> Result<(), HostError> {
        self.cut_to(0)?;
        self.append(&Line::Host(scope))?;
        // The name of a new file is safe only when its directory is.
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("write", &self.path))
    }

    fn cut_to(&mut self, bytes: u64) -> Result<(), HostError> {
        self.file
            .set_len(bytes)
            .and_then(|()| self.file.seek(SeekFrom::End(0)))
            .map(drop)
            .map_err(failed("write", &self.path))
    }

    fn append(&mut self, line: &Line) -> Result<(), HostError> {
        let mut text = serde_json::to_string(line)
            .map_err(io::Error::from)
            .map_err(failed("write", &self.path))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))
    }
}

impl Scope {
    fn of_this_process() -> io::Result<Self> {
        Ok(Self {
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
                .trim()
                .to_owned(),
            // Of the thread, not the process: that is what netlink and /proc/sys/net go by.
            net_namespace: std::fs::metadata("/proc/thread-self/ns/net")?.ino(),
        })
    }
}

/// What a journal's text amounts to.
#[derive(Debug, Default, Eq, PartialEq)]
struct Replayed {
    scope: Option<Scope>,
    entries: BTreeMap<u64, Entry>,
    next_id: u64,
    damaged_lines: usize,
    /// Up to the end of the last whole line.
    complete_bytes: u64,
}

/// Reads everything that can be read: a damaged line costs only itself.
fn replay(text: &[u8]) -> Replayed {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    let complete = end.map_or(&text[..0], |end| &text[..=end]);
    let mut replayed = Replayed {
        complete_bytes: complete.len() as u64,
        ..Replayed::default()
    };
    for line in complete.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Host(scope)) => replayed.scope = Some(scope),
            Ok(Line::Made { id, change }) => {
                replayed.next_id = replayed.next_id.max(id.saturating_add(1));
                let claimed = false;
                replayed.entries.insert(id, Entry { change, claimed });
            }
            Ok(Line::Undone { id }) => {
                replayed.entries.remove(&id);
            }
            Err(_) => replayed.damaged_lines += 1,
        }
    }
    replayed
}

/// Opens and locks the file that `path` names when the lock is held: its last holder may have
/// removed it meanwhile.
fn open_locked(path: &Path) -> Result<File, HostError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed("open", path))?;
    }
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HostError::JournalBusy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed("open", path)(error)),
        }
        let opened = file.metadata().map_err(failed("open", path))?;
        if std::fs::metadata(path).is_ok_and(|named| named.ino() == opened.ino()) {
            return Ok(file);
        }
    }
}

/// Copies a journal of another namespace next to this one, for a `lbd cleanup` inside that one.
fn put_aside(path: &Path, text: &[u8], scope: &Scope) -> Result<PathBuf, HostError> {
    let aside = path.with_extension(format!("journal.netns-{}", scope.net_namespace));
    File::create(&aside)
        .and_then(|mut file| {
            file.write_all(text)?;
            file.sync_all()
        })
        .map_err(failed("write", &aside))?;
    Ok(aside)
}

fn failed<'a>(verb: &'static str, path: &'a Path) -> impl Fn(io::Error) -> HostError + 'a {
    move |error| HostError::Journal {
        verb,
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests;
