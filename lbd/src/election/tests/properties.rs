//! What holds under any sequence of inputs.
use proptest::prelude::*;

use super::*;

fn inputs() -> impl Strategy<Value = Input> {
    let from = prop_oneof![
        Just(LOW),
        Just(HIGH),
        Just("192.0.2.12"),
        Just("fe80::13"),
        Just("fe80::11")
    ];
    let advert = (from, any::<u8>(), 1..=4095u16).prop_map(|(from, priority, centiseconds)| {
        Input::Advert(Heard {
            from: from.parse().unwrap(),
            priority: Priority(priority),
            interval: Interval::from_centiseconds(centiseconds).unwrap(),
            leased: centiseconds % 2 == 0,
        })
    });
    let health =
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(data_plane, link, backends)| {
            Input::Health(Health {
                data_plane,
                link,
                backends,
            })
        });
    let found = prop_oneof![
        Just(Found::Nothing),
        Just(Found::LeaseHeld),
        Just(Found::LeaseOver)
    ];
    let changed = (1..=255u8, 1..=4095u16, any::<bool>()).prop_map(|(priority, cs, preempt)| {
        Input::ConfigChanged(Config {
            priority: Priority(priority),
            interval: Interval::from_centiseconds(cs).unwrap(),
            preempt,
            ..ours()
        })
    });
    prop_oneof![
        4 => advert,
        4 => Just(Input::Timer),
        1 => health,
        2 => Just(Input::Health(Health::GOOD)),
        1 => found.prop_map(|found| Input::Start { found }),
        1 => Just(Input::Stop),
        1 => Just(Input::SyncDone),
        1 => Just(Input::AdvertFailed),
        1 => Just(Input::RivalClaim { address: "192.0.2.25".parse().unwrap() }),
        1 => prop_oneof![Just(LOW), Just(HIGH)].prop_map(|address| Input::Alive {
            address: address.parse().unwrap(),
        }),
        1 => Just(Input::Unbelieved { from: HIGH.parse().unwrap() }),
        1 => changed,
    ]
}

proptest! {
    /// For any input in any order: what the outputs build up on the box is what the machine
    /// thinks it is, and a lease is never longer than the last advert earns.
    #[test]
    fn outputs_and_state_agree_under_any_sequence(
        steps in prop::collection::vec((0..4_000u64, inputs()), 1..80),
    ) {
        let mut machine = Machine::new(ours(), 0);
        let (mut now, mut serving, mut lease) = (0, false, 0);
        let mut outputs = Vec::new();
        for (after_ms, input) in steps {
            now += after_ms * MS;
            outputs.clear();
            machine.handle(now, input, &mut outputs);
            let mut earned = None;
            for output in &outputs {
                match *output {
                    Output::SendAdvert { priority, interval } if priority != Priority::STOPPING => {
                        earned = Some(now + lease_ns(interval));
                    }
                    Output::SendAdvert { .. } => prop_assert!(!serving, "priority 0 while serving"),
                    Output::LeaveFamily { .. } => prop_assert!(!serving, "left while serving"),
                    Output::HoldLease { until_ns } => {
                        if input != Input::AdvertFailed {
                            prop_assert_eq!(Some(until_ns), earned, "a lease without its advert");
                        }
                        lease = until_ns;
                    }
                    Output::ReleaseLease => lease = 0,
                    Output::BecomeMaster { .. } => {
                        prop_assert!(!serving);
                        prop_assert!(lease > now, "master without a lease");
                        serving = true;
                    }
                    Output::BecomeBackup { .. } => {
                        prop_assert_eq!(lease, 0, "backup with a lease");
                        serving = false;
                    }
                    Output::Announce => prop_assert!(serving, "announced what is not served"),
                    Output::WantSync
                    | Output::Probe { .. }
                    | Output::AskWitnesses { .. }
                    | Output::AskAddresses
                    | Output::Isolated
                    | Output::Rejoined
                    | Output::Notice(_) => {}
                }
            }
            prop_assert_eq!(machine.is_master(), serving);
            prop_assert_eq!(machine.status().lease_until_ns.unwrap_or(0), lease);
            if serving {
                prop_assert!(lease > now);
                prop_assert!(machine.deadline_ns().unwrap() <= now + Interval::MAX.ns());
            }
            if let Some(deadline) = machine.deadline_ns() {
                // Nothing waits for ever: five of the longest intervals and a sync.
                prop_assert!(deadline <= now + 5 * Interval::MAX.ns() + 5 * SECOND);
            }
        }
    }

    /// With no other node to hear, a node that may be master becomes master in bounded time.
    #[test]
    fn a_lone_node_serves_after_any_past(
        steps in prop::collection::vec((0..4_000u64, inputs()), 0..40),
    ) {
        let mut machine = Machine::new(ours(), 0);
        let mut now = 0;
        for (after_ms, input) in steps {
            now += after_ms * MS;
            handle(&mut machine, now, input);
        }
        handle(&mut machine, now, Input::ConfigChanged(ours()));
        handle(&mut machine, now, Input::Health(Health::GOOD));
        handle(&mut machine, now, Input::Start { found: Found::Nothing });
        // A start after a master that is gone waits as long as that one's interval says.
        let end = now + 8 * Interval::MAX.ns() + 2 * master_down_ns(OURS, Interval::DEFAULT) + 5 * SECOND;
        while let Some(deadline) = machine.deadline_ns().filter(|at| *at <= end) {
            handle(&mut machine, deadline, Input::Timer);
            if machine.is_master() {
                break;
            }
        }
        prop_assert!(machine.is_master());
    }
}
