//! What happens, kept for people who look later: recent history, and the history on disk.
use tracing::{info, warn};

use super::{
    history::Historian,
    recent::{Figures, Kind, Recent, Severity},
};
use crate::{
    config::Config,
    daemon::{
        clock,
        operator::notify::Notifier,
        steering::{members::Members, weigher::Weigher},
    },
    dataplane::DataPlane,
};

/// Both histories, and the program that is told of what happens.
#[derive(Debug)]
pub(in crate::daemon) struct Observed {
    pub(in crate::daemon) recent: Recent,
    pub(in crate::daemon) historian: Historian,
    pub(in crate::daemon) notifier: Notifier,
    /// This node's role, which the history says with each event.
    pub(in crate::daemon) is_master: bool,
}

impl Observed {
    pub(in crate::daemon) fn new(historian: Historian, notifier: Notifier) -> Self {
        Self {
            recent: Recent::default(),
            historian,
            notifier,
            is_master: false,
        }
    }

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
        let (now, text) = (clock::unix_s(), text.into());
        self.historian
            .happened(now, kind.name(), subject, &text, self.is_master);
        self.recent.events.note(now, kind, subject, text);
    }

    /// Takes a point of every backend's figures when it is time.
    fn record_if_due(&mut self, members: &Members, weigher: &Weigher) {
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
        self.recent.points.add(now, self.is_master, figures);
    }

    /// Records what is due.
    pub(in crate::daemon) fn look(
        &mut self,
        plane: &DataPlane,
        members: &Members,
        weigher: &Weigher,
    ) {
        self.record_if_due(members, weigher);
        self.historian
            .look((plane, members, weigher), self.is_master);
    }

    /// Takes over a configuration.
    pub(in crate::daemon) fn follow(&self, config: &Config) {
        self.historian.follow(config);
        self.notifier.follow(&config.node.notify);
    }
}
