//! What each counter means: the sentences beside the counters themselves, for metrics and for people.
use lbd_common::counters::Reason;

use super::advert::WireCounters;
use crate::{channel, election};

/// Counters that belong together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Why packets went where they went: the XDP program's.
    DataPlane,
    /// The election's, and its advertisements' on the wire.
    Election,
    /// The cluster channel's.
    Channel,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 3] = [Self::DataPlane, Self::Election, Self::Channel];

    /// As it stands in a metric's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DataPlane => "dataplane",
            Self::Election => "election",
            Self::Channel => "channel",
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
        }
    }
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
}
