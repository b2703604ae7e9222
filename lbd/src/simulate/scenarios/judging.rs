//! What the policy is judged by, on simple mail.
use super::super::scenario::{Change, NodeSpec, Scenario, Traffic};
use super::super::trace::Trace;
use super::{ordinary, scenario};

pub(super) fn all() -> Vec<Scenario> {
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
    let trace = Trace::parse(csv).ok();
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
    fn the_trace_is_read() {
        assert!(day_trace().traffic.trace.is_some());
    }
}
