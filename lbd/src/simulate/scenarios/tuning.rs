//! What the policy's numbers were chosen with.
use super::super::mail::Mail;
use super::super::scenario::{Change, NodeSpec, Scenario, Traffic};
use super::{ordinary, scenario};

pub(super) fn all() -> Vec<Scenario> {
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
        scenario(
            "tune-real",
            "6 boxes, 75 % of the sessions end before DATA; one filters and one delivers slowly",
            ordinary(6),
            Traffic::real(28.0, Mail::rejecting(0.75)),
            &[
                (100.0, 0, Change::FilterSpeed(0.35)),
                (400.0, 0, Change::FilterSpeed(1.0)),
                (250.0, 3, Change::DeliverySpeed(0.35)),
                (600.0, 3, Change::DeliverySpeed(1.0)),
            ],
        ),
        scenario(
            "tune-turned-away",
            "6 boxes, 75 % of the sessions end before DATA; one turns all away for 5 minutes",
            ordinary(6),
            Traffic::real(28.0, Mail::rejecting(0.75)),
            &[
                (150.0, 4, Change::TurnAway(true)),
                (450.0, 4, Change::TurnAway(false)),
            ],
        ),
    ]
}
