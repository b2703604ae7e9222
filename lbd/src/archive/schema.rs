//! The tables.
use rusqlite::{Connection, ErrorCode, Result, ffi};

/// Of the tables, in SQLite's `user_version`. A file of a lower version (there is none yet) must be
/// migrated here; one of a higher version is refused.
pub(super) const VERSION: i64 = 1;

/// The keys of `reign`, `sample`, `denied` and `happened` are what makes a row one row; `name` has every
/// node, backend, kind and reason once. `digest` sums up a node's rows of a minute.
const TABLES: &str = "
CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE reign (
  minute INTEGER NOT NULL, node INTEGER NOT NULL, since INTEGER NOT NULL,
  seconds INTEGER NOT NULL, denied INTEGER NOT NULL, rate_limited INTEGER NOT NULL,
  turned_away INTEGER NOT NULL, reset INTEGER NOT NULL,
  PRIMARY KEY (minute, node, since)) WITHOUT ROWID;
CREATE TABLE sample (
  minute INTEGER NOT NULL, node INTEGER NOT NULL, since INTEGER NOT NULL, backend INTEGER NOT NULL,
  seconds INTEGER NOT NULL, opened INTEGER NOT NULL, bytes INTEGER NOT NULL,
  sessions INTEGER NOT NULL, sessions_max INTEGER NOT NULL, sources INTEGER NOT NULL,
  queued INTEGER, weight_permille INTEGER NOT NULL, off_s INTEGER NOT NULL, reason INTEGER NOT NULL,
  PRIMARY KEY (minute, node, since, backend)) WITHOUT ROWID;
CREATE TABLE denied (
  minute INTEGER NOT NULL, node INTEGER NOT NULL, source TEXT NOT NULL, refusal INTEGER NOT NULL,
  frames INTEGER NOT NULL,
  PRIMARY KEY (minute, node, source, refusal)) WITHOUT ROWID;
CREATE TABLE happened (
  minute INTEGER NOT NULL, node INTEGER NOT NULL, unix_s INTEGER NOT NULL, kind INTEGER NOT NULL,
  subject TEXT NOT NULL, text TEXT NOT NULL, as_master INTEGER NOT NULL,
  PRIMARY KEY (minute, node, unix_s, kind, subject, text)) WITHOUT ROWID;
CREATE TABLE digest (
  minute INTEGER NOT NULL, node INTEGER NOT NULL, digest INTEGER NOT NULL,
  PRIMARY KEY (minute, node)) WITHOUT ROWID;
";

/// Makes an empty file a history; another one is left as it is.
pub(super) fn prepare(connection: &mut Connection) -> Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        // Before the first table: later it would take a rewrite of the file.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A crash of the box may cost the last transactions, never the file.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", 8 << 20)?;
    if version == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Reads the whole file once: damage from while lbd was down is better found now.
pub(super) fn check(connection: &Connection) -> Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    debug_assert_eq!(
        ffi::Error::new(ffi::SQLITE_CORRUPT).code,
        ErrorCode::DatabaseCorrupt
    );
    Err(rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_CORRUPT),
        Some(verdict),
    ))
}
