//! The versions that a node keeps.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Digest, Record, Version};

/// Versions that are kept at most.
pub const KEPT_VERSIONS: usize = 20;
/// Bytes of pieces that are kept at most, except of the last two versions.
pub const KEPT_BYTES: u64 = 256 << 20;

/// What a node has of the cluster's configurations, in the order of their numbers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Versions {
    records: Vec<Record>,
}

/// A history with one version more, and what it no longer needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retained {
    /// With the version.
    pub history: Versions,
    /// The pieces that were in the previous one and are not in this one.
    pub unneeded: BTreeSet<Digest>,
}

impl Versions {
    /// Every version, the current one last.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What this node was given last.
    #[must_use]
    pub fn current(&self) -> Option<&Record> {
        self.records.last()
    }

    /// A version by its number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Record> {
        self.records
            .iter()
            .find(|record| record.version.number == number)
    }

    /// The last version before the current one that is another configuration.
    #[must_use]
    pub fn before_current(&self) -> Option<&Record> {
        let current = self.current()?.version.digest;
        let mut earlier = self.records.iter().rev();
        earlier.find(|record| record.version.digest != current)
    }

    /// The number of the next version.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.current().map_or(0, |record| record.version.number + 1)
    }

    /// Why a node with this history does not take a version; `None` when it does: what is later
    /// than all it has, or what it has as its last one, to be put right.
    #[must_use]
    pub fn refuses(&self, offered: &Version) -> Option<String> {
        let current = &self.current()?.version;
        (offered.number < current.number).then(|| {
            format!(
                "it has version {} by {} on {} already, which is later than the offered version {}; update the offering node first: `lbd push --from` there",
                current.number, current.by, current.on, offered.number
            )
        })
    }

    /// With one version more, or with another one of the same number in its place, and without what
    /// is beyond the bounds.
    #[must_use]
    pub fn with(&self, record: Record) -> Retained {
        let mut records = self.records.clone();
        records.retain(|known| known.version.number < record.version.number);
        records.push(record);
        while records.len() > KEPT_VERSIONS || (records.len() > 2 && bytes(&records) > KEPT_BYTES) {
            records.remove(0);
        }
        let history = Self { records };
        let needed = history.pieces();
        Retained {
            unneeded: self.pieces().difference(&needed).copied().collect(),
            history,
        }
    }

    /// The digests of everything that its versions consist of.
    #[must_use]
    pub fn pieces(&self) -> BTreeSet<Digest> {
        let pieces = self
            .records
            .iter()
            .flat_map(|record| record.content.pieces());
        pieces.map(|piece| piece.digest).collect()
    }
}

fn bytes(records: &[Record]) -> u64 {
    let mut seen = BTreeSet::new();
    let pieces = records.iter().flat_map(|record| record.content.pieces());
    pieces
        .filter(|piece| seen.insert(piece.digest))
        .map(|piece| piece.bytes)
        .sum()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::push::{Content, List, Piece};

    pub(in crate::push) fn record(number: u64, text: &str) -> Record {
        let content = Content {
            cluster: Piece::of(text.as_bytes()),
            lists: vec![List {
                path: "/etc/lbd/deny".into(),
                piece: Piece::of(b"192.0.2.1\n"),
            }],
        };
        Record {
            version: Version {
                number,
                digest: content.digest(),
                by: "root".to_owned(),
                on: "mx1".to_owned(),
                at_unix_s: 1_800_000_000 + number,
                back_to: None,
            },
            content,
        }
    }

    #[test]
    fn back_is_the_last_that_differs_and_twice_is_forth() {
        let mut history = Versions::default();
        assert_eq!((history.before_current(), history.next_number()), (None, 0));
        for (number, text) in (0..).zip(["a", "b", "b"]) {
            history = history.with(record(number, text)).history;
        }
        assert_eq!(history.before_current().unwrap().version.number, 0);
        history = history.with(record(3, "a")).history;
        assert_eq!(history.before_current().unwrap().version.number, 2);
        assert_eq!(history.next_number(), 4);
    }

    #[test]
    fn what_is_later_is_taken_and_what_is_earlier_is_not() {
        let history = Versions::default().with(record(7, "a")).history;
        assert_eq!(Versions::default().refuses(&record(0, "a").version), None);
        assert_eq!(history.refuses(&record(8, "b").version), None);
        // The same again, to put it right, and another one from the other side of a partition.
        assert_eq!(history.refuses(&record(7, "a").version), None);
        assert_eq!(history.refuses(&record(7, "b").version), None);
        let refused = history.refuses(&record(6, "b").version).unwrap();
        assert!(refused.contains("version 7 by root on mx1"), "{refused}");
    }

    #[test]
    fn a_digest_tells_paths_and_contents_apart() {
        let one = record(1, "a");
        let mut other = one.clone();
        other.content.lists[0].path = "/etc/lbd/allow".into();
        assert_ne!(one.content.digest(), other.content.digest());
        other.content.lists.clear();
        assert_ne!(one.content.digest(), other.content.digest());
    }

    proptest! {
        /// Bounded, in order, ending with what came last; and what is called unneeded is in no
        /// version that is kept, while everything that left is called so.
        #[test]
        fn histories_stay_bounded_and_lose_no_piece_that_they_need(
            steps in proptest::collection::vec((0u64..3, "[a-f]"), 1..60),
        ) {
            let mut history = Versions::default();
            for (more, text) in steps {
                let number = history.next_number() + more;
                let before = history.pieces();
                let kept = history.with(record(number, &text));
                let after = kept.history.pieces();
                prop_assert_eq!(kept.history.current().unwrap().version.number, number);
                prop_assert!(kept.history.records().len() <= KEPT_VERSIONS);
                prop_assert!(kept.history.records().is_sorted_by_key(|known| known.version.number));
                prop_assert!(kept.unneeded.is_disjoint(&after));
                let gone: BTreeSet<_> = before.difference(&after).copied().collect();
                prop_assert_eq!(kept.unneeded, gone);
                history = kept.history;
            }
        }
    }
}
