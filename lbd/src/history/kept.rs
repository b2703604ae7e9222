//! Rows of many minutes, for who sums them up.
use std::collections::BTreeSet;

use super::{Denied, Happened, Reigned, Row};

/// The number of a name: its place in [`Kept::names`].
pub type NameId = u32;

/// Rows by their kind. A day of 100 backends is 144,000 samples of a few names, so samples have a
/// number in place of each name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kept {
    /// Each name once, in order: names compare as their numbers do.
    pub names: Vec<String>,
    /// Minutes of masters.
    pub reigned: Vec<Reigned>,
    /// What went to backends.
    pub samples: Vec<KeptSample>,
    /// Denied sources.
    pub denied: Vec<Denied>,
    /// What happened.
    pub happened: Vec<Happened>,
}

/// A [`super::Sample`] with numbers for names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeptSample {
    /// Minutes since 1970.
    pub minute: u32,
    /// The master.
    pub node: NameId,
    /// Which of its reigns, in seconds since 1970.
    pub since_unix_s: u64,
    /// The backend.
    pub backend: NameId,
    /// How many of the minute's seconds this is about, 1 to 60.
    pub seconds: u8,
    /// Sessions that began.
    pub opened: u64,
    /// Bytes of clients' frames, Ethernet header included.
    pub bytes: u64,
    /// Open sessions, as a mean over these seconds.
    pub sessions: u32,
    /// The most at once.
    pub sessions_max: u32,
    /// The most unique sources at once.
    pub sources: u32,
    /// The longest queue it reported; nothing when it does not say.
    pub queued: Option<u32>,
    /// Effective weight in thousandths, as a mean.
    pub weight_permille: u32,
    /// For how many of the seconds it took no new sessions.
    pub off_s: u8,
    /// Why, as a word.
    pub reason: NameId,
}

impl Kept {
    /// A name by its number; empty for one that nobody has.
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
                    kept.samples.push(KeptSample {
                        minute: row.minute,
                        node: id(&row.node),
                        since_unix_s: row.since_unix_s,
                        backend: id(&row.backend),
                        seconds: row.seconds,
                        opened: row.opened,
                        bytes: row.bytes,
                        sessions: row.sessions,
                        sessions_max: row.sessions_max,
                        sources: row.sources,
                        queued: row.queued,
                        weight_permille: row.weight_permille,
                        off_s: row.off_s,
                        reason: id(&row.reason),
                    });
                }
            }
        }
        kept
    }
}
