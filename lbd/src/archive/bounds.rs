//! How old and how large the file may become.
use std::time::Duration;

use rusqlite::{Connection, Result};

use super::{Archive, ArchiveError};
use crate::history::HOUR;

/// What goes at once when the file is too large.
const SLICE: u32 = 6 * HOUR;
const TABLES: [&str; 5] = ["reign", "sample", "denied", "happened", "digest"];

/// How much is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// For how long.
    pub keep: Duration,
    /// In how many bytes of the file.
    pub most_bytes: u64,
}

impl Bounds {
    /// The first minute that is not too old.
    #[must_use]
    pub fn oldest(self, now_minute: u32) -> u32 {
        let minutes = u32::try_from(self.keep.as_secs() / 60).unwrap_or(u32::MAX);
        now_minute.saturating_sub(minutes)
    }
}

impl Archive {
    /// SQLite's own bound: a quarter above ours, which is kept by [`Self::prune`].
    pub(super) fn limit(&self, bounds: Bounds) -> std::result::Result<(), ArchiveError> {
        self.ask(|connection| {
            let page = pragma(connection, "page_size")?.max(512);
            let most = i64::try_from(bounds.most_bytes + bounds.most_bytes / 4).unwrap_or(i64::MAX);
            let pages = (most / page).max(64);
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
        })
    }

    /// Bytes of the file that are in use.
    pub fn used_bytes(&self) -> std::result::Result<u64, ArchiveError> {
        self.ask(used)
    }

    /// Forgets what is too old, and the oldest hours of what is too much. Returns the first minute
    /// to keep: what is before it was forgotten on purpose and is not requested again.
    pub fn prune(
        &mut self,
        bounds: Bounds,
        now_minute: u32,
    ) -> std::result::Result<u32, ArchiveError> {
        let mut from = bounds.oldest(now_minute);
        self.wrap(|connection| {
            forget(connection, from)?;
            while used(connection)? > bounds.most_bytes {
                let sql = "SELECT min(minute) FROM digest";
                let Some(first) =
                    connection.query_row(sql, [], |row| row.get::<_, Option<u32>>(0))?
                else {
                    break;
                };
                from = first.saturating_add(SLICE);
                forget(connection, from)?;
            }
            // Gives the pages back to the disk, each time some.
            connection.execute_batch("PRAGMA incremental_vacuum(4096)")?;
            Ok(from)
        })
    }
}

fn forget(connection: &mut Connection, before: u32) -> Result<()> {
    let transaction = connection.transaction()?;
    for table in TABLES {
        transaction.execute(&format!("DELETE FROM {table} WHERE minute < ?"), [before])?;
    }
    transaction.commit()
}

fn pragma(connection: &Connection, name: &str) -> Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn used(connection: &Connection) -> Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(u64::try_from(pages * pragma(connection, "page_size")?).unwrap_or(0))
}
