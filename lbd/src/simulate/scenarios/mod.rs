//! The built-in scenarios.
//!
//! `seed-story` tells why the seed's rule was written. The `tune-*` ones are what the policy's
//! numbers were chosen with. The others are what it is judged by: they were fixed before the first
//! run of them was looked at, and no number was changed after it.
mod complaints;
mod judging;
mod tuning;

use super::scenario::{Change, Event, NodeSpec, Scenario, Traffic};

/// What a set of scenarios is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To show the trouble that the seed's rule cured.
    Story,
    /// To choose numbers with.
    Tuning,
    /// To judge by.
    Evaluation,
    /// To judge by too: what operators complain of in public, on mail of the kind that they see.
    Complaint,
}

impl Purpose {
    /// All, in the order of the list.
    pub const ALL: [Self; 4] = [Self::Story, Self::Evaluation, Self::Complaint, Self::Tuning];
}

/// The scenarios of a purpose.
#[must_use]
pub fn all(purpose: Purpose) -> Vec<Scenario> {
    match purpose {
        Purpose::Story => vec![seed_story()],
        Purpose::Tuning => tuning::all(),
        Purpose::Evaluation => judging::all(),
        Purpose::Complaint => complaints::all(),
    }
}

/// A built-in scenario.
#[must_use]
pub fn named(name: &str) -> Option<Scenario> {
    let mut scenarios = Purpose::ALL.into_iter().flat_map(all);
    scenarios.find(|scenario| scenario.name == name)
}

fn scenario(
    name: &str,
    about: &str,
    nodes: Vec<NodeSpec>,
    traffic: Traffic,
    events: &[(f64, usize, Change)],
) -> Scenario {
    let event = |(at_s, node, change): &(f64, usize, Change)| Event {
        at_s: *at_s,
        node: *node,
        change: *change,
    };
    Scenario {
        name: name.to_owned(),
        about: about.to_owned(),
        duration_s: 900.0,
        nodes,
        traffic,
        events: events.iter().map(event).collect(),
    }
}

fn ordinary(count: usize) -> Vec<NodeSpec> {
    vec![NodeSpec::ORDINARY; count]
}

/// Half the boxes are fast and nearly idle under round robin, while the slow ones hold hundreds of
/// connections; two take sessions quickly and deliver slowly, which is what least connection likes.
fn seed_story() -> Scenario {
    let slow = NodeSpec {
        filter_speed: 0.45,
        ..NodeSpec::ORDINARY
    };
    let eager = NodeSpec {
        filters: 16,
        filter_speed: 4.0,
        delivery_speed: 0.62,
        ..NodeSpec::ORDINARY
    };
    let fast = NodeSpec {
        filters: 8,
        filter_speed: 2.0,
        deliverers: 12,
        ..NodeSpec::ORDINARY
    };
    let traffic = Traffic {
        client_s: 0.6,
        slow_clients: 0.01,
        ..Traffic::ordinary(44.0)
    };
    scenario(
        "seed-story",
        "2 boxes filter slowly, 2 take sessions eagerly and deliver slowly, 4 are fast",
        vec![slow, slow, eager, eager, fast, fast, fast, fast],
        traffic,
        &[],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_events_are_in_range() {
        let scenarios: Vec<Scenario> = Purpose::ALL.into_iter().flat_map(all).collect();
        let names: std::collections::HashSet<_> = scenarios.iter().map(|one| &one.name).collect();
        assert_eq!(names.len(), scenarios.len());
        for scenario in &scenarios {
            for event in &scenario.events {
                assert!(
                    event.node < scenario.nodes.len(),
                    "{}: {event:?}",
                    scenario.name
                );
                assert!(
                    event.at_s < scenario.duration_s,
                    "{}: {event:?}",
                    scenario.name
                );
            }
        }
    }

    #[test]
    fn what_judges_was_not_tuned_with() {
        let tuned = all(Purpose::Tuning);
        for (purpose, least) in [(Purpose::Evaluation, 7), (Purpose::Complaint, 10)] {
            let judging = all(purpose);
            assert!(judging.len() >= least, "{purpose:?}");
            let same = |one: &&Scenario| {
                let alike = |other: &Scenario| {
                    (&one.nodes, &one.traffic, &one.events)
                        == (&other.nodes, &other.traffic, &other.events)
                };
                tuned.iter().any(alike)
            };
            assert_eq!(judging.iter().find(same), None);
        }
    }
}
