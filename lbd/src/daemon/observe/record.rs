//! What happens, kept for people who look later: recent history, and the history on disk.
use tracing::{info, warn};

use super::{
    history::Historian,
    recent::{Figures, Kind, Recent, Severity},
};
use crate::daemon::{
    clock,
    steering::{members::Members, weigher::Weigher},
};

/// Both histories.
#[derive(Debug)]
pub(in crate::daemon) struct Observed {
    pub(in crate::daemon) recent: Recent,
    pub(in crate::daemon) historian: Historian,
}

impl Observed {
    pub(in crate::daemon) fn new(historian: Historian) -> Self {
        Self {
            recent: Recent::default(),
            historian,
        }
    }

    /// Logs what happened, with fields to search for, and notes it.
    pub(in crate::daemon) fn happened(
        &mut self,
        is_master: bool,
        severity: Severity,
        kind: Kind,
        subject: Option<&str>,
        text: String,
    ) {
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
        self.note(is_master, kind, subject, text);
    }

    /// Notes what happened, for people who look later.
    pub(in crate::daemon) fn note(
        &mut self,
        is_master: bool,
        kind: Kind,
        subject: Option<&str>,
        text: String,
    ) {
        let now = clock::unix_s();
        self.historian
            .happened(now, kind.name(), subject, &text, is_master);
        self.recent.events.note(now, kind, subject, text);
    }

    /// Takes a point of every backend's figures when it is time.
    pub(in crate::daemon) fn record_if_due(
        &mut self,
        is_master: bool,
        members: &Members,
        weigher: &Weigher,
    ) {
        let now = clock::unix_s();
        if !self.recent.points.is_due(now) {
            return;
        }
        let figures = members.iter().map(|member| {
            let decision = weigher.decision(member.id);
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
        self.recent.points.add(now, is_master, figures);
    }
}
