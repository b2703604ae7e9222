//! What operators complain of in public about balancers in front of mail, one scenario a complaint, on
//! mail of the kind that public hosts see.
use super::super::mail::Mail;
use super::super::scenario::{Change, NodeSpec, Scenario, Traffic};
use super::{ordinary, scenario};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = reject_heavy();
    all.extend(broken_boxes());
    all.extend(odd_senders());
    all
}

/// Most of what comes ends before DATA: sessions say little about mail.
fn reject_heavy() -> Vec<Scenario> {
    vec![
        scenario(
            "reject-70",
            "8 boxes, 70 % of the sessions end before DATA; two deliver slowly for 6 minutes",
            ordinary(8),
            Traffic::real(40.0, Mail::rejecting(0.7)),
            &[
                (120.0, 2, Change::DeliverySpeed(0.4)),
                (150.0, 5, Change::DeliverySpeed(0.4)),
                (500.0, 2, Change::DeliverySpeed(1.0)),
                (530.0, 5, Change::DeliverySpeed(1.0)),
            ],
        ),
        scenario(
            "reject-80-looks-idle",
            "7 boxes, 80 % end before DATA; one turns all clients away and looks idle for 6 minutes",
            ordinary(7),
            Traffic::real(32.0, Mail::rejecting(0.8)),
            &[
                (200.0, 1, Change::TurnAway(true)),
                (560.0, 1, Change::TurnAway(false)),
            ],
        ),
        scenario(
            "reject-90",
            "6 boxes, 90 % end before DATA; one filters slowly for 6 minutes",
            ordinary(6),
            Traffic::real(28.0, Mail::rejecting(0.9)),
            &[
                (180.0, 0, Change::FilterSpeed(0.4)),
                (540.0, 0, Change::FilterSpeed(1.0)),
            ],
        ),
    ]
}

fn broken_boxes() -> Vec<Scenario> {
    let fast = NodeSpec {
        filter_speed: 2.0,
        delivery_speed: 2.0,
        ..NodeSpec::ORDINARY
    };
    let mail = || Traffic::real(28.0, Mail::rejecting(0.6));
    vec![
        scenario(
            "slow-filter",
            "6 boxes; one filters at a quarter of its speed for 8 minutes",
            ordinary(6),
            mail(),
            &[
                (120.0, 5, Change::FilterSpeed(0.25)),
                (600.0, 5, Change::FilterSpeed(1.0)),
            ],
        ),
        scenario(
            "full-disk",
            "6 boxes; one's disk fills: it delivers ever slower, then turns all away for 4 minutes",
            ordinary(6),
            mail(),
            &[
                (120.0, 3, Change::DeliverySpeed(0.3)),
                (180.0, 3, Change::DeliverySpeed(0.1)),
                (240.0, 3, Change::TurnAway(true)),
                (480.0, 3, Change::TurnAway(false)),
                (480.0, 3, Change::DeliverySpeed(1.0)),
            ],
        ),
        scenario(
            "stuck-resolver",
            "6 boxes; one waits 15 s for its resolver in every session for 6 minutes",
            ordinary(6),
            mail(),
            &[
                (150.0, 2, Change::Hold(15.0)),
                (510.0, 2, Change::Hold(0.0)),
            ],
        ),
        scenario(
            "site-cut",
            "10 boxes; the five of one site are gone for 5 minutes and come back cold together",
            ordinary(10),
            Traffic::real(34.0, Mail::rejecting(0.6)),
            &[
                (150.0, 0, Change::Stop),
                (150.0, 1, Change::Stop),
                (150.0, 2, Change::Stop),
                (150.0, 3, Change::Stop),
                (150.0, 4, Change::Stop),
                (450.0, 0, Change::Start),
                (450.0, 1, Change::Start),
                (450.0, 2, Change::Start),
                (450.0, 3, Change::Start),
                (450.0, 4, Change::Start),
            ],
        ),
        scenario(
            "twice-as-fast",
            "6 boxes of one weight, two of them twice as fast as the weight says",
            {
                let mut nodes = ordinary(6);
                (nodes[1], nodes[4]) = (fast, fast);
                nodes
            },
            Traffic::real(56.0, Mail::rejecting(0.6)),
            &[],
        ),
    ]
}

fn odd_senders() -> Vec<Scenario> {
    let mail = || Traffic::real(28.0, Mail::rejecting(0.6));
    vec![
        scenario(
            "tarpit",
            "6 boxes; every twelfth client is held, or holds, for two minutes; one delivers slowly",
            ordinary(6),
            Traffic {
                slow_clients: 0.08,
                slow_client_s: 120.0,
                ..mail()
            },
            &[
                (200.0, 4, Change::DeliverySpeed(0.4)),
                (560.0, 4, Change::DeliverySpeed(1.0)),
            ],
        ),
        scenario(
            "bulk-sender",
            "6 boxes; one address opens 2,000 sessions within 2 s, about every 5 minutes",
            ordinary(6),
            Traffic {
                burst_every_s: 300.0,
                burst_messages: 2000,
                ..mail()
            },
            &[],
        ),
    ]
}
