//! Each backend's figures over the last hour, for plots.
use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Between two points.
const EVERY_S: u64 = 5;
/// Points that are kept: an hour.
const KEPT: usize = 720;
/// Of many backends fewer points are kept: some 4 MB of figures at most.
const KEPT_CELLS: usize = 720 * 200;

/// A backend's figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::daemon) struct Figures {
    pub(in crate::daemon) sessions: u64,
    pub(in crate::daemon) unique_sources: u64,
    pub(in crate::daemon) queued: Option<u64>,
    pub(in crate::daemon) weight_permille: u32,
    pub(in crate::daemon) accepting: bool,
}

#[derive(Debug)]
struct Point {
    unix_s: u64,
    master: bool,
    backends: BTreeMap<String, Figures>,
}

/// The last points.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Points {
    all: VecDeque<Point>,
}

/// The figures of the last hour, a list for each. All lists are as long as `times_unix_s`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct History {
    /// Seconds since 1970.
    pub times_unix_s: Vec<u64>,
    /// Whether this node was the master.
    pub master: Vec<bool>,
    /// By the backend's name.
    pub backends: BTreeMap<String, BackendHistory>,
}

/// A backend's figures over time; nothing where it was not there or did not say.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct BackendHistory {
    /// Live sessions.
    pub sessions: Vec<Option<u64>>,
    /// Unique sources among them.
    pub unique_sources: Vec<Option<u64>>,
    /// Queued messages, as it said.
    pub queued: Vec<Option<u64>>,
    /// Effective weight in thousandths.
    pub weight_permille: Vec<Option<u32>>,
    /// Whether it took new sessions.
    pub accepting: Vec<Option<bool>>,
}

impl Points {
    /// Whether the next point is due.
    pub(in crate::daemon) fn is_due(&self, unix_s: u64) -> bool {
        // A clock that was set back makes a new beginning.
        self.all
            .back()
            .is_none_or(|last| unix_s >= last.unix_s + EVERY_S || unix_s < last.unix_s)
    }

    pub(in crate::daemon) fn add(
        &mut self,
        unix_s: u64,
        master: bool,
        backends: BTreeMap<String, Figures>,
    ) {
        if self.all.back().is_some_and(|last| unix_s < last.unix_s) {
            self.all.clear();
        }
        let kept = KEPT.min(KEPT_CELLS / backends.len().max(1)).max(1);
        while self.all.len() >= kept {
            self.all.pop_front();
        }
        self.all.push_back(Point {
            unix_s,
            master,
            backends,
        });
    }

    /// Everything that is kept.
    pub(in crate::daemon) fn history(&self) -> History {
        let mut history = History::default();
        for (at, point) in self.all.iter().enumerate() {
            history.times_unix_s.push(point.unix_s);
            history.master.push(point.master);
            for (name, figures) in &point.backends {
                let lists = history.backends.entry(name.clone()).or_default();
                lists.pad(at);
                lists.sessions.push(Some(figures.sessions));
                lists.unique_sources.push(Some(figures.unique_sources));
                lists.queued.push(figures.queued);
                lists.weight_permille.push(Some(figures.weight_permille));
                lists.accepting.push(Some(figures.accepting));
            }
        }
        for lists in history.backends.values_mut() {
            lists.pad(self.all.len());
        }
        history
    }
}

impl BackendHistory {
    fn pad(&mut self, length: usize) {
        self.sessions.resize(length, None);
        self.unique_sources.resize(length, None);
        self.queued.resize(length, None);
        self.weight_permille.resize(length, None);
        self.accepting.resize(length, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(names: &[&str], sessions: u64) -> BTreeMap<String, Figures> {
        let figures = Figures {
            sessions,
            ..Figures::default()
        };
        names
            .iter()
            .map(|name| ((*name).to_owned(), figures))
            .collect()
    }

    #[test]
    fn every_list_is_as_long_as_the_times() {
        let mut points = Points::default();
        points.add(10, false, backends(&["a"], 1));
        points.add(15, true, backends(&["a", "b"], 2));
        points.add(20, true, backends(&["b"], 3));
        let history = points.history();
        assert_eq!(history.times_unix_s, [10, 15, 20]);
        assert_eq!(history.master, [false, true, true]);
        assert_eq!(history.backends["a"].sessions, [Some(1), Some(2), None]);
        assert_eq!(history.backends["b"].sessions, [None, Some(2), Some(3)]);
        assert_eq!(history.backends["b"].accepting.len(), 3);
    }

    #[test]
    fn an_hour_is_kept_less_of_many_backends_and_nothing_of_a_clock_set_back() {
        let mut points = Points::default();
        assert!(points.is_due(0));
        for number in 0..1000 {
            points.add(number * EVERY_S, false, backends(&["a"], 0));
        }
        assert_eq!(points.history().times_unix_s.len(), KEPT);
        assert!(!points.is_due(999 * EVERY_S + 4) && points.is_due(1000 * EVERY_S));
        assert!(points.is_due(7));
        points.add(7, false, backends(&["a"], 0));
        assert_eq!(points.history().times_unix_s, [7]);

        let many: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for number in 2..500 {
            points.add(number * EVERY_S, false, backends(&many, 0));
        }
        assert_eq!(points.history().times_unix_s.len(), KEPT_CELLS / 1000);
    }
}
