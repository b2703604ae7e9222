//! What each counter means: the doc comments of the counters themselves, for metrics and for people.
use std::fmt::Write as _;

use lbd_common::counters::Reason;

use crate::{channel, daemon::cluster::advert::WireCounters, election};

/// Counters that belong together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Why packets went where they went: the XDP program's.
    DataPlane,
    /// The election's, and its advertisements' on the wire.
    Election,
    /// The cluster channel's.
    Channel,
    /// The history's.
    History,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 4] = [
        Self::DataPlane,
        Self::Election,
        Self::Channel,
        Self::History,
    ];

    /// As it stands in a metric's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DataPlane => "dataplane",
            Self::Election => "election",
            Self::Channel => "channel",
            Self::History => "history",
        }
    }

    /// Each counter's name and its sentence.
    #[must_use]
    pub fn terms(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::DataPlane => Reason::ALL
                .iter()
                .map(|reason| (reason.name(), reason.sentence()))
                .collect(),
            Self::Election => election::Counters::default()
                .iter()
                .chain(WireCounters::default().iter())
                .map(|(name, _, sentence)| (name, sentence))
                .collect(),
            Self::Channel => channel::Counters::default()
                .iter()
                .map(|(name, _, sentence)| (name, sentence))
                .collect(),
            Self::History => super::history::terms(),
        }
    }
}

/// Every counter with its sentence, as the operator's page `deploy/COUNTERS.md`.
#[must_use]
pub fn page() -> String {
    let mut page = "# What each counter means\n\n\
        Written from the sentences in the program itself. `lbd status --json` has the counters by these \
        names;\n`/metrics` has them as `lbd_GROUP_NAME_total`.\n"
        .to_owned();
    // Writing to a String cannot fail.
    for group in Group::ALL {
        let about = match group {
            Group::DataPlane => "the XDP program: why frames went where they went",
            Group::Election => "the election and its advertisements",
            Group::Channel => "the cluster channel",
            Group::History => "the history in `node.state_dir`",
        };
        let _ = writeln!(
            page,
            "\n## `{}`: {about}\n| counter | meaning |\n|---|---|",
            group.name()
        );
        for (name, sentence) in group.terms() {
            let _ = writeln!(page, "| `{name}` | {} |", sentence.replace('|', "\\|"));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_counter_has_a_name_of_its_own_and_a_sentence() {
        for group in Group::ALL {
            let terms = group.terms();
            let names: BTreeSet<_> = terms.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), terms.len(), "{group:?}");
            for (name, sentence) in terms {
                assert!(sentence.ends_with('.'), "{name}: {sentence}");
            }
        }
    }

    /// `LBD_WRITE=1 cargo test --workspace --lib counter_help` writes it anew.
    #[test]
    fn the_operators_page_has_every_counter() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/COUNTERS.md");
        if std::env::var_os("LBD_WRITE").is_some() {
            std::fs::write(&file, page()).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(
            written,
            page(),
            "LBD_WRITE=1 cargo test --workspace --lib counter_help"
        );
    }
}
