//! What came of it, for a person and for a program.
use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde::Serialize;

use lbd_tests::smtp::tally::Tally;

use super::screen::Event;

/// The object that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) sessions_started: u64,
    pub(super) sessions_completed: u64,
    /// Not completed, explained or not.
    pub(super) sessions_failed: u64,
    /// Of those, open while the virtual addresses moved to a node that may not know their flows.
    pub(super) sessions_explained: u64,
    /// Completed sessions by node.
    pub(super) per_backend: BTreeMap<String, u64>,
    /// How often another node became master.
    pub(super) failovers: u32,
    /// For each kill, the longest time without a new connection, in milliseconds.
    pub(super) gaps_ms: Vec<u64>,
    /// `native` or `generic`, on every interface.
    pub(super) xdp_mode: String,
    /// The whole story in seconds.
    pub(super) seconds: f64,
    /// Every failure.
    pub(super) failures: Vec<Failure>,
    /// What happened.
    pub(super) events: Vec<SummaryEvent>,
}

/// A session that was not completed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failure {
    what: String,
    explained: bool,
}

/// An [`Event`] as JSON.
#[derive(Debug, Serialize)]
pub(super) struct SummaryEvent {
    at_s: f64,
    text: String,
}

impl Summary {
    pub(super) fn new(tally: &Tally, events: &[Event], elapsed: Duration) -> Self {
        let event = |event: &Event| SummaryEvent {
            at_s: (event.at.as_secs_f64() * 10.0).round() / 10.0,
            text: event.text.clone(),
        };
        let failures: Vec<Failure> = tally
            .failures()
            .map(|(explained, what)| Failure {
                what: what.to_owned(),
                explained,
            })
            .collect();
        Self {
            sessions_started: tally.started,
            sessions_completed: tally.completed,
            sessions_failed: tally.failed + tally.open(),
            sessions_explained: failures.iter().filter(|failure| failure.explained).count() as u64,
            per_backend: tally.per_backend.clone(),
            failovers: 0,
            gaps_ms: Vec::new(),
            xdp_mode: String::new(),
            seconds: (elapsed.as_secs_f64() * 10.0).round() / 10.0,
            failures,
            events: events.iter().map(event).collect(),
        }
    }

    /// Whether every session that was started was served or explained, and there were any.
    pub(super) fn is_good(&self) -> bool {
        self.sessions_completed > 0 && self.sessions_failed == self.sessions_explained
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "\n{} SMTP sessions in {:.0} s: {} served, {} failed",
            self.sessions_started, self.seconds, self.sessions_completed, self.sessions_failed
        );
        if self.sessions_explained > 0 {
            let _ = write!(
                text,
                " ({} of them open while the virtual addresses moved)",
                self.sessions_explained
            );
        }
        text.push('\n');
        let shares: Vec<String> = self
            .per_backend
            .iter()
            .map(|(name, sessions)| format!("{name} {sessions}"))
            .collect();
        let _ = writeln!(text, "served by: {}", shares.join(", "));
        let _ = write!(text, "failovers: {}", self.failovers);
        for gap in &self.gaps_ms {
            let _ = write!(text, "; after the kill no new connection for {gap} ms");
        }
        let _ = writeln!(text, "\nXDP: {} on every node", self.xdp_mode);
        for failure in self.failures.iter().filter(|failure| !failure.explained) {
            let _ = writeln!(text, "failed without a reason: {}", failure.what);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_never_ended_is_a_failed_one() {
        let mut tally = Tally::default();
        (tally.started, tally.completed) = (10, 9);
        let summary = |tally: &Tally| Summary::new(tally, &[], Duration::from_secs(1));
        assert_eq!(summary(&tally).sessions_failed, 1);
        assert!(!summary(&tally).is_good());
        tally.completed = 10;
        assert!(summary(&tally).is_good());
    }

    #[test]
    fn a_run_without_sessions_is_not_good() {
        assert!(!Summary::new(&Tally::default(), &[], Duration::ZERO).is_good());
    }
}
