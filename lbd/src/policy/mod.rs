//! From what the backends report to the weight each gets, with the reason.
//!
//! Pure: [`Policy::step`] takes the time and everything that is known, and returns every
//! backend's weight. Only smoothed figures stay between two steps. The order of authority:
//!
//! 1. health and the backend's own agent: what is dead takes nothing (`operator`);
//! 2. the operator's drain or weight (`operator`);
//! 3. the policy: `seed` or `queue_aware`, within the `guard` of half a site's servers;
//! 4. the spill from a full site to its stand-in (`spill`), and in
//!    active-passive mode the choice of the one box that takes everything (`mode`).
//!
//! The figures come as [`Figures`], not as `stats::Sample`: the two modules are at one level and
//! do not import each other, so the poller translates.
pub mod explain;
mod fast_fail;
mod guard;
mod input;
mod mode;
mod no_mail;
mod operator;
mod output;
mod queue_aware;
pub mod queue_term;
mod reason;
mod seed;
mod site;
mod spill;
#[cfg(test)]
mod tests;
mod trust;

use std::collections::{HashMap, HashSet};

pub use input::{
    AgentState, BackendInput, Count, Figures, Health, HealthState, Input, Kind, Live, Mode,
    Override, Polled, Settings, Sign, SiteInput, Suspect, Tuning,
};
pub use output::{Basis, Decision, Output, SiteOutput};
pub use queue_term::{QueueTerms, Said};
pub use reason::{Connections, Reason};

use site::{Judged, Site};
use trust::Trust;

/// The policy with what it remembers: smoothed figures a backend, and which sites spill.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// By name: an id that is given anew must not bring its former owner's past.
    queue_aware: HashMap<String, queue_aware::Memory>,
    spill: HashMap<String, spill::Memory>,
}

impl Policy {
    /// A policy that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges every backend. Sites and backends come out in the order they went in.
    ///
    /// To be called once every `stats.interval`: smoothing counts steps, not seconds.
    pub fn step(&mut self, input: &Input) -> Output {
        self.forget_removed(input);
        let trust = Trust::of(input);
        let mut output = Output {
            sites: Vec::with_capacity(input.sites.len()),
        };
        let mut saturated = Vec::with_capacity(input.sites.len());
        for site_input in &input.sites {
            let site = Site::new(input, site_input, trust);
            let judged = match input.settings.kind {
                Kind::Seed => seed::judge(&site),
                Kind::QueueAware => queue_aware::judge(&site, &mut self.queue_aware),
            };
            saturated.push(judged.iter().all(Judged::can_take_no_more));
            output.sites.push(site.into_output(judged));
        }
        spill::apply(&input.sites, &saturated, &mut self.spill, &mut output);
        mode::apply(input, &mut output);
        output
    }

    /// What [`Self::step`] would decide, without a step: nothing is remembered. For an order between
    /// two steps, which is no news of the backends' figures.
    #[must_use]
    pub fn preview(&self, input: &Input) -> Output {
        self.clone().step(input)
    }

    fn forget_removed(&mut self, input: &Input) {
        if self.queue_aware.len() > input.backend_count() {
            let backends = input.sites.iter().flat_map(|site| &site.backends);
            let names: HashSet<&str> = backends.map(|backend| backend.name.as_str()).collect();
            self.queue_aware
                .retain(|name, _| names.contains(name.as_str()));
        }
        self.spill
            .retain(|name, _| input.sites.iter().any(|site| site.name == *name));
    }
}
