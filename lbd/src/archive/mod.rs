//! [`history`](crate::history) on disk: one SQLite file in `node.state_dir`.
//!
//! The daemon's history thread writes it; `lbd report` reads it, with the daemon or without. It is in
//! WAL mode, so that neither waits for the other, and a `kill -9` costs what was not yet handed over,
//! never the file. Its bounds are an age and a size: 54 bytes a backend and minute (measured by
//! `archive::tests::what_a_day_takes`), so 100 backends take 8 MB a day.
mod bounds;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

pub use bounds::Bounds;

/// The file's name in `node.state_dir`.
pub const FILE: &str = "history.db";

/// How long one process waits for the other's lock. In WAL mode that is for moments only.
const BUSY: Duration = Duration::from_secs(5);

/// What went wrong with the file.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It is not there.
    #[error(
        "there is no history at {}: `lbd run` begins it in node.state_dir, with the first minute", .0.display()
    )]
    Missing(PathBuf),
    /// A later lbd has written it.
    #[error(
        "{} is of form {found}, this lbd knows {}: install the lbd that wrote it, or move the file away \
         and begin a new one", .path.display(), schema::VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
    },
    /// SQLite's own.
    #[error("{}: {source}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The file system's.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl ArchiveError {
    /// Whether the file itself is damaged, rather than the disk or the box failing.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let Self::Sqlite { source, .. } = self else {
            return false;
        };
        matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }

    /// Whether another process has the file for a moment: it may be tried again at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let Self::Sqlite { source, .. } = self else {
            return false;
        };
        matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    }

    /// Whether there is no room for more: the disk's, or the file's own bound.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Sqlite { source, .. } = self else {
            return false;
        };
        source.sqlite_error_code() == Some(ErrorCode::DiskFull)
    }
}

/// The open file.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
    path: PathBuf,
    /// Ids of names, which rows have in their place.
    names: HashMap<String, i64>,
}

impl Archive {
    /// Opens the file for writing, or makes it. Of a damaged one the path it was moved to is returned
    /// too: a new one is begun, and the peers have its rows.
    pub fn open(path: &Path, bounds: Bounds) -> Result<(Self, Option<PathBuf>), ArchiveError> {
        match Self::open_sound(path, bounds) {
            Err(error) if error.is_damage() => {
                let aside = move_aside(path)?;
                Ok((Self::open_sound(path, bounds)?, Some(aside)))
            }
            opened => Ok((opened?, None)),
        }
    }

    fn open_sound(path: &Path, bounds: Bounds) -> Result<Self, ArchiveError> {
        create(path).map_err(|source| ArchiveError::Io {
            path: path.to_owned(),
            source,
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut archive = Self::connect(path, flags)?;
        archive.wrap(schema::prepare)?;
        archive.check_version()?;
        archive.ask(schema::check)?;
        archive.limit(bounds)?;
        Ok(archive)
    }

    /// Opens the file for reading, with or without a daemon that writes it.
    pub fn open_read_only(path: &Path) -> Result<Self, ArchiveError> {
        match fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ArchiveError::Missing(path.to_owned()));
            }
            Err(source) => {
                let path = path.to_owned();
                return Err(ArchiveError::Io { path, source });
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let archive = Self::connect(path, flags)?;
        if archive.version()? == 0 {
            return Err(ArchiveError::Missing(path.to_owned()));
        }
        archive.check_version()?;
        Ok(archive)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, ArchiveError> {
        let wrong = |source| ArchiveError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
        connection.busy_timeout(BUSY).map_err(wrong)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            names: HashMap::new(),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn version(&self) -> Result<i64, ArchiveError> {
        self.ask(|connection| connection.pragma_query_value(None, "user_version", |row| row.get(0)))
    }

    fn check_version(&self) -> Result<(), ArchiveError> {
        let found = self.version()?;
        if found == schema::VERSION {
            return Ok(());
        }
        Err(ArchiveError::Newer {
            path: self.path.clone(),
            found,
        })
    }

    fn ask<T>(
        &self,
        action: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ArchiveError> {
        action(&self.connection).map_err(|source| self.wrong(source))
    }

    fn wrap<T>(
        &mut self,
        action: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ArchiveError> {
        action(&mut self.connection).map_err(|source| ArchiveError::Sqlite {
            path: self.path.clone(),
            source,
        })
    }

    fn wrong(&self, source: rusqlite::Error) -> ArchiveError {
        ArchiveError::Sqlite {
            path: self.path.clone(),
            source,
        }
    }
}

/// An empty file that only its owner reads: who sends mail here is private.
fn create(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    Ok(())
}

/// The last damaged file is kept for who wants to look; its log is of no use without it.
fn move_aside(path: &Path) -> Result<PathBuf, ArchiveError> {
    let aside = path.with_extension("db.damaged");
    fs::rename(path, &aside).map_err(|source| ArchiveError::Io {
        path: path.to_owned(),
        source,
    })?;
    for ending in ["db-wal", "db-shm"] {
        // Without one there is nothing to remove.
        let _ = fs::remove_file(path.with_extension(ending));
    }
    Ok(aside)
}
