//! Rows into the tables.
use std::collections::{BTreeSet, HashMap};

use rusqlite::{OptionalExtension as _, Result, Transaction, params};

use super::{Archive, ArchiveError, read};
use crate::history::{Row, minute_of};

/// An integer as SQLite has it. What is beyond 63 bits is no count of anything here.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Archive {
    /// Takes rows, all or none: those that are new, and those that are a later version of one that is
    /// there. Returns how many that were.
    pub fn write(&mut self, rows: &[Row]) -> std::result::Result<usize, ArchiveError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let names = &mut self.names;
        let written = self.connection.transaction().and_then(|transaction| {
            let written = write(&transaction, names, rows)?;
            transaction.commit()?;
            Ok(written)
        });
        if written.is_err() {
            // Ids that were given out in a transaction that did not happen.
            self.names.clear();
        }
        written.map_err(|source| self.wrong(source))
    }
}

fn write(
    transaction: &Transaction<'_>,
    names: &mut HashMap<String, i64>,
    rows: &[Row],
) -> Result<usize> {
    let mut written = 0;
    let mut touched = BTreeSet::new();
    for row in rows {
        let node = id(transaction, names, row.node())?;
        let changed = put(transaction, names, node, row)?;
        written += changed;
        if changed > 0 {
            touched.insert((row.minute(), node));
        }
    }
    for (minute, node) in touched {
        let digest = read::rows(transaction, minute..minute + 1, Some(node))?
            .iter()
            .fold(0, |sum, row| sum ^ row.digest());
        transaction
            .prepare_cached("INSERT OR REPLACE INTO digest VALUES (?, ?, ?)")?
            .execute(params![minute, node, digest.cast_signed()])?;
    }
    Ok(written)
}

/// The id of a name, which it gets if it has none.
fn id(transaction: &Transaction<'_>, names: &mut HashMap<String, i64>, name: &str) -> Result<i64> {
    if let Some(id) = names.get(name) {
        return Ok(*id);
    }
    let known = transaction
        .prepare_cached("SELECT id FROM name WHERE text = ?")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    let id = if let Some(id) = known {
        id
    } else {
        transaction
            .prepare_cached("INSERT INTO name (text) VALUES (?)")?
            .execute([name])?;
        transaction.last_insert_rowid()
    };
    names.insert(name.to_owned(), id);
    Ok(id)
}

/// Of two versions of a row the greater one stays, column by column from the seconds on: those that
/// grow come first, and every node decides alike.
fn put(
    transaction: &Transaction<'_>,
    names: &mut HashMap<String, i64>,
    node: i64,
    row: &Row,
) -> Result<usize> {
    match row {
        Row::Reigned(row) => transaction
            .prepare_cached(
                "INSERT INTO reign VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                 seconds = excluded.seconds, denied = excluded.denied, \
                 rate_limited = excluded.rate_limited, turned_away = excluded.turned_away, \
                 reset = excluded.reset \
                 WHERE (excluded.seconds, excluded.denied, excluded.rate_limited, \
                 excluded.turned_away, excluded.reset) \
                 > (seconds, denied, rate_limited, turned_away, reset)",
            )?
            .execute(params![
                row.minute,
                node,
                int(row.since_unix_s),
                row.seconds,
                int(row.denied),
                int(row.rate_limited),
                int(row.turned_away),
                int(row.reset)
            ]),
        Row::Sample(row) => {
            let backend = id(transaction, names, &row.backend)?;
            let reason = id(transaction, names, &row.reason)?;
            // The reason is an id of this file's own, so it does not decide.
            transaction
                .prepare_cached(
                    "INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                     ON CONFLICT DO UPDATE SET seconds = excluded.seconds, opened = excluded.opened, \
                     bytes = excluded.bytes, sessions = excluded.sessions, \
                     sessions_max = excluded.sessions_max, sources = excluded.sources, \
                     queued = excluded.queued, weight_permille = excluded.weight_permille, \
                     off_s = excluded.off_s, reason = excluded.reason \
                     WHERE (excluded.seconds, excluded.opened, excluded.bytes, excluded.sessions, \
                     excluded.sessions_max, excluded.sources, ifnull(excluded.queued, -1), \
                     excluded.weight_permille, excluded.off_s) \
                     > (seconds, opened, bytes, sessions, sessions_max, sources, \
                     ifnull(queued, -1), weight_permille, off_s)",
                )?
                .execute(params![
                    row.minute,
                    node,
                    int(row.since_unix_s),
                    backend,
                    row.seconds,
                    int(row.opened),
                    int(row.bytes),
                    row.sessions,
                    row.sessions_max,
                    row.sources,
                    row.queued,
                    row.weight_permille,
                    row.off_s,
                    reason
                ])
        }
        Row::Denied(row) => transaction
            .prepare_cached(
                "INSERT INTO denied VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                 frames = excluded.frames WHERE excluded.frames > frames",
            )?
            .execute(params![
                row.minute,
                node,
                row.source.to_string(),
                row.refusal.number(),
                int(row.frames)
            ]),
        Row::Happened(row) => {
            let kind = id(transaction, names, &row.kind)?;
            transaction
                .prepare_cached(
                    "INSERT INTO happened VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                     as_master = excluded.as_master WHERE excluded.as_master > as_master",
                )?
                .execute(params![
                    minute_of(row.unix_s),
                    node,
                    int(row.unix_s),
                    kind,
                    row.subject,
                    row.text,
                    row.as_master
                ])
        }
    }
}
