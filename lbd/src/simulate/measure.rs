//! What a run is judged by.
use schemars::JsonSchema;
use serde::Serialize;

use super::balancer::Strategy;
use super::node::{MessageId, Node};
use crate::policy::Output;

/// A box that is shut off again within so many seconds after its return flaps.
const FLAP_S: f64 = 120.0;
/// The seed's measure of a box with too many connections.
const CROWDED: usize = 200;

/// One balancer in one scenario with one seed.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The balancer.
    pub strategy: Strategy,
    /// The seed of the traffic.
    pub seed: u64,
    /// Messages that were sent.
    pub messages: usize,
    /// Of them, messages that were not delivered when the run ended.
    pub undelivered: usize,
    /// Of them, messages that needed another attempt.
    pub retried: usize,
    /// The median of time until delivery over the time an idle ordinary box takes.
    pub slowdown_p50: f64,
    /// The 99th percentile of it.
    pub slowdown_p99: f64,
    /// The most connections that one box held.
    pub busiest_sessions: usize,
    /// While some box held more than 200 connections: the mean part of the boxes that held less
    /// than a tenth of that box's, 0 to 1.
    pub idle_part: f64,
    /// The longest queue of one box.
    pub longest_queue: usize,
    /// Times that the policy shut a box off.
    pub shut_offs: usize,
    /// Of them, within two minutes after the box's return.
    pub flaps: usize,
    /// A row an interval.
    #[serde(skip)]
    pub timeline: Vec<Sample>,
}

/// All boxes at the end of an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Seconds from the start.
    pub at_s: f64,
    /// Open connections, a box each.
    pub sessions: Vec<usize>,
    /// Queued messages, a box each.
    pub queued: Vec<usize>,
}

/// What a message is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    /// When it came first, in seconds.
    pub(super) at_s: f64,
    /// What it takes on an idle ordinary box, in seconds.
    pub(super) ideal_s: f64,
    /// Not for a session that ends before DATA: nothing is delivered.
    pub(super) counts: bool,
}

/// Collects a run's figures.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) end_s: f64,
    delivered_s: Vec<Option<f64>>,
    outstanding: usize,
    retried: Vec<bool>,
    accepting: Vec<bool>,
    returned_s: Vec<Option<f64>>,
    shut_offs: usize,
    flaps: usize,
    timeline: Vec<Sample>,
}

impl Recorder {
    pub(super) fn new(messages: usize, nodes: usize) -> Self {
        Self {
            end_s: 0.0,
            delivered_s: vec![None; messages],
            outstanding: messages,
            retried: vec![false; messages],
            accepting: vec![true; nodes],
            returned_s: vec![None; nodes],
            shut_offs: 0,
            flaps: 0,
            timeline: Vec::new(),
        }
    }

    pub(super) fn delivered(&mut self, message: MessageId, at_s: f64) {
        self.outstanding -= 1;
        self.delivered_s[message] = Some(at_s);
    }

    pub(super) fn all_delivered(&self) -> bool {
        self.outstanding == 0
    }

    pub(super) fn retried(&mut self, message: MessageId) {
        self.retried[message] = true;
    }

    pub(super) fn step(
        &mut self,
        at_s: f64,
        nodes: &[Node],
        output: Option<&Output>,
        healthy: &[bool],
    ) {
        self.timeline.push(Sample {
            at_s,
            sessions: nodes.iter().map(Node::sessions).collect(),
            queued: nodes.iter().map(Node::queued).collect(),
        });
        let Some(output) = output else { return };
        for (node, decision) in output.decisions().enumerate() {
            // What is dead is not shut off by the policy.
            let accepting = decision.accepting || !healthy[node];
            if self.accepting[node] && !accepting {
                self.shut_offs += 1;
                let flapped = |returned_s: f64| at_s - returned_s <= FLAP_S;
                self.flaps += usize::from(self.returned_s[node].is_some_and(flapped));
            } else if !self.accepting[node] && accepting {
                self.returned_s[node] = Some(at_s);
            }
            self.accepting[node] = accepting;
        }
    }

    pub(super) fn finish(
        self,
        scenario: &str,
        strategy: Strategy,
        seed: u64,
        messages: &[Timed],
    ) -> Outcome {
        let slowdown = |(delivered_s, message): (&Option<f64>, &Timed)| {
            (delivered_s.unwrap_or(self.end_s) - message.at_s) / message.ideal_s
        };
        let mut slowdowns: Vec<f64> = self
            .delivered_s
            .iter()
            .zip(messages)
            .filter(|(_, message)| message.counts)
            .map(slowdown)
            .collect();
        slowdowns.sort_by(f64::total_cmp);
        let most = |of: fn(&Sample) -> &Vec<usize>| {
            let all = self.timeline.iter().flat_map(of).copied();
            all.max().unwrap_or(0)
        };
        Outcome {
            scenario: scenario.to_owned(),
            strategy,
            seed,
            messages: slowdowns.len(),
            undelivered: self.outstanding,
            retried: self.retried.iter().filter(|retried| **retried).count(),
            slowdown_p50: quantile(&slowdowns, 0.5),
            slowdown_p99: quantile(&slowdowns, 0.99),
            busiest_sessions: most(|sample| &sample.sessions),
            idle_part: idle_part(&self.timeline),
            longest_queue: most(|sample| &sample.queued),
            shut_offs: self.shut_offs,
            flaps: self.flaps,
            timeline: self.timeline,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few boxes")]
fn idle_part(timeline: &[Sample]) -> f64 {
    let mut parts = Vec::new();
    for sample in timeline {
        let busiest = sample.sessions.iter().copied().max().unwrap_or(0);
        if busiest > CROWDED {
            let idle = sample
                .sessions
                .iter()
                .filter(|sessions| **sessions * 10 < busiest)
                .count();
            parts.push(idle as f64 / sample.sessions.len() as f64);
        }
    }
    if parts.is_empty() {
        0.0
    } else {
        parts.iter().sum::<f64>() / parts.len() as f64
    }
}

/// Of sorted values, by the nearest rank; 0 for none.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among the values"
    )]
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        for (part, expected) in [(0.5, 100.0), (0.99, 198.0), (1.0, 200.0)] {
            assert!((quantile(&values, part) - expected).abs() < 1e-9, "{part}");
        }
        assert!(quantile(&[], 0.5).abs() < 1e-9);
    }

    #[test]
    fn idle_is_counted_only_beside_a_crowded_box() {
        let sample = |sessions: &[usize]| Sample {
            at_s: 0.0,
            sessions: sessions.to_vec(),
            queued: Vec::new(),
        };
        let timeline = [sample(&[300, 10, 10, 200]), sample(&[100, 0, 0, 0])];
        assert!((idle_part(&timeline) - 0.5).abs() < 1e-9);
    }
}
