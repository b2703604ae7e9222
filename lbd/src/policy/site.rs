//! One site as both rules see it: what is settled already, and the figures of the rest.
use super::{
    Basis, Connections, Count, Decision, Input, Reason, Settings, SiteInput, SiteOutput, operator,
    trust::Trust,
};
use crate::policy::{BackendInput, Figures, HealthState};
use crate::units::WeightPermille;

/// A site with each backend's figures in the form that the rules compare.
pub(super) struct Site<'a> {
    pub(super) now_ns: u64,
    pub(super) settings: &'a Settings,
    pub(super) backends: Vec<Candidate<'a>>,
    /// The average connections of the backends that are online.
    pub(super) average: f64,
    name: &'a str,
    trust: Trust,
}

/// A backend before the rule has judged it.
pub(super) struct Candidate<'a> {
    pub(super) input: &'a BackendInput,
    /// Health, the agent or the operator decided already.
    pub(super) settled: Option<Judged>,
    pub(super) connections: Connections,
    /// The figures, while they are fresh enough to judge by.
    pub(super) fresh: Option<&'a Figures>,
    /// Why it has no room, by its own account.
    pub(super) full: Option<Reason>,
}

/// What was decided on a backend.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// 0: no new sessions.
    pub(super) weight: WeightPermille,
    pub(super) reason: Reason,
    /// Load per unit of weight, where the rule computes one.
    pub(super) load: f64,
}

impl Judged {
    pub(super) fn new(weight: WeightPermille, reason: Reason) -> Self {
        Self {
            weight,
            reason,
            load: 0.0,
        }
    }

    /// Takes nothing now for want of room, life or permission, or is kept only by the guard.
    pub(super) fn can_take_no_more(&self) -> bool {
        self.weight.0 == 0
            || matches!(
                self.reason,
                Reason::KeptByGuard { .. } | Reason::FullButNeeded { .. }
            )
    }
}

impl Candidate<'_> {
    /// Takes part in the site's work: not settled to nothing.
    pub(super) fn online(&self) -> bool {
        self.settled
            .as_ref()
            .is_none_or(|settled| settled.weight.0 > 0)
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Takes no part by a verdict, not by a mere suspicion, which may pass in a moment.
    pub(super) fn is_away(&self) -> bool {
        let is_suspicion = |settled: &Judged| matches!(settled.reason, Reason::Suspect { .. });
        !self.online() && !self.settled.as_ref().is_some_and(is_suspicion)
    }

    /// Why it takes sessions in spite of its failing check.
    fn in_spite(&self, judged: &Judged, trust: Trust) -> Option<Reason> {
        let is_failing = self.input.health.state == HealthState::NotServing;
        let fail = trust
            .checks_fail
            .filter(|_| is_failing && judged.weight.0 > 0)?;
        Some(Reason::CheckAtFault {
            failing: to_u32(fail.failing),
            of: to_u32(fail.of),
            why: self.input.health_reason.clone(),
        })
    }
}

impl<'a> Site<'a> {
    pub(super) fn new(input: &'a Input, site: &'a SiteInput, trust: Trust) -> Self {
        let settings = &input.settings;
        let stale_ns = settings.stale_ns();
        let candidate = |backend: &'a BackendInput| {
            let polled = backend.polled.as_ref();
            let fresh = polled.filter(|polled| polled.age_ns <= stale_ns);
            let fresh = fresh.map(|polled| &polled.figures);
            Candidate {
                input: backend,
                settled: operator::settle(backend, fresh, input.now_ns, trust),
                connections: connections(backend, fresh, settings.count),
                fresh,
                full: full(backend, fresh, input.now_ns),
            }
        };
        let backends: Vec<_> = site.backends.iter().map(candidate).collect();
        let online = || backends.iter().filter(|backend| backend.online());
        let average = mean(online().map(|backend| to_f64(backend.connections.number)));
        Self {
            now_ns: input.now_ns,
            settings,
            backends,
            average,
            name: &site.name,
            trust,
        }
    }

    pub(super) fn servers(&self) -> usize {
        self.backends.len()
    }

    pub(super) fn into_output(self, judged: Vec<Judged>) -> SiteOutput {
        let active = judged.iter().filter(|judged| judged.weight.0 > 0).count();
        let pairs = self.backends.iter().zip(&judged);
        let online = pairs.filter(|(candidate, _)| candidate.online());
        let mean_load = mean(online.map(|(_, judged)| judged.load));
        let trust = self.trust;
        let decide = |(candidate, judged): (&Candidate<'_>, Judged)| Decision {
            id: candidate.input.id,
            weight: judged.weight,
            accepting: judged.weight.0 > 0,
            reason: candidate.in_spite(&judged, trust).unwrap_or(judged.reason),
            basis: Basis {
                connections: candidate.connections,
                queued: candidate.fresh.and_then(|figures| figures.queued),
                load: judged.load,
                age_ns: candidate.input.polled.map(|polled| polled.age_ns),
            },
        };
        SiteOutput {
            name: self.name.to_owned(),
            average: self.average,
            mean_load,
            active: to_u32(active),
            servers: to_u32(self.backends.len()),
            spilling: false,
            backends: self.backends.iter().zip(judged).map(decide).collect(),
        }
    }
}

/// It answers 421, or has as many sessions as its agent allows it.
fn full(backend: &BackendInput, fresh: Option<&Figures>, now_ns: u64) -> Option<Reason> {
    if backend.health.state == HealthState::Full {
        let for_ns = now_ns.saturating_sub(backend.health.since_ns);
        return Some(Reason::Full { for_ns });
    }
    let limit = fresh?.session_limit?;
    // Its own count has sessions that came past lbd, ours those of the last seconds.
    let sessions = fresh?.sessions.unwrap_or(0).max(backend.live.sessions);
    (sessions >= limit).then_some(Reason::AtLimit { sessions, limit })
}

/// What the source says while it is fresh, else what our own flow table says.
fn connections(backend: &BackendInput, fresh: Option<&Figures>, count: Count) -> Connections {
    let number = match count {
        Count::UniqueIps => fresh
            .and_then(|figures| figures.unique_ips)
            .or(backend.live.unique_sources)
            .unwrap_or(backend.live.sessions),
        Count::Sessions => fresh
            .and_then(|figures| figures.sessions)
            .unwrap_or(backend.live.sessions),
    };
    Connections { number, count }
}

/// 0 for nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts above 2^53 are garbage, and their order is kept"
)]
pub(super) fn to_f64(count: u64) -> f64 {
    count as f64
}

pub(super) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
