//! The spill from a full site to the sites that stand in for it.
//!
//! `spill: [b]` in site `a` says that `b` takes over what `a` cannot take. A site that others spill
//! to and that spills to no site itself *stands by*: it gets no session until then. Sites that spill
//! to each other all take sessions by weight, each judged by its own numbers, so that one with
//! room takes over from one without.
use std::collections::HashMap;

use super::{Output, Reason, SiteInput};
use crate::units::WeightPermille;

/// Steps with room after which a site takes everything back: one good figure is no recovery.
const CALM_STEPS: u32 = 3;

/// Whether a site spills.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Memory {
    spilling: bool,
    calm_steps: u32,
}

impl Memory {
    fn step(&mut self, saturated: bool) -> bool {
        if saturated {
            *self = Self {
                spilling: true,
                calm_steps: 0,
            };
        } else if self.spilling {
            self.calm_steps += 1;
            self.spilling = self.calm_steps < CALM_STEPS;
        }
        self.spilling
    }
}

/// `saturated[i]`: every backend of site `i` is full.
pub(super) fn apply(
    sites: &[SiteInput],
    saturated: &[bool],
    memory: &mut HashMap<String, Memory>,
    output: &mut Output,
) {
    for (i, site) in sites.iter().enumerate() {
        if !site.spill.is_empty() {
            let memory = memory.entry(site.name.clone()).or_default();
            output.sites[i].spilling = memory.step(saturated[i]);
        }
    }
    for (i, site) in sites.iter().enumerate() {
        if !site.spill.is_empty() {
            continue;
        }
        let spills_here = |j: &usize| sites[*j].spill.contains(&site.name);
        let mut from = (0..sites.len()).filter(spills_here);
        let Some(first) = from.clone().next() else {
            continue;
        };
        match from.find(|j| output.sites[*j].spilling) {
            Some(spilling) => take_over(output, i, &sites[spilling].name),
            None => stand_by(output, i, &sites[first].name),
        }
    }
}

fn take_over(output: &mut Output, site: usize, from: &str) {
    for decision in &mut output.sites[site].backends {
        if matches!(decision.reason, Reason::Normal { .. }) {
            decision.reason = Reason::TakesOver {
                site: from.to_owned(),
            };
        }
    }
}

fn stand_by(output: &mut Output, site: usize, stands_in_for: &str) {
    let site = &mut output.sites[site];
    site.active = 0;
    for decision in &mut site.backends {
        if decision.accepting {
            decision.accepting = false;
            decision.weight = WeightPermille(0);
            decision.reason = Reason::StandIn {
                site: stands_in_for.to_owned(),
            };
        }
    }
}
