//! Happenings that an operator wants to hear of.
use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many are remembered.
const REMEMBERED: usize = 1000;

/// What a happening is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This node's role in the election, or its master.
    Role,
    /// A backend stopped to take new sessions.
    ShutOff,
    /// A backend takes sessions again.
    Return,
    /// A backend's health.
    Health,
    /// An operator's order.
    Operator,
    /// The configuration was edited.
    Config,
    /// An interface went up or down.
    Link,
}

impl Kind {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::ShutOff => "shut-off",
            Self::Return => "return",
            Self::Health => "health",
            Self::Operator => "operator",
            Self::Config => "config",
            Self::Link => "link",
        }
    }
}

/// How loudly something is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::daemon) enum Severity {
    /// It may be expected.
    Info,
    /// Someone should look.
    Warn,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Happening {
    /// Grows by 1 with each, from 1 at the daemon's start.
    pub id: u64,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// What it is about.
    pub kind: Kind,
    /// The backend or interface, when it is about one.
    pub subject: Option<String>,
    /// What happened, as the log has it.
    pub text: String,
}

/// The last happenings.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Events {
    all: VecDeque<Happening>,
    last_id: u64,
}

impl Events {
    pub(in crate::daemon) fn note(
        &mut self,
        unix_s: u64,
        kind: Kind,
        subject: Option<&str>,
        text: String,
    ) {
        if self.all.len() == REMEMBERED {
            self.all.pop_front();
        }
        self.last_id += 1;
        self.all.push_back(Happening {
            id: self.last_id,
            unix_s,
            kind,
            subject: subject.map(str::to_owned),
            text,
        });
    }

    /// Those after the one with this id, oldest first; all that are remembered after 0.
    pub(in crate::daemon) fn after(&self, id: u64) -> Vec<Happening> {
        let from = self.all.partition_point(|happening| happening.id <= id);
        self.all.range(from..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_are_remembered_and_ids_go_on() {
        let mut events = Events::default();
        for number in 0..REMEMBERED as u64 + 5 {
            events.note(number, Kind::Config, None, number.to_string());
        }
        let all = events.after(0);
        assert_eq!(all.len(), REMEMBERED);
        assert_eq!((all[0].id, all[0].text.as_str()), (6, "5"));
        let ids: Vec<u64> = events.after(1003).iter().map(|event| event.id).collect();
        assert_eq!(ids, [1004, 1005]);
        assert!(events.after(2000).is_empty());
    }
}
