//! The built-in scenarios.
//!
//! `seed-story` tells why the seed's rule was written. The `tune-*` ones are what the policy's
//! numbers were chosen with. The others are what it is judged by: they were fixed before the first
//! run of them was looked at, and no number was changed after it.
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
}

/// The scenarios of a purpose.
#[must_use]
pub fn all(purpose: Purpose) -> Vec<Scenario> {
    match purpose {
        Purpose::Story => vec![seed_story()],
        Purpose::Tuning => tuning(),
        Purpose::Evaluation => evaluation(),
    }
}

/// A built-in scenario.
#[must_use]
pub fn named(name: &str) -> Option<Scenario> {
    let purposes = [Purpose::Story, Purpose::Evaluation, Purpose::Tuning];
    let mut scenarios = purposes.into_iter().flat_map(all);
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

fn tuning() -> Vec<Scenario> {
    vec![
        scenario(
            "tune-slow",
            "8 boxes; one filters slowly for 5 minutes, another delivers slowly for 5",
            ordinary(8),
            Traffic::ordinary(45.0),
            &[
                (150.0, 0, Change::FilterSpeed(0.3)),
                (450.0, 0, Change::FilterSpeed(1.0)),
                (300.0, 3, Change::DeliverySpeed(0.3)),
                (600.0, 3, Change::DeliverySpeed(1.0)),
            ],
        ),
        scenario(
            "tune-fail-return",
            "8 boxes; one fails fast for 5 minutes, one returns cold",
            ordinary(8),
            Traffic::ordinary(45.0),
            &[
                (0.0, 5, Change::Stop),
                (200.0, 2, Change::FailFast(true)),
                (500.0, 2, Change::FailFast(false)),
                (300.0, 5, Change::Start),
            ],
        ),
        scenario(
            "tune-bursts",
            "6 boxes, one of half the size and weight; bursts of 200 messages",
            {
                let mut nodes = ordinary(6);
                nodes[5] = NodeSpec {
                    weight: 50,
                    filters: 2,
                    deliverers: 4,
                    ..NodeSpec::ORDINARY
                };
                nodes
            },
            Traffic {
                burst_every_s: 60.0,
                burst_messages: 200,
                ..Traffic::ordinary(30.0)
            },
            &[],
        ),
    ]
}

fn evaluation() -> Vec<Scenario> {
    vec![
        mixed_hardware(),
        scenario(
            "slow-disks",
            "10 boxes; two deliver at 0.4 of their speed for 8 minutes",
            ordinary(10),
            Traffic::ordinary(58.0),
            &[
                (120.0, 1, Change::DeliverySpeed(0.4)),
                (150.0, 6, Change::DeliverySpeed(0.4)),
                (600.0, 1, Change::DeliverySpeed(1.0)),
                (630.0, 6, Change::DeliverySpeed(1.0)),
            ],
        ),
        scenario(
            "stuck-dns",
            "7 boxes; three filter at half speed for 6 minutes",
            ordinary(7),
            Traffic::ordinary(38.0),
            &[
                (100.0, 0, Change::FilterSpeed(0.5)),
                (100.0, 1, Change::FilterSpeed(0.5)),
                (100.0, 2, Change::FilterSpeed(0.5)),
                (460.0, 0, Change::FilterSpeed(1.0)),
                (460.0, 1, Change::FilterSpeed(1.0)),
                (460.0, 2, Change::FilterSpeed(1.0)),
            ],
        ),
        scenario(
            "returning",
            "6 boxes; two start cold after 4 and 6 minutes, while a third delivers slowly",
            ordinary(6),
            Traffic::ordinary(27.0),
            &[
                (0.0, 0, Change::Stop),
                (0.0, 3, Change::Stop),
                (240.0, 0, Change::Start),
                (360.0, 3, Change::Start),
                (300.0, 4, Change::DeliverySpeed(0.35)),
                (650.0, 4, Change::DeliverySpeed(1.0)),
            ],
        ),
        scenario(
            "fast-failing",
            "10 boxes; one fails every session at once for 7 minutes",
            ordinary(10),
            Traffic::ordinary(55.0),
            &[
                (150.0, 7, Change::FailFast(true)),
                (570.0, 7, Change::FailFast(false)),
            ],
        ),
        scenario(
            "bursts-long-sessions",
            "8 boxes; bursts of 300 messages, every tenth client takes a minute, one slow delivery",
            ordinary(8),
            Traffic {
                slow_clients: 0.1,
                slow_client_s: 60.0,
                burst_every_s: 90.0,
                burst_messages: 300,
                ..Traffic::ordinary(40.0)
            },
            &[(200.0, 2, Change::DeliverySpeed(0.4))],
        ),
        day_trace(),
    ]
}

/// Weights are what an operator believes; here two boxes do half of what theirs say.
fn mixed_hardware() -> Scenario {
    let sized = |weight: u16, filters, deliverers| NodeSpec {
        weight,
        filters,
        deliverers,
        ..NodeSpec::ORDINARY
    };
    let mut nodes = vec![sized(100, 4, 8); 6];
    nodes.extend([
        sized(200, 8, 16),
        sized(200, 8, 16),
        sized(50, 2, 4),
        sized(50, 2, 4),
    ]);
    nodes.extend([sized(100, 2, 4), sized(200, 4, 8)]);
    scenario(
        "mixed-hardware",
        "12 boxes of weight 50 to 200, two of which do half of what their weight says",
        nodes,
        Traffic::ordinary(75.0),
        &[],
    )
}

/// A day in 15 minutes: night, morning rush, noon, afternoon, evening.
fn day_trace() -> Scenario {
    let csv = "0,12\n120,30\n240,58\n360,40\n480,60\n660,30\n780,15\n";
    let trace = super::trace::Trace::parse(csv).ok();
    scenario(
        "day-trace",
        "8 boxes through a day's rates; in the morning rush one filters and one delivers slowly",
        ordinary(8),
        Traffic {
            trace,
            ..Traffic::ordinary(60.0)
        },
        &[
            (250.0, 4, Change::FilterSpeed(0.4)),
            (420.0, 5, Change::DeliverySpeed(0.4)),
            (640.0, 4, Change::FilterSpeed(1.0)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_events_are_in_range() {
        let purposes = [Purpose::Story, Purpose::Tuning, Purpose::Evaluation];
        let scenarios: Vec<Scenario> = purposes.into_iter().flat_map(all).collect();
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
    fn evaluation_has_five_scenarios_that_were_not_tuned_with() {
        assert!(all(Purpose::Evaluation).len() >= 5);
        let tuned = all(Purpose::Tuning);
        assert!(
            all(Purpose::Evaluation)
                .iter()
                .all(|one| !tuned.contains(one))
        );
    }

    #[test]
    fn the_trace_is_read() {
        assert!(day_trace().traffic.trace.is_some());
    }
}
