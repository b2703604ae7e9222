//! Rows out of the tables.
use std::{collections::HashMap, net::IpAddr, ops::Range};

use rusqlite::{Connection, Result, params};

use super::{Archive, ArchiveError};
use crate::history::{Denied, Happened, Refusal, Reigned, Row, Sample};

impl Archive {
    /// Every row of these minutes, of all nodes or of one, each kind in the order of minutes.
    pub fn rows(
        &self,
        minutes: Range<u32>,
        node: Option<&str>,
    ) -> std::result::Result<Vec<Row>, ArchiveError> {
        self.ask(|connection| {
            let node = match node {
                None => None,
                Some(name) => match self::id(connection, name)? {
                    None => return Ok(Vec::new()),
                    known => known,
                },
            };
            // One state of the file for all tables, whatever is written meanwhile.
            let transaction = connection.unchecked_transaction()?;
            rows(&transaction, minutes, node)
        })
    }

    /// The digest of each of these minutes that a node has rows in.
    pub fn digests(
        &self,
        minutes: Range<u32>,
        node: &str,
    ) -> std::result::Result<Vec<(u32, u64)>, ArchiveError> {
        self.ask(|connection| {
            let Some(node) = id(connection, node)? else {
                return Ok(Vec::new());
            };
            connection
                .prepare_cached(
                    "SELECT minute, digest FROM digest WHERE minute >= ? AND minute < ? AND node = ?",
                )?
                .query_map(params![minutes.start, minutes.end, node], |row| {
                    Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
                })?
                .collect()
        })
    }

    /// The nodes that have rows in these minutes.
    pub fn nodes(&self, minutes: Range<u32>) -> std::result::Result<Vec<String>, ArchiveError> {
        self.ask(|connection| {
            connection
                .prepare_cached(
                    "SELECT DISTINCT name.text FROM digest JOIN name ON name.id = digest.node \
                     WHERE minute >= ? AND minute < ? ORDER BY name.text",
                )?
                .query_map(params![minutes.start, minutes.end], |row| row.get(0))?
                .collect()
        })
    }

    /// The first and the last minute that there are rows of.
    pub fn span(&self) -> std::result::Result<Option<(u32, u32)>, ArchiveError> {
        let sql = "SELECT (SELECT min(minute) FROM digest), (SELECT max(minute) FROM digest)";
        self.ask(|connection| {
            connection.query_row(sql, [], |row| {
                let (first, last): (Option<u32>, Option<u32>) = (row.get(0)?, row.get(1)?);
                Ok(first.zip(last))
            })
        })
    }
}

fn id(connection: &Connection, name: &str) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM name WHERE text = ?")?;
    let mut found = statement.query_map([name], |row| row.get(0))?;
    found.next().transpose()
}

fn uint(row: &rusqlite::Row<'_>, column: usize) -> Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Makes a row of one of a table.
type ReadRow<'a> = dyn Fn(&rusqlite::Row<'_>) -> Result<Row> + 'a;

/// All rows of some minutes. `node` is an id.
pub(super) fn rows(
    connection: &Connection,
    minutes: Range<u32>,
    node: Option<i64>,
) -> Result<Vec<Row>> {
    let names: HashMap<i64, String> = connection
        .prepare_cached("SELECT id, text FROM name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    let name = |row: &rusqlite::Row<'_>, column| -> Result<String> {
        let id: i64 = row.get(column)?;
        Ok(names.get(&id).cloned().unwrap_or_default())
    };
    let mut found = Vec::new();
    let mut select = |table: &str, read: &ReadRow<'_>| -> Result<()> {
        let sql = format!(
            "SELECT * FROM {table} WHERE minute >= ?1 AND minute < ?2 AND (?3 IS NULL OR node = ?3)"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![minutes.start, minutes.end, node])?;
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(())
    };
    select("reign", &|row| {
        Ok(Row::Reigned(Reigned {
            minute: row.get(0)?,
            node: name(row, 1)?,
            since_unix_s: uint(row, 2)?,
            seconds: row.get(3)?,
            denied: uint(row, 4)?,
            rate_limited: uint(row, 5)?,
            turned_away: uint(row, 6)?,
            reset: uint(row, 7)?,
        }))
    })?;
    select("sample", &|row| {
        Ok(Row::Sample(Sample {
            minute: row.get(0)?,
            node: name(row, 1)?,
            since_unix_s: uint(row, 2)?,
            backend: name(row, 3)?,
            seconds: row.get(4)?,
            opened: uint(row, 5)?,
            bytes: uint(row, 6)?,
            sessions: row.get(7)?,
            sessions_max: row.get(8)?,
            sources: row.get(9)?,
            queued: row.get(10)?,
            weight_permille: row.get(11)?,
            off_s: row.get(12)?,
            reason: name(row, 13)?,
        }))
    })?;
    select("denied", &|row| {
        let source: String = row.get(2)?;
        Ok(Row::Denied(Denied {
            minute: row.get(0)?,
            node: name(row, 1)?,
            // Written from an address, and nobody else writes here.
            source: source.parse().unwrap_or(IpAddr::from([0, 0, 0, 0])),
            refusal: Refusal::of(row.get(3)?).unwrap_or(Refusal::Listed),
            frames: uint(row, 4)?,
        }))
    })?;
    select("happened", &|row| {
        Ok(Row::Happened(Happened {
            node: name(row, 1)?,
            unix_s: uint(row, 2)?,
            kind: name(row, 3)?,
            subject: row.get(4)?,
            text: row.get(5)?,
            as_master: row.get(6)?,
        }))
    })?;
    Ok(found)
}
