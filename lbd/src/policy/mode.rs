//! Active-passive: one box takes everything.
use super::{Decision, Input, Mode, Output, Override, Reason};
use crate::units::{BackendId, WeightPermille};

/// In active-passive mode, turns the decisions into all for one and nothing for the others.
///
/// The one is the master's own box. When that box cannot take sessions (dead, drained, or no
/// backend at all), the able one of the highest configured weight does, the first by name among
/// equals: there is no use in mail that waits for an operator.
pub(super) fn apply(input: &Input, output: &mut Output) {
    let Mode::ActivePassive { master } = input.mode else {
        return;
    };
    let chosen = choose(input, output, master);
    let inputs = input.sites.iter().flat_map(|site| &site.backends);
    let sites = output.sites.iter_mut();
    let decisions = sites.flat_map(|site| &mut site.backends);
    for (backend, decision) in inputs.zip(decisions) {
        if !able(decision) {
            continue;
        }
        if Some(backend.id) == chosen {
            if !matches!(decision.reason, Reason::OperatorWeight { .. }) {
                decision.reason = if chosen == master {
                    Reason::Master
                } else {
                    Reason::InsteadOfMaster
                };
            }
            let weight = match backend.operator {
                Some(Override::Weight(weight)) => weight,
                _ => backend.weight,
            };
            decision.weight = weight.full();
        } else {
            decision.reason = Reason::Standby;
            decision.weight = WeightPermille(0);
        }
        decision.accepting = decision.weight.0 > 0;
    }
    for site in &mut output.sites {
        let active = site
            .backends
            .iter()
            .filter(|decision| decision.accepting)
            .count();
        site.active = super::site::to_u32(active);
    }
}

fn choose(input: &Input, output: &Output, master: Option<BackendId>) -> Option<BackendId> {
    let able = |id: BackendId| output.decision(id).is_some_and(able);
    if let Some(master) = master.filter(|master| able(*master)) {
        return Some(master);
    }
    let backends = input.sites.iter().flat_map(|site| &site.backends);
    backends
        .filter(|backend| able(backend.id))
        .min_by_key(|backend| (std::cmp::Reverse(backend.weight), &backend.name))
        .map(|backend| backend.id)
}

/// Alive and permitted; load is no reason here.
fn able(decision: &Decision) -> bool {
    match decision.reason {
        Reason::ConfiguredZero
        | Reason::Drained { .. }
        | Reason::Down { .. }
        | Reason::NotServing { .. }
        | Reason::Suspect { .. }
        | Reason::AgentDrain
        | Reason::AgentDown
        | Reason::StandIn { .. } => false,
        Reason::OperatorWeight { weight } => weight.0 > 0,
        _ => true,
    }
}
