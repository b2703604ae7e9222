//! The decisions as a person would say them, and as JSON.
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::{BackendInput, Basis, Decision, Input, Output, Reason, SiteOutput};
use crate::units::{BackendId, Weight, WeightPermille};

/// Two lines a backend: weight and figures, then why. `node` keeps one backend.
#[must_use]
pub fn text(input: &Input, output: &Output, node: Option<&str>) -> String {
    let mut text = String::new();
    for (site_input, site) in input.sites.iter().zip(&output.sites) {
        let pairs = site_input.backends.iter().zip(&site.backends);
        let wanted = pairs.filter(|(backend, _)| node.is_none_or(|node| backend.name == node));
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            continue;
        }
        headline(&mut text, site);
        let width = wanted
            .iter()
            .map(|(backend, _)| backend.name.chars().count())
            .max();
        for (backend, decision) in wanted {
            entry(&mut text, backend, decision, width.unwrap_or(0));
        }
    }
    text
}

fn headline(text: &mut String, site: &SiteOutput) {
    let _ = write!(
        text,
        "site {}: {} of {} servers active, average {:.0} connections",
        site.name, site.active, site.servers, site.average
    );
    if site.mean_load > 0.0 {
        let _ = write!(text, ", mean load {:.0}", site.mean_load);
    }
    let spilling = if site.spilling { ", spills" } else { "" };
    let _ = writeln!(text, "{spilling}");
}

fn entry(text: &mut String, backend: &BackendInput, decision: &Decision, width: usize) {
    let name = &backend.name;
    let weight = f64::from(decision.weight.0) / 1000.0;
    let _ = write!(
        text,
        "  {name:<width$}  weight {weight:.1} of {}, {}",
        backend.weight.0, decision.basis.connections
    );
    if let Some(queued) = decision.basis.queued {
        let _ = write!(text, ", {queued} queued");
    }
    let _ = writeln!(text, "\n  {:<width$}  {}", "", decision.reason);
}

/// What `lbd explain --json` prints: every decision with its figures.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct Explanation {
    /// Sites that have a backend which was asked about.
    pub sites: Vec<SiteExplanation>,
}

/// A site's decisions.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct SiteExplanation {
    /// Its name.
    pub site: String,
    /// Backends that take new sessions.
    pub active: u32,
    /// Backends of the site.
    pub servers: u32,
    /// The average connections of its backends that are online.
    pub average: f64,
    /// Their mean load per unit of weight; 0 under the seed's rule.
    pub mean_load: f64,
    /// It is full: the sites it spills to take a share.
    pub spilling: bool,
    /// In the configuration's order.
    pub backends: Vec<BackendExplanation>,
}

/// A backend's decision.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct BackendExplanation {
    /// Its name.
    pub name: String,
    /// Its index in the maps.
    pub id: BackendId,
    /// The configured weight.
    pub configured_weight: Weight,
    /// The effective weight, in thousandths of a weight's unit.
    pub weight_permille: WeightPermille,
    /// Whether it gets new sessions.
    pub accepting: bool,
    /// The reason as a sentence.
    pub why: String,
    /// The reason with its numbers.
    pub reason: Reason,
    /// The figures as the policy took them.
    pub basis: Basis,
}

/// The output with each backend's name, configured weight and its reason as a sentence.
#[must_use]
pub fn explanation(input: &Input, output: &Output, node: Option<&str>) -> Explanation {
    let pairs = input.sites.iter().zip(&output.sites);
    let sites = pairs.map(|(site_input, site)| SiteExplanation {
        site: site.name.clone(),
        active: site.active,
        servers: site.servers,
        average: site.average,
        mean_load: site.mean_load,
        spilling: site.spilling,
        backends: site_input
            .backends
            .iter()
            .zip(&site.backends)
            .filter(|(backend, _)| node.is_none_or(|node| backend.name == node))
            .map(|(backend, decision)| BackendExplanation {
                name: backend.name.clone(),
                id: backend.id,
                configured_weight: backend.weight,
                weight_permille: decision.weight,
                accepting: decision.accepting,
                why: decision.reason.to_string(),
                reason: decision.reason.clone(),
                basis: decision.basis,
            })
            .collect(),
    });
    Explanation {
        sites: sites.filter(|site| !site.backends.is_empty()).collect(),
    }
}
