//! What outranks every rule: life, the backend's own word, and the operator's.
use super::{
    AgentState, BackendInput, Figures, HealthState, Override, Reason, site::Judged, trust::Trust,
};
use crate::units::WeightPermille;

/// The decision when the rule has none to take. `fresh` are the polled figures unless too old.
///
/// A weight set by the operator does not send sessions to a dead box, but it does outrank the
/// agent's wish, 421s, and every figure.
pub(super) fn settle(
    backend: &BackendInput,
    fresh: Option<&Figures>,
    now_ns: u64,
    trust: Trust,
) -> Option<Judged> {
    let nothing = |reason| Some(Judged::new(WeightPermille(0), reason));
    match backend.operator {
        Some(Override::Drain) => {
            return nothing(Reason::Drained {
                sessions: backend.live.sessions,
            });
        }
        Some(Override::Weight(weight)) if weight.0 == 0 => {
            return nothing(Reason::OperatorWeight { weight });
        }
        Some(Override::Weight(_)) | None => {}
    }
    let for_ns = now_ns.saturating_sub(backend.health.since_ns);
    let why = || backend.health_reason.clone();
    match backend.health.state {
        HealthState::Down => return nothing(Reason::Down { for_ns, why: why() }),
        HealthState::NotServing if trust.checks_fail.is_none() => {
            return nothing(Reason::NotServing { for_ns, why: why() });
        }
        _ => {}
    }
    if let Some(suspect) = backend.suspect.filter(|_| !trust.all_suspect) {
        return nothing(Reason::Suspect {
            for_ns: now_ns.saturating_sub(suspect.since_ns),
            sign: suspect.sign,
        });
    }
    if let Some(Override::Weight(weight)) = backend.operator {
        return Some(Judged::new(
            weight.full(),
            Reason::OperatorWeight { weight },
        ));
    }
    if backend.weight.0 == 0 {
        return nothing(Reason::ConfiguredZero);
    }
    match fresh.and_then(|figures| figures.state) {
        Some(AgentState::Drain) => return nothing(Reason::AgentDrain),
        Some(AgentState::Down) => return nothing(Reason::AgentDown),
        Some(AgentState::Ready) | None => {}
    }
    // Its kernel would answer every SYN for a virtual address that it lacks with a reset.
    if fresh.and_then(|figures| figures.vip_ready) == Some(false) {
        return nothing(Reason::NotReady);
    }
    match fresh.and_then(|figures| figures.weight_percent) {
        Some(0) => nothing(Reason::AgentDrain),
        _ => None,
    }
}

/// The configured weight, or the part of it that the agent asks for: never more than ten times.
pub(super) fn base_weight(backend: &BackendInput, fresh: Option<&Figures>) -> WeightPermille {
    let percent = fresh.and_then(|figures| figures.weight_percent);
    let percent = u64::from(percent.unwrap_or(100).min(1000));
    let weight = u64::from(backend.weight.full().0) * percent / 100;
    WeightPermille(u32::try_from(weight).unwrap_or(u32::MAX).max(1))
}
