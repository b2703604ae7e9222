//! Weights that follow queues and unique sources.
//!
//! Connection counts alone mislead: a box with a full queue can hold few sessions, and one message
//! can hold four. The target is `weight * max(floor, 1 / (1 + max(0, load - site mean) / scale))`,
//! with the load from unique sources and queue per unit of weight; the weight moves towards it,
//! faster down than up.
use std::collections::HashMap;

use super::fast_fail::{Lifetime, median_without};
use super::guard::{self, Suspect};
use super::no_mail::{self, Mail};
use super::site::{Candidate, Judged, Site, mean, to_f64, to_u32};
use super::{Reason, Tuning, operator};
use crate::units::WeightPermille;

/// Below this part of its weight a backend counts as lowered; less is noise.
const FULL_FACTOR: f64 = 0.995;

/// What stays of a backend between two steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// The smoothed part of the weight, 0 to 1.
    factor: f64,
    /// Shut off by the rule.
    off: bool,
    /// Took no part in the step before.
    away: bool,
    /// When it came back, on the input's clock.
    returned_ns: Option<u64>,
    lifetime: Lifetime,
    mail: Mail,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            factor: 1.0,
            off: false,
            away: false,
            returned_ns: None,
            lifetime: Lifetime::default(),
            mail: Mail::default(),
        }
    }
}

impl Memory {
    fn observe(&mut self, candidate: &Candidate<'_>, now_ns: u64, tuning: &Tuning) {
        self.lifetime.observe(&candidate.input.live, tuning);
        self.mail.observe(&candidate.input.live);
        let away = candidate.is_away();
        if self.away && !away {
            self.returned_ns = Some(now_ns);
            self.factor = 1.0;
            self.lifetime = Lifetime::default();
            self.mail = Mail::default();
        }
        self.away = away;
    }
}

/// A step's figures of one backend, per unit of weight: divided by its `share`, its configured
/// weight over the site's mean. So a site of equal weights reads as what the boxes report.
struct Measured {
    share: f64,
    connections: f64,
    load: f64,
}

/// What all backends of the site are judged against.
struct Round {
    /// Of the connections per unit of weight.
    average: f64,
    mean_load: f64,
    active: u32,
    servers: u32,
}

pub(super) fn judge(site: &Site<'_>, memories: &mut HashMap<String, Memory>) -> Vec<Judged> {
    for candidate in &site.backends {
        let memory = memories.entry(candidate.input.name.clone()).or_default();
        memory.observe(candidate, site.now_ns, &site.settings.tuning);
    }
    let measured = measure(site);
    let online = || {
        let pairs = site.backends.iter().zip(&measured);
        pairs
            .filter(|(candidate, _)| candidate.online())
            .map(|(_, measured)| measured)
    };
    let mut round = Round {
        average: mean(online().map(|measured| measured.connections)),
        mean_load: mean(online().map(|measured| measured.load)),
        active: 0,
        servers: to_u32(site.servers()),
    };
    let (off, kept) = shut_off(site, &measured, &round, memories);
    round.active = to_u32(online().count() - off.len());
    let lifetimes = Lifetimes::of(site, memories);
    let mail = mail_of_all(site, memories);
    let mut judged = Vec::with_capacity(site.backends.len());
    for (index, (candidate, measured)) in site.backends.iter().zip(&measured).enumerate() {
        let memory = memories.entry(candidate.input.name.clone()).or_default();
        memory.off = off.contains(&index);
        let one = One {
            site,
            round: &round,
            candidate,
            measured,
            kept: kept.contains(&index),
            mail,
            others_lifetime_ns: lifetimes.others_median(known_lifetime(site, candidate, memory)),
        };
        judged.push(one.judge(memory));
    }
    judged
}

fn measure(site: &Site<'_>) -> Vec<Measured> {
    // What it can do, not what its agent or an operator wishes for now.
    let weight = |candidate: &Candidate<'_>| f64::from(candidate.input.weight.0);
    let online = || site.backends.iter().filter(|candidate| candidate.online());
    let mean_weight = mean(online().map(weight)).max(1.0);
    let share = |candidate: &Candidate<'_>| {
        let share = weight(candidate) / mean_weight;
        if share > 0.0 { share } else { 1.0 }
    };
    let queue = |candidate: &Candidate<'_>| {
        let figures = candidate.fresh?;
        let queued = figures.queued.map(to_f64);
        Some(queued? + to_f64(figures.not_accepted.unwrap_or(0)))
    };
    // A box that cannot say its queue is taken for an average one: silence must not pay.
    let known = online().filter_map(|candidate| Some(queue(candidate)? / share(candidate)));
    let mean_queue = mean(known);
    let measure = |candidate| {
        let share = share(candidate);
        let connections = to_f64(candidate.connections.number) / share;
        let queue = queue(candidate).map_or(mean_queue, |queue| queue / share);
        Measured {
            share,
            connections,
            load: connections + queue,
        }
    };
    site.backends.iter().map(measure).collect()
}

/// Who is shut off and who only would be, by place in the site.
fn shut_off(
    site: &Site<'_>,
    measured: &[Measured],
    round: &Round,
    memories: &HashMap<String, Memory>,
) -> (Vec<usize>, Vec<usize>) {
    let mut suspects = Vec::new();
    let mut unsuspected = 0;
    for (index, (candidate, measured)) in site.backends.iter().zip(measured).enumerate() {
        if candidate.settled.is_some() {
            unsuspected += usize::from(candidate.online());
            continue;
        }
        let was_off = memories
            .get(&candidate.input.name)
            .is_some_and(|memory| memory.off);
        let limit = limit(site, round, was_off);
        if measured.connections >= limit || candidate.is_full() {
            suspects.push(Suspect {
                index,
                full: candidate.is_full(),
                was_off,
                excess: measured.connections - limit,
            });
        } else {
            unsuspected += 1;
        }
    }
    guard::split(
        suspects,
        unsuspected,
        site.servers(),
        site.settings.min_active,
    )
}

/// Connections per unit of weight from which on a backend is off.
///
/// The high threshold alone would shut off half of a site that is evenly busy, and so double the
/// other half's work: a box must also be above its site's average by half the allowance.
fn limit(site: &Site<'_>, round: &Round, was_off: bool) -> f64 {
    let settings = site.settings;
    let back = if was_off {
        settings.tuning.hysteresis
    } else {
        1.0
    };
    let high =
        (settings.high_threshold * back).max(round.average + settings.above_average * back / 2.0);
    high.min(round.average + settings.above_average * back)
}

/// The smoothed lifetimes of the backends of which enough sessions were seen, from the shortest.
struct Lifetimes(Vec<f64>);

impl Lifetimes {
    fn of(site: &Site<'_>, memories: &HashMap<String, Memory>) -> Self {
        let lifetimes = site.backends.iter().filter_map(|candidate| {
            let memory = memories.get(&candidate.input.name)?;
            known_lifetime(site, candidate, memory)
        });
        let mut sorted: Vec<f64> = lifetimes.collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The median without a backend's own, where it is among them.
    fn others_median(&self, own: Option<f64>) -> Option<f64> {
        let place = |own| self.0.partition_point(|lifetime| *lifetime < own);
        median_without(&self.0, own.map(place))
    }
}

fn mail_of_all(site: &Site<'_>, memories: &HashMap<String, Memory>) -> no_mail::Sum {
    let online = site.backends.iter().filter(|candidate| candidate.online());
    let mail = online.filter_map(|candidate| memories.get(&candidate.input.name));
    let sum = |sum: no_mail::Sum, memory: &Memory| {
        let own = memory.mail.sum();
        no_mail::Sum {
            sessions: sum.sessions + own.sessions,
            taken: sum.taken + own.taken,
        }
    };
    mail.fold(no_mail::Sum::default(), sum)
}

fn known_lifetime(site: &Site<'_>, candidate: &Candidate<'_>, memory: &Memory) -> Option<f64> {
    let known = candidate.online() && memory.lifetime.known(&site.settings.tuning);
    known.then_some(memory.lifetime.mean_ns)
}

/// All that one backend's judgement needs.
struct One<'a> {
    site: &'a Site<'a>,
    round: &'a Round,
    candidate: &'a Candidate<'a>,
    measured: &'a Measured,
    kept: bool,
    /// Sessions and messages of the whole site.
    mail: no_mail::Sum,
    others_lifetime_ns: Option<f64>,
}

impl One<'_> {
    fn judge(&self, memory: &mut Memory) -> Judged {
        let failing = memory
            .lifetime
            .fails(self.others_lifetime_ns, self.tuning());
        let takes_no_mail = memory.mail.fails(self.mail);
        self.smooth(memory);
        if let Some(settled) = &self.candidate.settled {
            return self.with_load(settled.weight, settled.reason.clone());
        }
        if memory.off {
            // Back from a shut-off it starts low: it was the busiest of all a moment ago.
            memory.factor = memory.factor.min(self.tuning().floor);
            return self.with_load(WeightPermille(0), self.shut_off_reason(memory));
        }
        let (mut factor, mut reason) = (memory.factor, self.loaded(memory.factor));
        if let Some(part) = self.slow_start(memory) {
            factor *= part;
            reason = self.slow_start_reason(memory, factor);
        }
        if failing {
            factor = factor.min(self.tuning().fast_fail_floor);
            reason = self.failing_reason(memory, factor);
        }
        if takes_no_mail {
            factor = factor.min(self.tuning().fast_fail_floor);
            reason = self.no_mail_reason(memory, factor);
        }
        if self.kept {
            reason = self.kept_reason();
        }
        let base = operator::base_weight(self.candidate.input, self.candidate.fresh);
        self.with_load(scaled(base, factor), reason)
    }

    /// Moves the smoothed factor one step towards its target.
    fn smooth(&self, memory: &mut Memory) {
        let tuning = self.tuning();
        let excess = (self.measured.load - self.round.mean_load).max(0.0);
        let target = (1.0 / (1.0 + excess / tuning.scale)).max(tuning.floor);
        let target = match self.trust() {
            Some(trust) => 1.0 - (1.0 - memory.factor) * trust,
            None => target,
        };
        let step = if target < memory.factor {
            tuning.smoothing
        } else {
            tuning.smoothing / 2.0
        };
        memory.factor += (target - memory.factor) * step.clamp(0.0, 1.0);
    }

    /// How far figures that are too old to judge by still hold: from 1 to 0 within as many polls
    /// again as made them stale. `None` while they are fresh, and for a backend without a source.
    fn trust(&self) -> Option<f64> {
        let polled = self.candidate.input.polled.as_ref()?;
        if self.candidate.fresh.is_some() {
            return None;
        }
        let settings = self.site.settings;
        let stale_ns = to_f64(settings.poll_interval_ns * settings.tuning.stale_polls).max(1.0);
        Some((2.0 - to_f64(polled.age_ns) / stale_ns).clamp(0.0, 1.0))
    }

    fn slow_start(&self, memory: &Memory) -> Option<f64> {
        let tuning = self.tuning();
        let since_ns = self.site.now_ns.saturating_sub(memory.returned_ns?);
        let part = to_f64(since_ns) / to_f64(tuning.slow_start_ns).max(1.0);
        (part < 1.0).then_some(part.max(tuning.floor))
    }

    fn tuning(&self) -> &Tuning {
        &self.site.settings.tuning
    }

    fn with_load(&self, weight: WeightPermille, reason: Reason) -> Judged {
        Judged {
            weight,
            reason,
            load: self.measured.load,
        }
    }

    fn loaded(&self, factor: f64) -> Reason {
        let connections = self.candidate.connections;
        if let (Some(_), Some(polled)) = (self.trust(), &self.candidate.input.polled) {
            return Reason::Stale {
                age_ns: polled.age_ns,
                percent: percent(factor),
            };
        }
        if factor < FULL_FACTOR {
            return Reason::Loaded {
                percent: percent(factor),
                connections,
                queued: self.candidate.fresh.and_then(|figures| figures.queued),
                load: self.measured.load,
                mean: self.round.mean_load,
            };
        }
        match self
            .candidate
            .fresh
            .and_then(|figures| figures.weight_percent)
        {
            Some(percent) if percent != 100 => Reason::AgentWeight { percent },
            _ => Reason::Normal {
                connections,
                average: self.round.average * self.measured.share,
            },
        }
    }

    fn slow_start_reason(&self, memory: &Memory, factor: f64) -> Reason {
        let since = memory.returned_ns.unwrap_or(self.site.now_ns);
        Reason::SlowStart {
            percent: percent(factor),
            since_ns: self.site.now_ns.saturating_sub(since),
            of_ns: self.tuning().slow_start_ns,
        }
    }

    fn failing_reason(&self, memory: &Memory, factor: f64) -> Reason {
        Reason::FastFailing {
            percent: percent(factor),
            lifetime_ns: to_u64(memory.lifetime.mean_ns),
            others_ns: to_u64(self.others_lifetime_ns.unwrap_or(0.0)),
        }
    }

    fn no_mail_reason(&self, memory: &Memory, factor: f64) -> Reason {
        let own = memory.mail.sum();
        Reason::TakesNoMail {
            percent: percent(factor),
            sessions: to_u64(own.sessions),
            taken: to_u64(own.taken),
            expected: to_u64(memory.mail.expected(self.mail).unwrap_or(0.0)),
        }
    }

    /// In the backend's own connections, not per unit of weight: what its `ss` would show.
    fn shut_off_reason(&self, memory: &Memory) -> Reason {
        let (share, settings) = (self.measured.share, self.site.settings);
        let connections = self.candidate.connections;
        let (active, servers) = (self.round.active, self.round.servers);
        if let Some(full) = &self.candidate.full {
            return full.clone();
        }
        let above_average = self.round.average + settings.above_average;
        if self.measured.connections >= above_average {
            Reason::ShutOffAboveAverage {
                connections,
                average: self.round.average * share,
                above: settings.above_average * share,
                active,
                servers,
            }
        } else if self.measured.connections >= limit(self.site, self.round, false) {
            Reason::ShutOffHighThreshold {
                connections,
                threshold: settings.high_threshold * share,
                active,
                servers,
            }
        } else {
            Reason::StillShutOff {
                connections,
                returns_below: limit(self.site, self.round, memory.off) * share,
                active,
                servers,
            }
        }
    }

    fn kept_reason(&self) -> Reason {
        let (active, servers) = (self.round.active, self.round.servers);
        if self.candidate.is_full() {
            return Reason::FullButNeeded { active, servers };
        }
        Reason::KeptByGuard {
            connections: self.candidate.connections,
            limit: limit(self.site, self.round, false) * self.measured.share,
            active,
            servers,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the weight"
)]
fn scaled(base: WeightPermille, factor: f64) -> WeightPermille {
    WeightPermille(((f64::from(base.0) * factor.clamp(0.0, 1.0)).round() as u32).max(1))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and 100"
)]
fn percent(factor: f64) -> u32 {
    (factor.clamp(0.0, 1.0) * 100.0).round() as u32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a mean of u64 nanoseconds"
)]
fn to_u64(mean_ns: f64) -> u64 {
    mean_ns as u64
}
