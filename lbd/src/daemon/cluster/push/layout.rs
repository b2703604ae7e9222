//! Putting a version in place: everything is written next to its final path first, then renamed.
//!
//! What can fail for want of room or of a right fails while it is laid out, when nothing is changed.
//! The renames then are listed in `commit.json`, whose own appearance (a rename too) is the moment from
//! which on the version counts: a daemon that dies in between finishes them at its next start.
use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::store::Store;
use crate::push::{Record, Versions};

const LAID: &str = "laid.json";
const COMMIT: &str = "commit.json";
const COMMIT_NEW: &str = "commit.json.new";
const VERSIONS: &str = "versions.json";
const VERSIONS_NEW: &str = "versions.json.new";

/// A file that will replace another one.
#[derive(Debug)]
pub(super) struct Target {
    /// Its place, as the configuration names it. A link is followed.
    pub(super) path: PathBuf,
    /// All of it.
    pub(super) bytes: Vec<u8>,
}

/// A staged file and its final path.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Move {
    from: PathBuf,
    to: PathBuf,
}

/// A staged version.
#[derive(Debug)]
#[must_use = "what is laid out is put in place or dropped"]
pub(super) struct Layout {
    folder: PathBuf,
    moves: Vec<Move>,
    /// With the version.
    history: Versions,
    /// Whether anything but the history changes.
    pub(super) changes: bool,
}

impl Layout {
    /// Lays out `record` and the files that come with it. The error is a sentence, and then nothing
    /// is left lying about.
    pub(super) fn new(store: &Store, record: &Record, targets: &[Target]) -> Result<Self, String> {
        let history = store.with(record.clone());
        let folder = store.folder().to_owned();
        let mut moves = Vec::new();
        for target in targets {
            moves.push(staged(&target.path)?);
        }
        let versions = Move {
            from: folder.join(VERSIONS_NEW),
            to: folder.join(VERSIONS),
        };
        let layout = Self {
            changes: !targets.is_empty(),
            moves: moves.iter().cloned().chain([versions.clone()]).collect(),
            history,
            folder,
        };
        if let Err(why) = layout.write(&moves, targets, &versions) {
            layout.drop_it();
            return Err(why);
        }
        Ok(layout)
    }

    fn write(&self, moves: &[Move], targets: &[Target], versions: &Move) -> Result<(), String> {
        let state =
            |error: io::Error| format!("node.state_dir: {}: {error}", self.folder.display());
        // First of all, so that everything written after it is found again.
        write_synced(&self.folder.join(LAID), &json(&self.moves)).map_err(state)?;
        write_synced(&versions.from, &json(&self.history)).map_err(state)?;
        write_synced(&self.folder.join(COMMIT_NEW), &json(&self.moves)).map_err(state)?;
        for (step, target) in moves.iter().zip(targets) {
            write_alike(step, &target.bytes)?;
        }
        sync_folder(&self.folder).map_err(state)
    }

    /// Puts it in place. The error is a sentence, and then nothing was changed.
    ///
    /// `Ok` may hold a sentence as well: why not everything is in its place yet. The next start of the
    /// daemon goes on with it.
    pub(super) fn commit(self, store: &mut Store) -> Result<Option<String>, String> {
        let begun = fs::rename(self.folder.join(COMMIT_NEW), self.folder.join(COMMIT));
        if let Err(error) = begun.and_then(|()| sync_folder(&self.folder)) {
            let folder = self.folder.display();
            let why = format!("node.state_dir: {folder}: {error}");
            let _ = fs::rename(self.folder.join(COMMIT), self.folder.join(COMMIT_NEW));
            self.drop_it();
            return Err(why);
        }
        let trouble = finish(&self.folder, &self.moves).err();
        store.follow(self.history);
        Ok(trouble)
    }

    /// Removes it.
    pub(super) fn drop_it(self) {
        remove(&self.folder, &self.moves);
    }
}

/// Goes on with what a daemon that died was about to put in place, or removes what it laid out.
pub(super) fn recover(folder: &Path) -> Result<(), String> {
    if let Some(moves) = read(&folder.join(COMMIT))? {
        warn!("lbd ended while it installed a pushed configuration: finishing that now");
        return finish(folder, &moves);
    }
    if let Some(moves) = read(&folder.join(LAID))? {
        remove(folder, &moves);
    }
    Ok(())
}

fn read(file: &Path) -> Result<Option<Vec<Move>>, String> {
    let damaged = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    match fs::read(file) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(moves) => Ok(Some(moves)),
            // It is written whole before anything depends on it: cut short, nothing does.
            Err(_) if file.ends_with(LAID) => Ok(Some(Vec::new())),
            Err(error) => Err(damaged(&error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(damaged(&error)),
    }
}

/// Every rename, and then the end of the list. One that was done already is done.
fn finish(folder: &Path, moves: &[Move]) -> Result<(), String> {
    for Move { from, to } in moves {
        let renamed = match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.and_then(|()| sync_folder(parent(to))),
        };
        renamed.map_err(|error| {
            format!(
                "{} could not be installed: {error}; a restart retries",
                to.display()
            )
        })?;
    }
    let ended = fs::remove_file(folder.join(COMMIT)).and_then(|()| {
        let _ = fs::remove_file(folder.join(LAID));
        sync_folder(folder)
    });
    ended.map_err(|error| format!("node.state_dir: {}: {error}", folder.display()))
}

fn remove(folder: &Path, moves: &[Move]) {
    let files = moves.iter().map(|step| step.from.clone());
    let own = [VERSIONS_NEW, COMMIT_NEW, LAID].map(|name| folder.join(name));
    for file in files.chain(own) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!("{} could not be removed: {error}", file.display());
            }
            _ => {}
        }
    }
}

/// The staging file next to a path; a symbolic link is followed.
fn staged(path: &Path) -> Result<Move, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let to = match fs::canonicalize(path) {
        Ok(to) => to,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path
                .file_name()
                .ok_or_else(|| format!("{} is no file", path.display()))?;
            let folder = parent(path);
            let folder = fs::canonicalize(folder).map_err(|error| {
                format!("{}: {error}: make that folder first", folder.display())
            })?;
            folder.join(name)
        }
        Err(error) => return Err(failed(error)),
    };
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".lbd-push");
    Ok(Move {
        from: to.with_file_name(name),
        to,
    })
}

/// Writes the staging file, with the owner and the mode of the current file.
fn write_alike(step: &Move, bytes: &[u8]) -> Result<(), String> {
    let Move { from, to } = step;
    let failed = |error: io::Error| {
        // SAFETY: the call takes nothing and cannot fail.
        let uid = unsafe { libc::geteuid() };
        let user = super::report::user_name(uid);
        format!(
            "{} cannot be written: {error} (lbd runs as {user}, who must be able to write in {})",
            to.display(),
            parent(to).display()
        )
    };
    let now = match fs::metadata(to) {
        Ok(metadata) if metadata.is_file() => Some(metadata),
        Ok(_) => return Err(format!("{} is not a regular file", to.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let _ = fs::remove_file(from);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(from)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    let mode = now.as_ref().map_or(0o644, |now| now.mode() & 0o7777);
    if let Some(now) = now {
        let own = file.metadata().map_err(failed)?;
        if (own.uid(), own.gid()) != (now.uid(), now.gid()) {
            fchown(&file, Some(now.uid()), Some(now.gid())).map_err(|error| {
                // SAFETY: the call takes nothing and cannot fail.
                let user = super::report::user_name(unsafe { libc::geteuid() });
                format!(
                    "{0} belongs to {1}, and a push would change that: {error} (lbd runs as {user}: \
                     `chown {user} {0}` allows the push)",
                    to.display(),
                    super::report::user_name(now.uid())
                )
            })?;
        }
    }
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Plain data with text keys, which JSON always takes; a path that is no UTF-8 is in no YAML.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::{Content, Piece, Version};

    fn record(number: u64) -> Record {
        let content = Content {
            cluster: Piece::of(b"cluster: 1\n"),
            lists: Vec::new(),
        };
        Record {
            version: Version {
                number,
                digest: content.digest(),
                by: "root".to_owned(),
                on: "mx1".to_owned(),
                at_unix_s: 0,
                back_to: None,
            },
            content,
        }
    }

    struct World {
        folder: tempfile::TempDir,
        store: Store,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("state")).unwrap();
            fs::write(folder.path().join("lbd.yaml"), "old").unwrap();
            let mode = Permissions::from_mode(0o640);
            fs::set_permissions(folder.path().join("lbd.yaml"), mode).unwrap();
            Self { folder, store }
        }

        fn targets(&self) -> Vec<Target> {
            ["lbd.yaml", "deny"]
                .map(|name| Target {
                    path: self.folder.path().join(name),
                    bytes: b"new".to_vec(),
                })
                .into()
        }

        fn lay(&self, number: u64) -> Layout {
            Layout::new(&self.store, &record(number), &self.targets()).unwrap()
        }

        /// Names next to the state folder, and what the configuration says.
        fn seen(&self) -> (usize, String) {
            let names = fs::read_dir(self.folder.path()).unwrap().count();
            let config = fs::read_to_string(self.folder.path().join("lbd.yaml")).unwrap();
            (names - 1, config)
        }

        fn restarted(self) -> Self {
            let Self { folder, store } = self;
            drop(store);
            let store = Store::open(&folder.path().join("state")).unwrap();
            Self { folder, store }
        }
    }

    #[test]
    fn what_is_laid_out_is_put_in_place_with_its_mode() {
        let mut world = World::new();
        let layout = world.lay(1);
        assert_eq!(world.seen(), (3, "old".to_owned()));
        assert_eq!(layout.commit(&mut world.store), Ok(None));
        assert_eq!(world.seen(), (2, "new".to_owned()));
        let mode = fs::metadata(world.folder.path().join("lbd.yaml"))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(world.store.history().next_number(), 2);
        assert_eq!(world.restarted().store.history().next_number(), 2);
    }

    #[test]
    fn what_is_dropped_leaves_nothing() {
        let world = World::new();
        world.lay(1).drop_it();
        assert_eq!(world.seen(), (1, "old".to_owned()));
        assert_eq!(world.restarted().store.history().next_number(), 0);
    }

    #[test]
    fn a_death_before_the_commit_changes_nothing_and_one_amid_it_is_made_good() {
        let world = World::new();
        drop(world.lay(1));
        let world = world.restarted();
        assert_eq!(world.seen(), (1, "old".to_owned()));
        assert_eq!(world.store.history().next_number(), 0);
        // Every number of renames done before the death.
        for done in 0..=3 {
            let world = World::new();
            let layout = world.lay(1);
            let folder = &layout.folder;
            fs::rename(folder.join(COMMIT_NEW), folder.join(COMMIT)).unwrap();
            for Move { from, to } in &layout.moves[..done] {
                fs::rename(from, to).unwrap();
            }
            let world = world.restarted();
            assert_eq!(world.seen(), (2, "new".to_owned()), "{done} renames");
            assert_eq!(world.store.history().next_number(), 2);
            let world = world.restarted();
            assert_eq!(world.seen(), (2, "new".to_owned()), "once more");
        }
    }

    #[test]
    fn a_link_stays_one_and_a_folder_is_no_file() {
        let mut world = World::new();
        let (real, link) = (
            world.folder.path().join("real"),
            world.folder.path().join("deny"),
        );
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(world.lay(1).commit(&mut world.store), Ok(None));
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        let refused = Layout::new(&world.store, &record(2), &world.targets()).unwrap_err();
        assert!(refused.contains("not a regular file"), "{refused}");
        let missing = [Target {
            path: "/nowhere/at/all/deny".into(),
            bytes: Vec::new(),
        }];
        let refused = Layout::new(&world.store, &record(2), &missing).unwrap_err();
        assert!(refused.contains("make that folder first"), "{refused}");
    }
}
