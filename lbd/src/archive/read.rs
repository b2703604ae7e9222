//! Rows out of the tables.
use std::{net::IpAddr, ops::Range};

use rusqlite::{Connection, Result, params};

use super::{Archive, ArchiveError};
use crate::history::{Denied, Happened, NameId, Refusal, Reigned, Row, RowStore, Sample};

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
            // One snapshot of the file for all tables, despite concurrent writes.
            let transaction = connection.unchecked_transaction()?;
            rows(&transaction, minutes, node)
        })
    }

    /// Every row of these minutes of all nodes, each kind in the order of minutes: for a report.
    pub fn rows_in(&self, minutes: &Range<u32>) -> std::result::Result<RowStore, ArchiveError> {
        self.ask(|connection| {
            // One snapshot of the file for all tables, despite concurrent writes.
            let transaction = connection.unchecked_transaction()?;
            rows_in(&transaction, minutes)
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

/// All rows of some minutes. `node` is an id.
pub(super) fn rows(
    connection: &Connection,
    minutes: Range<u32>,
    node: Option<i64>,
) -> Result<Vec<Row>> {
    let names = Names::read(connection)?;
    let name = |id: i64| names.text(id).to_owned();
    let mut found = Vec::new();
    let of = (&minutes, node);
    select(connection, "reign", of, |row| {
        found.push(Row::Reigned(reigned(row, name)?));
        Ok(())
    })?;
    select(connection, "sample", of, |row| {
        found.push(Row::Sample(sample(row, name)?));
        Ok(())
    })?;
    select(connection, "denied", of, |row| {
        found.push(Row::Denied(denied(row, name)?));
        Ok(())
    })?;
    select(connection, "happened", of, |row| {
        found.push(Row::Happened(happened(row, name)?));
        Ok(())
    })?;
    Ok(found)
}

/// Likewise of all nodes, with names as numbers.
fn rows_in(connection: &Connection, minutes: &Range<u32>) -> Result<RowStore> {
    let names = Names::read(connection)?;
    let name = |id: i64| names.text(id).to_owned();
    let of = (minutes, None);
    let mut kept = RowStore::default();
    select(connection, "reign", of, |row| {
        kept.reigned.push(reigned(row, name)?);
        Ok(())
    })?;
    select(connection, "sample", of, |row| {
        kept.samples.push(sample(row, |id| names.number(id))?);
        Ok(())
    })?;
    select(connection, "denied", of, |row| {
        kept.denied.push(denied(row, name)?);
        Ok(())
    })?;
    select(connection, "happened", of, |row| {
        kept.happened.push(happened(row, name)?);
        Ok(())
    })?;
    kept.names = names.texts;
    Ok(kept)
}

/// The names in order, and each id's place among them.
struct Names {
    texts: Vec<String>,
    places: Vec<NameId>,
}

impl Names {
    /// Names are never forgotten, so their ids are as many as they are; one beyond this is damage.
    const IDS: usize = 1 << 20;

    fn read(connection: &Connection) -> Result<Self> {
        let mut named: Vec<(String, i64)> = connection
            .prepare_cached("SELECT text, id FROM name")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_>>()?;
        named.sort_unstable();
        let mut places = Vec::new();
        for (place, (_, id)) in named.iter().enumerate() {
            let id = usize::try_from(*id).ok().filter(|id| *id < Self::IDS);
            if let (Some(id), Ok(place)) = (id, NameId::try_from(place)) {
                places.resize(places.len().max(id + 1), NameId::MAX);
                places[id] = place;
            }
        }
        let texts = named.into_iter().map(|(text, _)| text).collect();
        Ok(Self { texts, places })
    }

    fn number(&self, id: i64) -> NameId {
        let place = usize::try_from(id).ok().and_then(|id| self.places.get(id));
        place.copied().unwrap_or(NameId::MAX)
    }

    fn text(&self, id: i64) -> &str {
        let place = usize::try_from(self.number(id)).ok();
        let text = place.and_then(|place| self.texts.get(place));
        text.map_or("", String::as_str)
    }
}

/// Shows every row of a table and some minutes, of one node or of all, in the order of the key.
fn select(
    connection: &Connection,
    table: &str,
    (minutes, node): (&Range<u32>, Option<i64>),
    mut show: impl FnMut(&rusqlite::Row<'_>) -> Result<()>,
) -> Result<()> {
    // A condition that is always true would be asked of each row all the same.
    let of_node = if node.is_some() { " AND node = ?3" } else { "" };
    let sql = format!("SELECT * FROM {table} WHERE minute >= ?1 AND minute < ?2{of_node}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = match node {
        Some(node) => statement.query(params![minutes.start, minutes.end, node])?,
        None => statement.query(params![minutes.start, minutes.end])?,
    };
    while let Some(row) = rows.next()? {
        show(row)?;
    }
    Ok(())
}

fn reigned(row: &rusqlite::Row<'_>, name: impl Fn(i64) -> String) -> Result<Reigned> {
    Ok(Reigned {
        minute: row.get(0)?,
        node: name(row.get(1)?),
        since_unix_s: uint(row, 2)?,
        seconds: row.get(3)?,
        denied: uint(row, 4)?,
        rate_limited: uint(row, 5)?,
        turned_away: uint(row, 6)?,
        reset: uint(row, 7)?,
    })
}

fn sample<N>(row: &rusqlite::Row<'_>, name: impl Fn(i64) -> N) -> Result<Sample<N>> {
    Ok(Sample {
        minute: row.get(0)?,
        node: name(row.get(1)?),
        since_unix_s: uint(row, 2)?,
        backend: name(row.get(3)?),
        seconds: row.get(4)?,
        opened: uint(row, 5)?,
        bytes: uint(row, 6)?,
        sessions: row.get(7)?,
        sessions_max: row.get(8)?,
        sources: row.get(9)?,
        queued: row.get(10)?,
        weight_permille: row.get(11)?,
        off_s: row.get(12)?,
        reason: name(row.get(13)?),
    })
}

fn denied(row: &rusqlite::Row<'_>, name: impl Fn(i64) -> String) -> Result<Denied> {
    let source: String = row.get(2)?;
    Ok(Denied {
        minute: row.get(0)?,
        node: name(row.get(1)?),
        // Written from an address, with no other writer.
        source: source.parse().unwrap_or(IpAddr::from([0, 0, 0, 0])),
        refusal: Refusal::of(row.get(3)?).unwrap_or(Refusal::Listed),
        frames: uint(row, 4)?,
    })
}

fn happened(row: &rusqlite::Row<'_>, name: impl Fn(i64) -> String) -> Result<Happened> {
    Ok(Happened {
        node: name(row.get(1)?),
        unix_s: uint(row, 2)?,
        kind: name(row.get(3)?),
        subject: row.get(4)?,
        text: row.get(5)?,
        as_master: row.get(6)?,
    })
}
