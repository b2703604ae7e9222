//! The event loop's side of recent history.
use tracing::{info, warn};

use super::recent::{Figures, Kind, Severity};
use crate::daemon::{clock, event_loop::EventLoop};

impl EventLoop {
    /// Logs what happened, with fields to search for, and notes it.
    pub(in crate::daemon) fn happened(
        &mut self,
        severity: Severity,
        kind: Kind,
        subject: Option<&str>,
        text: impl Into<String>,
    ) {
        let text = text.into();
        let event = kind.name();
        let (backend, interface) = match kind {
            Kind::Link => (None, subject),
            _ => (subject, None),
        };
        let by = match kind {
            Kind::Operator => "operator: ",
            _ => "",
        };
        match severity {
            Severity::Info => info!(event, backend, interface, "{by}{text}"),
            Severity::Warn => warn!(event, backend, interface, "{by}{text}"),
        }
        self.note(kind, subject, text);
    }

    /// Notes what happened, for people who look later.
    pub(in crate::daemon) fn note(
        &mut self,
        kind: Kind,
        subject: Option<&str>,
        text: impl Into<String>,
    ) {
        let now = clock::unix_s();
        let text = text.into();
        let as_master = self.election.is_master();
        self.historian
            .happened(now, kind.name(), subject, &text, as_master);
        self.recent.events.note(now, kind, subject, text);
    }

    /// Takes a point of every backend's figures when it is time.
    pub(in crate::daemon) fn record_if_due(&mut self) {
        let now = clock::unix_s();
        if !self.recent.points.is_due(now) {
            return;
        }
        let figures = self.members.iter().map(|member| {
            let decision = self.weigher.decision(member.id);
            let figures = Figures {
                sessions: member.live.sessions,
                unique_sources: member.live.unique_sources.unwrap_or(0),
                queued: member
                    .answered
                    .as_ref()
                    .and_then(|(sample, _)| sample.queued),
                weight_permille: decision.map_or(0, |decision| decision.weight.0),
                accepting: decision.is_some_and(|decision| decision.accepting),
            };
            (member.name.clone(), figures)
        });
        let figures = figures.collect();
        let master = self.election.is_master();
        self.recent.points.add(now, master, figures);
    }
}
