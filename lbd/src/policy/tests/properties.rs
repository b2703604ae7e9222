//! What no input may break.
use proptest::prelude::*;

use super::*;

fn any_figures() -> impl Strategy<Value = Figures> {
    let count = || prop::option::of(prop_oneof![0..300_u64, Just(u64::MAX), any::<u64>()]);
    let state = prop::option::of(prop_oneof![
        3 => Just(AgentState::Ready),
        1 => Just(AgentState::Drain),
        1 => Just(AgentState::Down),
    ]);
    let counts = (count(), count(), count(), count(), count(), count());
    let asked = (prop::option::of(0..2000_u32), any::<Option<bool>>());
    (counts, state, asked).prop_map(|(counts, state, (weight_percent, vip_ready))| Figures {
        queued: counts.0,
        deferred: counts.1,
        sessions: counts.2,
        unique_ips: counts.3,
        not_accepted: counts.4,
        state,
        weight_percent,
        session_limit: counts.5,
        vip_ready,
    })
}

fn any_backend() -> impl Strategy<Value = BackendInput> {
    let health = prop_oneof![
        4 => Just(HealthState::Up),
        1 => Just(HealthState::Unknown),
        1 => Just(HealthState::Full),
        1 => Just(HealthState::Down),
    ];
    let operator = prop_oneof![
        5 => Just(None),
        1 => Just(Some(Override::Drain)),
        1 => (0..10_001_u16).prop_map(|weight| Some(Override::Weight(Weight(weight)))),
    ];
    let age = prop_oneof![0..100_000_000_000_u64, any::<u64>()];
    let polled = prop::option::of((age, any_figures()));
    let live = (
        any::<u64>(),
        prop::option::of(any::<u64>()),
        0..1000_u64,
        any::<u64>(),
    );
    (0..10_001_u16, operator, health, polled, live).prop_map(
        |(weight, operator, state, polled, live)| BackendInput {
            operator,
            health: Health {
                state,
                since_ns: live.3,
            },
            polled: polled.map(|(age_ns, figures)| Polled { age_ns, figures }),
            live: Live {
                sessions: live.0,
                unique_sources: live.1,
                completed: live.2,
                mean_lifetime_ns: live.3,
                mean_bytes: live.0,
                taken: (live.0 % 3 == 0).then_some(live.0),
            },
            ..BackendInput::new(BackendId(0), "", Weight(weight))
        },
    )
}

fn any_site(name: &'static str, first_id: u16) -> impl Strategy<Value = SiteInput> {
    prop::collection::vec(any_backend(), 1..7).prop_map(move |mut backends| {
        for (id, backend) in (first_id..).zip(&mut backends) {
            backend.id = BackendId(id);
            backend.name = format!("mx{id}");
        }
        SiteInput {
            name: name.to_owned(),
            spill: Vec::new(),
            backends,
        }
    })
}

/// Several steps with anything at all in each.
fn any_steps() -> impl Strategy<Value = Vec<Input>> {
    let kind = prop_oneof![Just(Kind::Seed), Just(Kind::QueueAware)];
    let sites = (any_site("dallas", 0), any_site("austin", 20), any::<bool>());
    let step = (kind, sites, 0..200_u64).prop_map(|(kind, (mut dallas, austin, spill), after)| {
        if spill {
            dallas.spill.push("austin".to_owned());
        }
        let mut input = input(kind, vec![dallas, austin]);
        input.now_ns += after * SECOND_NS;
        input
    });
    prop::collection::vec(step, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_figures_give_sound_weights(steps in any_steps()) {
        let mut policy = Policy::new();
        for input in &steps {
            let output = policy.step(input);
            let inputs = input.sites.iter().flat_map(|site| &site.backends);
            prop_assert_eq!(output.decisions().count(), input.backend_count());
            for (backend, decision) in inputs.zip(output.decisions()) {
                prop_assert_eq!(backend.id, decision.id);
                prop_assert_eq!(decision.accepting, decision.weight.0 > 0);
                prop_assert!(!decision.reason.to_string().is_empty());
                prop_assert!(decision.basis.load.is_finite());
                let most = match backend.operator {
                    Some(Override::Drain) => 0,
                    Some(Override::Weight(weight)) => weight.full().0,
                    None => backend.weight.full().0.saturating_mul(10),
                };
                prop_assert!(decision.weight.0 <= most, "{:?}", decision);
                if backend.health.state == HealthState::Down {
                    prop_assert!(!decision.accepting);
                }
            }
            for site in &output.sites {
                let active = site.backends.iter().filter(|one| one.accepting).count();
                prop_assert_eq!(site.active as usize, active);
                prop_assert!(site.average.is_finite() && site.mean_load.is_finite());
            }
        }
    }

    #[test]
    fn load_never_takes_more_than_half_of_a_site(steps in any_steps()) {
        let mut policy = Policy::new();
        for mut input in steps {
            input.settings.kind = Kind::QueueAware;
            for site in &mut input.sites {
                site.spill.clear();
            }
            let output = policy.step(&input);
            for site in &output.sites {
                let by_rule = |decision: &&Decision| matches!(
                    decision.reason,
                    Reason::ShutOffAboveAverage { .. }
                        | Reason::ShutOffHighThreshold { .. }
                        | Reason::StillShutOff { .. }
                        | Reason::Full { .. }
                        | Reason::AtLimit { .. }
                );
                let shut = site.backends.iter().filter(by_rule).count();
                let half = site.backends.len().div_ceil(2);
                prop_assert!(shut == 0 || site.active as usize >= half, "{:?}", site);
            }
        }
    }

    #[test]
    fn the_same_steps_give_the_same_decisions(steps in any_steps()) {
        let run = || {
            let mut policy = Policy::new();
            steps.iter().map(|input| policy.step(input)).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
