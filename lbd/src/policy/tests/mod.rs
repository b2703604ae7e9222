//! What must hold under either rule, and each rule's own cases.
mod explain;
mod properties;
mod queue_aware;
mod ranks;
mod seed;
mod spill;

use super::*;
use crate::units::{BackendId, Weight};

pub(super) const SECOND_NS: u64 = 1_000_000_000;
const START_NS: u64 = 1_000 * SECOND_NS;

/// Figures as an agent that is in good order reports them.
pub(super) fn figures(unique_ips: u64, queued: u64) -> Figures {
    Figures {
        unique_ips: Some(unique_ips),
        sessions: Some(unique_ips * 2),
        queued: Some(queued),
        deferred: Some(0),
        not_accepted: Some(0),
        ..Figures::default()
    }
}

/// A site of backends `mx1..`, ids from `first_id`, weight 100, with so many unique sources each.
pub(super) fn site(name: &str, first_id: u16, connections: &[u64]) -> SiteInput {
    let backends = (first_id..).zip(connections).map(|(id, connections)| {
        let mut backend = BackendInput::new(BackendId(id), format!("mx{}", id + 1), Weight(100));
        backend.polled = Some(Polled {
            age_ns: 0,
            figures: figures(*connections, 0),
        });
        backend.live.sessions = connections * 2;
        backend.live.unique_sources = Some(*connections);
        backend
    });
    SiteInput {
        name: name.to_owned(),
        spill: Vec::new(),
        backends: backends.collect(),
    }
}

pub(super) fn input(kind: Kind, sites: Vec<SiteInput>) -> Input {
    Input {
        now_ns: START_NS,
        settings: Settings {
            kind,
            ..Settings::default()
        },
        mode: Mode::ActiveActive,
        sites,
    }
}

/// One site, judged once by a policy without a past.
pub(super) fn judged(kind: Kind, connections: &[u64]) -> Output {
    Policy::new().step(&input(kind, vec![site("dallas", 0, connections)]))
}

pub(super) fn weights(output: &Output) -> Vec<u32> {
    output
        .decisions()
        .map(|decision| decision.weight.0)
        .collect()
}

pub(super) fn accepting(output: &Output) -> Vec<bool> {
    output
        .decisions()
        .map(|decision| decision.accepting)
        .collect()
}

/// One interval later.
pub(super) fn later(input: &mut Input) {
    input.now_ns += input.settings.poll_interval_ns;
}
