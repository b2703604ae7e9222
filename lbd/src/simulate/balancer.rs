//! The balancers that are compared.
use clap::ValueEnum;
use lbd_common::weigh::load_with_queue;
use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::{
    HealthState, Input, Kind, Output, Policy, QueueTerms, Said, Settings, queue_term,
};
use crate::table::{self, Entry, Ring, Standing};
use crate::units::{BackendId, Weight, WeightPermille};

/// How new connections find their box.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, JsonSchema, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Weighted round robin.
    RoundRobin,
    /// Weighted least connection, over all boxes and by live counts.
    LeastConnection,
    /// The better of two ring candidates by live counts, with the configured weights.
    TwoChoice,
    /// The seed's rule over round robin, as its authors ran it.
    SeedRoundRobin,
    /// The seed's rule over two-choice: lbd with `policy: {kind: seed}`.
    SeedTwoChoice,
    /// Queue-aware weights over two-choice: lbd's default.
    QueueAware,
    /// The same, with a queue term in addition to the live counts, from figures as they are polled. Not
    /// in lbd's program yet.
    QueueTermPolled,
    /// The same, from what each box tells of its own queue every second. Not in lbd's program yet.
    QueueTermTold,
    /// No balancer can be this: the least sessions and queue by weight of all boxes, both as they are at
    /// the moment of the choice.
    Oracle,
}

impl Strategy {
    /// All, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::RoundRobin,
        Self::LeastConnection,
        Self::TwoChoice,
        Self::SeedRoundRobin,
        Self::SeedTwoChoice,
        Self::QueueAware,
        Self::QueueTermPolled,
        Self::QueueTermTold,
        Self::Oracle,
    ];

    /// As the table shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::LeastConnection => "least connection",
            Self::TwoChoice => "two-choice",
            Self::SeedRoundRobin => "seed (round robin)",
            Self::SeedTwoChoice => "seed (two-choice)",
            Self::QueueAware => "queue-aware",
            Self::QueueTermPolled => "queue term, polled",
            Self::QueueTermTold => "queue term, told",
            Self::Oracle => "oracle",
        }
    }

    fn policy(self) -> Option<Kind> {
        match self {
            Self::RoundRobin | Self::LeastConnection | Self::TwoChoice | Self::Oracle => None,
            Self::SeedRoundRobin | Self::SeedTwoChoice => Some(Kind::Seed),
            Self::QueueAware | Self::QueueTermPolled | Self::QueueTermTold => {
                Some(Kind::QueueAware)
            }
        }
    }

    fn selection(self) -> Selection {
        match self {
            Self::RoundRobin | Self::SeedRoundRobin => Selection::RoundRobin,
            Self::LeastConnection | Self::Oracle => Selection::LeastConnection,
            Self::TwoChoice
            | Self::SeedTwoChoice
            | Self::QueueAware
            | Self::QueueTermPolled
            | Self::QueueTermTold => Selection::TwoChoice,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Selection {
    RoundRobin,
    LeastConnection,
    TwoChoice,
}

/// A balancer with its state.
#[derive(Debug)]
pub(super) struct Balancer {
    strategy: Strategy,
    policy: Policy,
    /// Effective weights, a box each.
    pub(super) weights: Vec<WeightPermille>,
    /// Live connections, a box each: what the program counts in `LOAD`.
    pub(super) loads: Vec<u64>,
    /// What each box's queue counts for, in sessions: what the daemon writes along with the weights.
    queues: Vec<u32>,
    terms: QueueTerms,
    /// Configured weights, and who is not down.
    standings: Vec<queue_term::Standing>,
    stepped_ns: u64,
    /// What smooth round robin owes each box.
    credits: Vec<i64>,
    ring: Ring,
    ring_weights: Vec<WeightPermille>,
    identities: Vec<String>,
}

impl Balancer {
    pub(super) fn new(strategy: Strategy, weights: Vec<WeightPermille>) -> Self {
        let identities = (0..weights.len())
            .map(|i| format!("192.0.2.{}", i + 1))
            .collect();
        let mut balancer = Self {
            strategy,
            policy: Policy::new(),
            loads: vec![0; weights.len()],
            queues: vec![0; weights.len()],
            terms: QueueTerms::new(1_000_000_000),
            standings: (0..).zip(&weights).map(standing).collect(),
            stepped_ns: 0,
            credits: vec![0; weights.len()],
            ring: Ring::empty(),
            ring_weights: Vec::new(),
            identities,
            weights,
        };
        balancer.follow_weights();
        balancer
    }

    /// One interval's decision. Without a policy the weights are the configured ones of what is
    /// not down.
    pub(super) fn step(&mut self, mut input: Input, settings: &Settings) -> Option<Output> {
        let backends = || input.sites.iter().flat_map(|site| &site.backends);
        let ended = backends().map(|backend| backend.live.completed).sum();
        self.terms.ended(ended, input.now_ns - self.stepped_ns);
        self.stepped_ns = input.now_ns;
        for (standing, backend) in self.standings.iter_mut().zip(backends()) {
            standing.online = backend.health.state != HealthState::Down;
        }
        let output = if let Some(kind) = self.strategy.policy() {
            input.settings = Settings {
                kind,
                ..settings.clone()
            };
            let output = self.policy.step(&input);
            self.weights = output.decisions().map(|decision| decision.weight).collect();
            Some(output)
        } else {
            let backends = input.sites.iter().flat_map(|site| &site.backends);
            let weight = |backend: &crate::policy::BackendInput| match backend.health.state {
                HealthState::NotServing | HealthState::Down => WeightPermille(0),
                _ => backend.weight.full(),
            };
            self.weights = backends.map(weight).collect();
            None
        };
        self.follow_weights();
        output
    }

    /// The health check found a box dead: at once, not at the next interval.
    pub(super) fn down(&mut self, node: usize) {
        self.weights[node] = WeightPermille(0);
        (self.loads[node], self.queues[node]) = (0, 0);
        self.standings[node].online = false;
        self.follow_weights();
    }

    /// Whether boxes tell the messages that they take.
    pub(super) fn counts_messages(&self) -> bool {
        self.counts_polled() || self.counts_told()
    }

    /// Whether boxes' queues count as they are polled.
    pub(super) fn counts_polled(&self) -> bool {
        self.strategy == Strategy::QueueTermPolled
    }

    /// Whether they count as the boxes tell them themselves.
    pub(super) fn counts_told(&self) -> bool {
        self.strategy == Strategy::QueueTermTold
    }

    /// Whether they count as they are.
    pub(super) fn wants_fresh(&self) -> bool {
        self.strategy == Strategy::Oracle
    }

    /// A box says its queue.
    pub(super) fn take_report(&mut self, node: usize, said: Said) {
        self.terms.take_report(self.standings[node].id, said);
        let terms = self.terms.terms(said.at_ns, &self.standings);
        self.queues = terms
            .into_iter()
            .map(|term| term.map_or(0, |term| term.sessions))
            .collect();
    }

    /// All queues as they are, a message for a session.
    pub(super) fn fresh(&mut self, queues: &[u64]) {
        self.queues.clear();
        let queues = queues.iter();
        self.queues
            .extend(queues.map(|queue| u32::try_from(*queue).unwrap_or(u32::MAX)));
    }

    fn follow_weights(&mut self) {
        if self.strategy.selection() != Selection::TwoChoice
            || !table::worth_rebuilding(&self.ring_weights, &self.weights)
        {
            return;
        }
        let pairs = self.identities.iter().zip(&self.weights);
        let entry = |(value, (identity, weight)): (u32, (&'_ String, &WeightPermille))| {
            (identity.clone(), *weight, value)
        };
        let owned: Vec<_> = (0..).zip(pairs).map(entry).collect();
        let entries: Vec<_> = owned
            .iter()
            .map(|(identity, weight, value)| Entry {
                identity: identity.as_bytes(),
                weight: *weight,
                value: *value,
            })
            .collect();
        self.ring = Ring::build(&entries);
        self.ring_weights.clone_from(&self.weights);
    }

    /// The box for a new connection, which is counted there.
    pub(super) fn choose(&mut self, hash: u64) -> Option<usize> {
        let chosen = match self.strategy.selection() {
            Selection::RoundRobin => self.round_robin(),
            Selection::LeastConnection => self.least_connection(),
            Selection::TwoChoice => {
                let standing = |node: u32| Standing {
                    sessions: self.loads[node as usize],
                    queued_sessions: self.queues[node as usize],
                    weight_permille: self.weights[node as usize].0,
                };
                table::choose(&self.ring, hash, standing).map(|node| node as usize)
            }
        };
        if let Some(node) = chosen {
            self.loads[node] += 1;
        }
        chosen
    }

    /// Smooth weighted round robin: every box earns its weight, the richest pays the total.
    fn round_robin(&mut self) -> Option<usize> {
        let total: i64 = self.weights.iter().map(|weight| i64::from(weight.0)).sum();
        let mut best: Option<usize> = None;
        for (node, weight) in self.weights.iter().enumerate() {
            if weight.0 == 0 {
                continue;
            }
            self.credits[node] += i64::from(weight.0);
            if best.is_none_or(|best| self.credits[node] > self.credits[best]) {
                best = Some(node);
            }
        }
        if let Some(node) = best {
            self.credits[node] -= total;
        }
        best
    }

    /// Sessions, and what the queue counts for.
    fn load(&self, node: usize) -> u64 {
        load_with_queue(self.loads[node], self.queues[node])
    }

    fn least_connection(&self) -> Option<usize> {
        let weighted = |node: &usize| self.weights[*node].0 > 0;
        let by_load = |a: &usize, b: &usize| {
            let left = u128::from(self.load(*a) + 1) * u128::from(self.weights[*b].0);
            let right = u128::from(self.load(*b) + 1) * u128::from(self.weights[*a].0);
            left.cmp(&right)
        };
        (0..self.weights.len()).filter(weighted).min_by(by_load)
    }
}

fn standing((id, weight): (u16, &WeightPermille)) -> queue_term::Standing {
    queue_term::Standing {
        id: BackendId(id),
        weight: Weight(u16::try_from(weight.0 / 1000).unwrap_or(u16::MAX)),
        online: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(strategy: Strategy, weights: &[u32], connections: u64) -> Vec<u64> {
        let weights = weights
            .iter()
            .map(|weight| WeightPermille(*weight))
            .collect();
        let mut balancer = Balancer::new(strategy, weights);
        for i in 0..connections {
            assert!(balancer.choose(lbd_common::hash::mix(i)).is_some());
        }
        balancer.loads
    }

    #[test]
    fn every_strategy_shares_by_weight() {
        for strategy in Strategy::ALL {
            let loads = chosen(strategy, &[2000, 1000, 0, 1000], 4000);
            for (got, expected) in loads.iter().zip([2000_u64, 1000, 0, 1000]) {
                assert!(got.abs_diff(expected) <= 60, "{strategy:?}: {loads:?}");
            }
            assert_eq!(loads[2], 0);
        }
    }

    #[test]
    fn without_a_weight_no_backend_is_chosen() {
        for strategy in Strategy::ALL {
            let mut balancer = Balancer::new(strategy, vec![WeightPermille(0); 3]);
            assert_eq!(balancer.choose(1), None, "{strategy:?}");
        }
    }
}
