//! Life, the agent and the operator stand above every rule; active-passive above the shares.
use super::*;

const KINDS: [Kind; 2] = [Kind::Seed, Kind::QueueAware];

type Change = fn(&mut BackendInput);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn who_decides_on_a_backend() {
    // (what it shows, change to mx1, weight, the reason's first words)
    let table: [(&str, Change, u32, &str); 15] = [
        ("nothing", |_| (), 100_000, "full weight"),
        ("down", |b| b.health.state = HealthState::Down, 0, "down"),
        (
            "full",
            |b| b.health.state = HealthState::Full,
            0,
            "full: answers 421",
        ),
        (
            "drained",
            |b| b.operator = Some(Override::Drain),
            0,
            "drained by the operator",
        ),
        (
            "drained and down",
            |b| {
                b.operator = Some(Override::Drain);
                b.health.state = HealthState::Down;
            },
            0,
            "drained by the operator",
        ),
        (
            "an operator's weight",
            |b| b.operator = Some(Override::Weight(Weight(7))),
            7_000,
            "weight 7 set by the operator",
        ),
        (
            "an operator's weight on a dead box",
            |b| {
                b.operator = Some(Override::Weight(Weight(7)));
                b.health.state = HealthState::Down;
            },
            0,
            "down",
        ),
        (
            "an operator's weight against every figure",
            |b| {
                b.operator = Some(Override::Weight(Weight(100)));
                b.polled.as_mut().expect("set").figures = figures(900, 900);
            },
            100_000,
            "weight 100 set by the operator",
        ),
        (
            "an operator's 0",
            |b| b.operator = Some(Override::Weight(Weight(0))),
            0,
            "weight 0 set by the operator",
        ),
        (
            "a configured 0",
            |b| b.weight = Weight(0),
            0,
            "no new sessions: configured weight 0",
        ),
        (
            "an agent's drain",
            |b| {
                b.polled.as_mut().expect("set").figures.state = Some(AgentState::Drain);
            },
            0,
            "no new sessions: its agent asks",
        ),
        (
            "an agent's weight",
            |b| {
                b.polled.as_mut().expect("set").figures.weight_percent = Some(75);
            },
            75_000,
            "",
        ),
        (
            "no virtual address there",
            |b| {
                b.polled.as_mut().expect("set").figures.vip_ready = Some(false);
            },
            0,
            "no new sessions: its agent misses a virtual address",
        ),
        (
            "as many sessions as its agent allows",
            |b| {
                b.polled.as_mut().expect("set").figures.session_limit = Some(100);
            },
            0,
            "full: 100 sessions, its agent allows 100",
        ),
        (
            "fewer sessions than its agent allows",
            |b| {
                b.polled.as_mut().expect("set").figures.session_limit = Some(101);
            },
            100_000,
            "full weight",
        ),
    ];
    for kind in KINDS {
        for (name, change, weight, reason) in table {
            let mut site = site("dallas", 0, &[50, 50, 50]);
            change(&mut site.backends[0]);
            let output = Policy::new().step(&input(kind, vec![site]));
            let decision = &output.sites[0].backends[0];
            assert_eq!(decision.weight.0, weight, "{kind:?}, {name}: {decision:?}");
            let said = decision.reason.to_string();
            assert!(said.starts_with(reason), "{kind:?}, {name}: {said}");
        }
    }
}

#[test]
fn an_agent_s_old_wish_is_forgotten() {
    for kind in KINDS {
        let mut site = site("dallas", 0, &[50, 50, 50]);
        let polled = site.backends[0].polled.as_mut().expect("set");
        polled.figures.state = Some(AgentState::Down);
        polled.age_ns = 31 * SECOND_NS;
        let output = Policy::new().step(&input(kind, vec![site]));
        assert!(output.sites[0].backends[0].accepting, "{kind:?}");
    }
}

#[test]
fn with_all_drained_nothing_has_a_weight() {
    for kind in KINDS {
        let mut site = site("dallas", 0, &[50, 50, 50]);
        for backend in &mut site.backends {
            backend.operator = Some(Override::Drain);
        }
        let output = Policy::new().step(&input(kind, vec![site]));
        assert_eq!(weights(&output), [0, 0, 0], "{kind:?}");
    }
}

/// The master, changes by place, and who gets everything.
type Case<'a> = (Option<u16>, &'a [(usize, Change)], Option<usize>);

#[test]
fn active_passive_gives_everything_to_one() {
    let drain: Change = |b| b.operator = Some(Override::Drain);
    let die: Change = |b| b.health.state = HealthState::Down;
    let load: Change = |b| b.polled.as_mut().expect("set").figures = figures(999, 999);
    let heavy: Change = |b| b.weight = Weight(300);
    let table: [Case<'_>; 8] = [
        (Some(1), &[], Some(1)),
        (Some(1), &[(1, load)], Some(1)),
        (Some(1), &[(1, die)], Some(0)),
        (Some(1), &[(1, drain), (2, heavy)], Some(2)),
        (None, &[], Some(0)),
        (Some(77), &[(0, die)], Some(1)),
        (Some(0), &[(0, die), (1, drain), (2, die)], None),
        (Some(2), &[(2, heavy)], Some(2)),
    ];
    for kind in KINDS {
        for (master, changes, chosen) in table {
            let mut site = site("dallas", 0, &[50, 50, 50]);
            for (place, change) in changes {
                change(&mut site.backends[*place]);
            }
            let mut input = input(kind, vec![site]);
            input.mode = Mode::ActivePassive {
                master: master.map(BackendId),
            };
            let output = Policy::new().step(&input);
            let places: Vec<usize> = (0..3).filter(|place| accepting(&output)[*place]).collect();
            assert_eq!(
                places,
                chosen.into_iter().collect::<Vec<_>>(),
                "{kind:?} {master:?}"
            );
            assert_eq!(output.sites[0].active as usize, places.len());
        }
    }
}
