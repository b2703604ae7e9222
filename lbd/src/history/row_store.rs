//! Rows of many minutes, for who sums them up.
use std::collections::BTreeSet;

use super::{Denied, Happened, Reigned, Row, Sample};

/// The number of a name: its place in [`RowStore::names`].
pub type NameId = u32;

/// Rows by their kind. A day of 100 backends is 144,000 samples of a few names, so samples have a
/// number in place of each name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RowStore {
    /// Each name once, in order: names compare as their numbers do.
    pub names: Vec<String>,
    /// Minutes of masters.
    pub reigned: Vec<Reigned>,
    /// What went to backends.
    pub samples: Vec<StoredSample>,
    /// Denied sources.
    pub denied: Vec<Denied>,
    /// What happened.
    pub happened: Vec<Happened>,
}

/// A [`Sample`] with numbers for names.
pub type StoredSample = Sample<NameId>;

impl RowStore {
    /// A name by its number; empty for an unknown one.
    #[must_use]
    pub fn name(&self, id: NameId) -> &str {
        let name = usize::try_from(id).ok().and_then(|id| self.names.get(id));
        name.map_or("", String::as_str)
    }

    /// Sorts rows by their kind and numbers their names.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let names: BTreeSet<&str> = rows
            .iter()
            .filter_map(|row| match row {
                Row::Sample(row) => Some([&*row.node, &*row.backend, &*row.reason]),
                _ => None,
            })
            .flatten()
            .collect();
        let mut kept = Self {
            names: names.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        };
        for row in rows {
            match row {
                Row::Reigned(row) => kept.reigned.push(row.clone()),
                Row::Denied(row) => kept.denied.push(row.clone()),
                Row::Happened(row) => kept.happened.push(row.clone()),
                Row::Sample(row) => {
                    let id = |name: &String| {
                        let place = kept.names.binary_search(name);
                        let place = place.ok().and_then(|place| NameId::try_from(place).ok());
                        place.unwrap_or(NameId::MAX)
                    };
                    kept.samples.push(row.with_names(id));
                }
            }
        }
        kept
    }
}
