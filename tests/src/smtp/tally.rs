//! What became of the sessions.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::client::Outcome;
use crate::probe::longest_gap;

/// Counts, and the moments that a failover is judged by.
#[derive(Debug, Default)]
pub struct Tally {
    /// Sessions that were begun.
    pub started: u64,
    /// Sessions whose every message was accepted.
    pub completed: u64,
    /// Sessions that ended otherwise.
    pub failed: u64,
    /// Completed sessions by the server that greeted.
    pub per_backend: BTreeMap<String, u64>,
    /// Each of those: when it began, when it ended, and how.
    failures: Vec<(Instant, Instant, String)>,
    /// When connections were established.
    connected: Vec<Instant>,
    /// When the virtual addresses moved: from when the former master was last seen as one, to when
    /// the new one was first seen.
    moves: Vec<(Instant, Instant)>,
}

impl Tally {
    /// Sessions that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.started - self.completed - self.failed
    }

    /// The virtual addresses moved to another node in that time.
    pub fn moved(&mut self, from: Instant, to: Instant) {
        self.moves.push((from, to));
    }

    /// A session that began at `begun` ended at `ended`.
    pub fn end(&mut self, begun: Instant, ended: Instant, outcome: &Outcome) {
        match outcome {
            Outcome::Served { by, connect } => {
                self.completed += 1;
                *self.per_backend.entry(by.clone()).or_default() += 1;
                self.connected.push(begun + *connect);
            }
            Outcome::Refused { .. } | Outcome::Lost { .. } => {
                self.failed += 1;
                self.failures.push((begun, ended, outcome.to_string()));
            }
        }
    }

    /// Every failure in words, and whether it is explained: the session was open while the virtual
    /// addresses moved to a node that may not know its flow.
    pub fn failures(&self) -> impl Iterator<Item = (bool, &str)> {
        self.failures.iter().map(|(begun, ended, how)| {
            let open_then = |(from, to): &(Instant, Instant)| begun <= to && ended >= from;
            (self.moves.iter().any(open_then), how.as_str())
        })
    }

    /// The longest time without a new connection between `from` and `to`; None without any.
    #[must_use]
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Option<Duration> {
        longest_gap(&self.connected, from, to)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use crate::smtp::client::Stage;

    use super::*;

    fn served(by: &str, connect_ms: u64) -> Outcome {
        Outcome::Served {
            by: by.to_owned(),
            connect: Duration::from_millis(connect_ms),
        }
    }

    fn lost() -> Outcome {
        Outcome::Lost {
            by: None,
            stage: Stage::Message,
            error: io::ErrorKind::ConnectionReset.into(),
        }
    }

    #[test]
    fn only_what_was_open_during_a_move_is_explained() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        for (begun, ended, expected) in [
            (0, 9, true),
            (0, 5, true),
            (6, 9, true),
            (0, 4, false),
            (7, 9, false),
        ] {
            let mut tally = Tally::default();
            tally.started += 1;
            tally.end(start + second * begun, start + second * ended, &lost());
            assert_eq!((tally.failed, tally.open()), (1, 0));
            tally.moved(start + second * 5, start + second * 6);
            let explained: Vec<bool> = tally.failures().map(|(explained, _)| explained).collect();
            assert_eq!(explained, [expected], "{begun} {ended}");
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
