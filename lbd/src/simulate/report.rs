//! Many runs, summed up.
use std::sync::atomic::{AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::Serialize;

use super::balancer::Strategy;
use super::engine::run_one;
use super::measure::Outcome;
use super::scenario::Scenario;
use super::statistics::{Estimate, Ratio};
use crate::policy::Settings;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each with every balancer and seed.
    pub scenarios: Vec<Scenario>,
    /// The balancers to compare.
    pub strategies: Vec<Strategy>,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// The policy's numbers; its kind is each balancer's own.
    pub settings: Settings,
    /// Threads to run on; the report does not depend on it.
    pub threads: usize,
}

/// A balancer in a scenario, over all seeds.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Row {
    /// The scenario's name.
    pub scenario: String,
    /// The balancer.
    pub strategy: Strategy,
    /// Median slowdown of a message.
    pub slowdown_p50: Estimate,
    /// 99th percentile of the slowdown.
    pub slowdown_p99: Estimate,
    /// Against the seed's rule over round robin with the same mail; `None` when that was not run.
    pub p99_to_seed: Option<Ratio>,
    /// Against the seed's rule over two-choice.
    pub p99_to_seed_two_choice: Option<Ratio>,
    /// Against lbd's default.
    pub p99_to_queue_aware: Option<Ratio>,
    /// Against the least sessions and queue of all boxes as they are at the moment.
    pub p99_to_oracle: Option<Ratio>,
    /// The most connections of one box.
    pub busiest_sessions: Estimate,
    /// While a box is crowded, the part of the boxes that are nearly idle.
    pub idle_part: Estimate,
    /// The longest queue of one box.
    pub longest_queue: Estimate,
    /// Messages in a thousand that needed another attempt.
    pub retried_permille: Estimate,
    /// Shut-offs of all seeds.
    pub shut_offs: usize,
    /// Flaps of all seeds.
    pub flaps: usize,
    /// Messages of all seeds that were never delivered.
    pub undelivered: usize,
}

/// What was run, and what came out.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Report {
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// By scenario, then by balancer, in the order of the options.
    pub rows: Vec<Row>,
    /// A run each, in the same order, then by seed.
    pub outcomes: Vec<Outcome>,
}

/// Runs every balancer through every scenario with every seed.
#[must_use]
pub fn run(options: &Options) -> Report {
    let mut jobs = Vec::new();
    for scenario in &options.scenarios {
        for strategy in &options.strategies {
            for seed in options.first_seed..options.first_seed.saturating_add(options.seeds) {
                jobs.push((scenario, *strategy, seed));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((scenario, strategy, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
        {
            done.push(run_one(scenario, *strategy, *seed, &options.settings));
        }
        done
    };
    let mut outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads = options.threads.clamp(1, 64);
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = handles.into_iter().map(|handle| match handle.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    let place = |outcome: &Outcome| {
        jobs.iter().position(|(scenario, strategy, seed)| {
            (&scenario.name, strategy, seed)
                == (&outcome.scenario, &outcome.strategy, &outcome.seed)
        })
    };
    outcomes.sort_by_cached_key(place);
    let mut rows = Vec::new();
    for scenario in &options.scenarios {
        for strategy in &options.strategies {
            rows.push(Row::of(&scenario.name, *strategy, &outcomes));
        }
    }
    Report {
        first_seed: options.first_seed,
        seeds: options.seeds,
        rows,
        outcomes,
    }
}

impl Row {
    fn of(scenario: &str, strategy: Strategy, all: &[Outcome]) -> Self {
        let runs = |strategy: Strategy| {
            all.iter()
                .filter(|outcome| outcome.scenario == scenario && outcome.strategy == strategy)
                .collect::<Vec<_>>()
        };
        let own = runs(strategy);
        let estimate = |of: &dyn Fn(&Outcome) -> f64| {
            let values: Vec<f64> = own.iter().map(|outcome| of(outcome)).collect();
            Estimate::of(&values)
        };
        let against = |other: Strategy| {
            let pairs: Vec<(f64, f64)> = own
                .iter()
                .zip(runs(other))
                .map(|(own, other)| (own.slowdown_p99, other.slowdown_p99))
                .collect();
            (!pairs.is_empty() && strategy != other).then(|| Ratio::of(&pairs))
        };
        let sum = |of: &dyn Fn(&Outcome) -> usize| own.iter().map(|outcome| of(outcome)).sum();
        Self {
            scenario: scenario.to_owned(),
            strategy,
            slowdown_p50: estimate(&|outcome| outcome.slowdown_p50),
            slowdown_p99: estimate(&|outcome| outcome.slowdown_p99),
            p99_to_seed: against(Strategy::SeedRoundRobin),
            p99_to_seed_two_choice: against(Strategy::SeedTwoChoice),
            p99_to_queue_aware: against(Strategy::QueueAware),
            p99_to_oracle: against(Strategy::Oracle),
            busiest_sessions: estimate(&|outcome| to_f64(outcome.busiest_sessions)),
            idle_part: estimate(&|outcome| outcome.idle_part),
            longest_queue: estimate(&|outcome| to_f64(outcome.longest_queue)),
            retried_permille: estimate(&|outcome| {
                1000.0 * to_f64(outcome.retried) / to_f64(outcome.messages).max(1.0)
            }),
            shut_offs: sum(&|outcome| outcome.shut_offs),
            flaps: sum(&|outcome| outcome.flaps),
            undelivered: sum(&|outcome| outcome.undelivered),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
