//! The decisions as a person would say them, and as JSON.
use std::fmt::Write;

use serde_json::{Value, json};

use super::{BackendInput, Decision, Input, Output, SiteOutput};

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

/// The output with each backend's name, configured weight and its reason as a sentence.
#[must_use]
pub fn json(input: &Input, output: &Output, node: Option<&str>) -> Value {
    let mut sites = Vec::new();
    for (site_input, site) in input.sites.iter().zip(&output.sites) {
        let pairs = site_input.backends.iter().zip(&site.backends);
        let wanted = pairs.filter(|(backend, _)| node.is_none_or(|node| backend.name == node));
        let backends: Vec<Value> = wanted
            .map(|(backend, decision)| {
                json!({
                    "name": backend.name,
                    "id": backend.id,
                    "configured_weight": backend.weight,
                    "weight_permille": decision.weight,
                    "accepting": decision.accepting,
                    "why": decision.reason.to_string(),
                    "reason": decision.reason,
                    "basis": decision.basis,
                })
            })
            .collect();
        if !backends.is_empty() {
            sites.push(json!({
                "site": site.name,
                "active": site.active,
                "servers": site.servers,
                "average": site.average,
                "mean_load": site.mean_load,
                "spilling": site.spilling,
                "backends": backends,
            }));
        }
    }
    json!({ "sites": sites })
}
