//! The versions that this node keeps, in `node.state_dir`/push.
//!
//! ```text
//! lock            held by the daemon that runs
//! versions.json   the history; replaced by rename
//! pieces/DIGEST   what the versions consist of, each content once
//! commit.json     there while a version is being put in place: see `layout`
//! laid.json       there while one is laid out
//! ```
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    config::Config,
    push::{Digest, Digester, Piece, Record, Versions},
    trust::Trusted,
};

use super::layout;

/// How long the daemon before this one may take to let go of the folder.
const LOCK_TRIES: u32 = 40;
const LOCK_GAP: Duration = Duration::from_millis(50);
/// Where versions are kept when the configuration says nothing of it, or cannot be read.
const DEFAULT_STATE_DIR: &str = "/var/lib/lbd";

/// The folder and what is in it. While it lives no other process has it.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    history: Versions,
    _lock: File,
}

impl Store {
    /// Opens the store of the node that this configuration file is of, and finishes what an earlier
    /// daemon was about to put in place: before the file is read to be run.
    ///
    /// The error is a sentence.
    pub fn of_config(path: &Path) -> Result<Self, String> {
        Self::open(&state_dir(path))
    }

    pub(super) fn open(state_dir: &Path) -> Result<Self, String> {
        Trusted::of_this_process()
            .check(state_dir)
            .map_err(|why| format!("node.state_dir is not safe: {why}"))?;
        let folder = state_dir.join("push");
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(folder.join("pieces")).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        let mut tries = LOCK_TRIES;
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::WouldBlock if tries > 0 => tries -= 1,
                TryLockError::WouldBlock => {
                    return Err(format!("{} is in use by another lbd", folder.display()));
                }
                TryLockError::Error(error) => return Err(failed(error)),
            }
            std::thread::sleep(LOCK_GAP);
        }
        layout::recover(&folder)?;
        let history = match fs::read(folder.join("versions.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}/versions.json: {error}", folder.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Versions::default(),
            Err(error) => return Err(failed(error)),
        };
        let store = Self {
            folder,
            history,
            _lock: lock,
        };
        store.sweep();
        Ok(store)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn history(&self) -> &Versions {
        &self.history
    }

    /// Where a piece is, if it is here.
    pub(super) fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join("pieces").join(digest.to_string())
    }

    pub(super) fn has(&self, piece: &Piece) -> bool {
        let metadata = fs::metadata(self.path(piece.digest));
        metadata.is_ok_and(|metadata| metadata.len() == piece.bytes)
    }

    /// A piece's bytes, as they were when they were put here.
    pub(super) fn read(&self, piece: &Piece) -> Result<Vec<u8>, String> {
        let path = self.path(piece.digest);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if Piece::of(&bytes) == *piece {
            return Ok(bytes);
        }
        let _ = fs::remove_file(&path);
        Err(format!(
            "{} was damaged and is removed now: try again",
            path.display()
        ))
    }

    /// Keeps bytes, durably.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<Piece, String> {
        let piece = Piece::of(bytes);
        if !self.has(&piece) {
            let mut writer = self.writer(piece)?;
            writer.add(bytes)?;
            writer.finish()?;
        }
        Ok(piece)
    }

    /// Keeps a piece whose bytes come bit by bit.
    pub(super) fn writer(&self, piece: Piece) -> Result<PieceWriter, String> {
        let path = self.path(piece.digest);
        let part = path.with_extension("part");
        let file = File::create(&part).map_err(|error| not_kept(&error))?;
        Ok(PieceWriter {
            file,
            part,
            path,
            piece,
            digester: Digester::default(),
        })
    }

    /// The history with one version more, and what to do once it is the one that counts.
    pub(super) fn with(&self, record: Record) -> Versions {
        self.history.with(record).history
    }

    /// The history is this one now, on disk too.
    pub(super) fn follow(&mut self, history: Versions) {
        self.history = history;
        self.sweep();
    }

    /// Removes the pieces that no version needs. What cannot be removed only takes room.
    pub(super) fn sweep(&self) {
        let needed = self.history.pieces();
        let Ok(entries) = fs::read_dir(self.folder.join("pieces")) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.parse().ok());
            if digest.is_none_or(|digest| !needed.contains(&digest)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A piece that is being written.
#[derive(Debug)]
pub(super) struct PieceWriter {
    file: File,
    part: PathBuf,
    path: PathBuf,
    piece: Piece,
    digester: Digester,
}

impl PieceWriter {
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.digester.add(bytes);
        self.file.write_all(bytes).map_err(|error| not_kept(&error))
    }

    /// Looks whether it is what it is named after, and gives it its place.
    pub(super) fn finish(self) -> Result<(), String> {
        if self.digester.finish() != self.piece.digest {
            let _ = fs::remove_file(&self.part);
            return Err("what was sent does not match what was announced".to_owned());
        }
        let kept = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.part, &self.path));
        kept.map_err(|error| not_kept(&error))
    }
}

fn not_kept(error: &io::Error) -> String {
    format!("it could not be saved in node.state_dir: {error}")
}

/// `node.state_dir` of a file that may have mistakes.
fn state_dir(path: &Path) -> PathBuf {
    let text = fs::read_to_string(path).unwrap_or_default();
    if let Ok(config) = Config::parse(&text, "") {
        return config.node.state_dir;
    }
    let written = serde_yaml::from_str::<serde_json::Value>(&text).ok();
    let written = written.and_then(|yaml| yaml["node"]["state_dir"].as_str().map(PathBuf::from));
    written.unwrap_or_else(|| DEFAULT_STATE_DIR.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_kept_by_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let piece = store.put(b"abc").unwrap();
        assert!(store.has(&piece));
        assert_eq!(store.read(&piece).unwrap(), b"abc");
        let mut writer = store.writer(Piece::of(b"other")).unwrap();
        writer.add(b"wrong").unwrap();
        assert!(writer.finish().unwrap_err().contains("announced"));
        // Damage is seen, and the piece is asked for anew.
        fs::write(store.path(piece.digest), b"abd").unwrap();
        assert!(store.read(&piece).is_err() && !store.has(&piece));
        store.put(b"abc").unwrap();
        store.sweep();
        assert!(!store.has(&piece), "no version needs it");
        let refused = Store::open(folder.path()).unwrap_err();
        assert!(refused.contains("in use by another lbd"), "{refused}");
    }

    #[test]
    fn the_folder_is_found_also_by_a_file_with_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lbd.yaml");
        for (text, expected) in [
            ("node: {state_dir: /tmp/x, oops: 1}", "/tmp/x"),
            ("node: {{{", DEFAULT_STATE_DIR),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(state_dir(&file), Path::new(expected));
        }
    }
}
