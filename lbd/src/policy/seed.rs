//! The rule of the `ExchangeDefender` inbound balancer, exactly.
//!
//! ```text
//! if active_servers >= servers / 2
//!    and (connections > high_threshold or connections >= site_average + 50)
//!     shut off new connections to the node
//! ```
//!
//! Its prose decides where the published code is unclear: *active* means online, so nodes that the
//! rule itself shut off still count as active (and it may shut off a whole site); *above* the
//! threshold means shut off. Nothing is remembered: a node returns as soon as the rule lets it.
use super::site::{Candidate, Judged, Site, to_f64, to_u32};
use super::{Reason, operator};
use crate::units::WeightPermille;

pub(super) fn judge(site: &Site<'_>) -> Vec<Judged> {
    let online = site
        .backends
        .iter()
        .filter(|candidate| candidate.online())
        .count();
    let over = |candidate: &&Candidate<'_>| {
        candidate.settled.is_none() && limit(site, candidate).is_some() || candidate.is_full()
    };
    let shut = site.backends.iter().filter(over).count();
    let needed = to_f64(site.servers() as u64) * site.settings.min_active;
    let may_shut = to_f64(online as u64) >= needed;
    let numbers = Numbers {
        online: to_u32(online),
        left: to_u32(online.saturating_sub(shut)),
        servers: to_u32(site.servers()),
        may_shut,
    };
    let judge = |candidate| judge_one(site, candidate, &numbers);
    site.backends.iter().map(judge).collect()
}

struct Numbers {
    online: u32,
    left: u32,
    servers: u32,
    may_shut: bool,
}

fn judge_one(site: &Site<'_>, candidate: &Candidate<'_>, numbers: &Numbers) -> Judged {
    if let Some(settled) = &candidate.settled {
        return settled.clone();
    }
    let weight = operator::base_weight(candidate.input, candidate.fresh);
    let connections = candidate.connections;
    let reason = match (limit(site, candidate), &candidate.full) {
        (None, Some(full)) if numbers.may_shut => full.clone(),
        (None, Some(_)) => Reason::FullButNeeded {
            active: numbers.online,
            servers: numbers.servers,
        },
        (None, None) => Reason::Normal {
            connections,
            average: site.average,
        },
        (Some(limit), _) if !numbers.may_shut => Reason::KeptByGuard {
            connections,
            limit: limit.value(),
            active: numbers.online,
            servers: numbers.servers,
        },
        (Some(Limit::High(threshold)), _) => Reason::ShutOffHighThreshold {
            connections,
            threshold,
            active: numbers.left,
            servers: numbers.servers,
        },
        (Some(Limit::Average { average, above }), _) => Reason::ShutOffAboveAverage {
            connections,
            average,
            above,
            active: numbers.left,
            servers: numbers.servers,
        },
    };
    let shut = matches!(
        reason,
        Reason::ShutOffHighThreshold { .. }
            | Reason::ShutOffAboveAverage { .. }
            | Reason::Full { .. }
            | Reason::AtLimit { .. }
    );
    Judged::new(if shut { WeightPermille(0) } else { weight }, reason)
}

enum Limit {
    High(f64),
    Average { average: f64, above: f64 },
}

impl Limit {
    fn value(&self) -> f64 {
        match self {
            Self::High(threshold) => *threshold,
            Self::Average { average, above } => average + above,
        }
    }
}

/// The limit that the node is over.
fn limit(site: &Site<'_>, candidate: &Candidate<'_>) -> Option<Limit> {
    let connections = to_f64(candidate.connections.number);
    let settings = site.settings;
    if connections > settings.high_threshold {
        return Some(Limit::High(settings.high_threshold));
    }
    let (average, above) = (site.average, settings.above_average);
    (connections >= average + above).then_some(Limit::Average { average, above })
}
