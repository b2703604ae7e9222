//! What became of the sessions.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lbd_tests::{probe::longest_gap, smtp::client::Outcome};

/// Failures that are kept in words.
const KEPT_FAILURES: usize = 20;

/// Counts, and the moments that a failover is judged by.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Sessions that were begun.
    pub(super) started: u64,
    /// Sessions whose every message was accepted.
    pub(super) completed: u64,
    /// Sessions that ended otherwise.
    pub(super) failed: u64,
    /// Those of them for which there is a reason that no balancer can mend.
    pub(super) explained: u64,
    /// Completed sessions by the server that greeted.
    pub(super) per_backend: BTreeMap<String, u64>,
    /// The first failures, in words.
    pub(super) failures: Vec<String>,
    /// When connections were established.
    connected: Vec<Instant>,
    /// Boxes that died, and when.
    deaths: Vec<(Instant, String)>,
}

impl Tally {
    /// Sessions that are open.
    pub(super) fn open(&self) -> u64 {
        self.started - self.completed - self.failed
    }

    /// A box's daemon dies: sessions with its own mail server may go with it.
    pub(super) fn death(&mut self, at: Instant, name: &str) {
        self.deaths.push((at, name.to_owned()));
    }

    /// A session that began at `begun` ended at `ended`.
    pub(super) fn end(&mut self, begun: Instant, ended: Instant, outcome: &Outcome) {
        match outcome {
            Outcome::Served { by, connect } => {
                self.completed += 1;
                *self.per_backend.entry(by.clone()).or_default() += 1;
                self.connected.push(begun + *connect);
            }
            Outcome::Refused { .. } => self.fail(false, outcome),
            Outcome::Lost { by, .. } => {
                let on_dead_box = self
                    .deaths
                    .iter()
                    .any(|(at, name)| Some(name) == by.as_ref() && (begun..=ended).contains(at));
                self.fail(on_dead_box, outcome);
            }
        }
    }

    fn fail(&mut self, explained: bool, outcome: &Outcome) {
        self.failed += 1;
        self.explained += u64::from(explained);
        if self.failures.len() < KEPT_FAILURES {
            self.failures.push(outcome.to_string());
        }
    }

    /// The longest time without a new connection between `from` and `to`; None without any.
    pub(super) fn longest_gap(&self, from: Instant, to: Instant) -> Option<Duration> {
        longest_gap(&self.connected, from, to)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use lbd_tests::smtp::client::Stage;

    use super::*;

    fn served(by: &str, connect_ms: u64) -> Outcome {
        Outcome::Served {
            by: by.to_owned(),
            connect: Duration::from_millis(connect_ms),
        }
    }

    fn lost(by: Option<&str>) -> Outcome {
        Outcome::Lost {
            by: by.map(str::to_owned),
            stage: Stage::Message,
            error: io::ErrorKind::ConnectionReset.into(),
        }
    }

    #[test]
    fn only_what_was_on_the_dead_box_when_it_died_is_explained() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        for (by, begun, ended, explained) in [
            (Some("mx1"), 0, 9, 1),
            (Some("mx2"), 0, 9, 0),
            (None, 0, 9, 0),
            (Some("mx1"), 6, 9, 0),
            (Some("mx1"), 0, 4, 0),
        ] {
            let mut tally = Tally::default();
            tally.started += 1;
            tally.death(start + second * 5, "mx1");
            tally.end(start + second * begun, start + second * ended, &lost(by));
            let counts = (tally.failed, tally.explained, tally.open());
            assert_eq!(counts, (1, explained, 0), "{by:?} {begun} {ended}");
        }
    }

    #[test]
    fn a_gap_is_between_connections_and_not_between_ends_of_sessions() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut tally = Tally::default();
        for (begun, connect, ended) in [(0, 1, 900), (100, 1, 110), (300, 50, 400)] {
            tally.started += 1;
            tally.end(at(begun), at(ended), &served("mx1", connect));
        }
        let gap = tally.longest_gap(at(0), at(1000));
        assert_eq!(gap, Some(Duration::from_millis(249)));
        assert_eq!(tally.longest_gap(at(200), at(1000)), None);
        assert_eq!(tally.per_backend["mx1"], 3);
    }
}
