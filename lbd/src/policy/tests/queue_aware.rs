//! Weights that follow queues and unique sources.
use super::*;

/// One site of four; `change` is applied before every step. Weights of the last of `steps`.
fn after(steps: u32, change: impl Fn(&mut Input)) -> Vec<u32> {
    let mut policy = Policy::new();
    let mut input = input(Kind::QueueAware, vec![site("dallas", 0, &[50, 50, 50, 50])]);
    change(&mut input);
    let mut output = policy.step(&input);
    for _ in 1..steps {
        later(&mut input);
        change(&mut input);
        output = policy.step(&input);
    }
    weights(&output)
}

fn set(input: &mut Input, backend: usize, figures: Figures) {
    input.sites[0].backends[backend].polled = Some(Polled { age_ns: 0, figures });
}

#[test]
fn an_even_site_has_its_configured_weights() {
    assert_eq!(after(1, |_| ()), [100_000; 4]);
}

#[test]
fn the_weight_goes_to_the_formula_s_target() {
    // Load 130 against a mean of 70, scale 20: 1 / (1 + 60 / 20) = 1/4.
    let weights = after(40, |input| set(input, 1, figures(50, 80)));
    assert_eq!(weights, [100_000, 25_000, 100_000, 100_000]);
}

#[test]
fn a_queue_lowers_within_one_step_and_never_below_the_floor() {
    let queue = |queued| move |input: &mut Input| set(input, 2, figures(50, queued));
    assert!(after(1, queue(100))[2] < 70_000);
    assert_eq!(after(60, queue(1_000_000))[2], 10_000);
}

#[test]
fn deferred_mail_is_the_far_ends_fault() {
    let weights = after(10, |input| {
        let figures = Figures {
            deferred: Some(100_000),
            ..figures(50, 0)
        };
        set(input, 0, figures);
    });
    assert_eq!(weights, [100_000; 4]);
}

#[test]
fn unaccepted_connections_are_load() {
    let weights = after(10, |input| {
        let figures = Figures {
            not_accepted: Some(200),
            ..figures(50, 0)
        };
        set(input, 0, figures);
    });
    assert!(weights[0] < 30_000, "{weights:?}");
}

#[test]
fn a_box_that_cannot_say_its_queue_is_neither_favoured_nor_punished() {
    let weights = after(20, |input| {
        for backend in 0..3 {
            set(input, backend, figures(50, 300));
        }
        let silent = Figures {
            queued: None,
            ..figures(50, 0)
        };
        set(input, 3, silent);
    });
    assert_eq!(weights, [100_000; 4]);
}

#[test]
fn load_is_per_unit_of_weight() {
    // A box of twice the weight may hold twice as much of everything.
    let weights = after(10, |input| {
        input.sites[0].backends[0].weight = Weight(200);
        set(input, 0, figures(100, 60));
        for backend in 1..4 {
            set(input, backend, figures(50, 30));
        }
    });
    assert_eq!(weights, [200_000, 100_000, 100_000, 100_000]);
}

#[test]
fn shares_return_after_the_cure() {
    let mut policy = Policy::new();
    let mut input = input(Kind::QueueAware, vec![site("dallas", 0, &[50, 50, 50, 50])]);
    set(&mut input, 0, figures(50, 400));
    for _ in 0..10 {
        policy.step(&input);
        later(&mut input);
    }
    let low = weights(&policy.step(&input))[0];
    set(&mut input, 0, figures(50, 0));
    let mut last = low;
    for _ in 0..30 {
        later(&mut input);
        let now = weights(&policy.step(&input))[0];
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
    assert!(low < 15_000 && last > 99_000, "{low} to {last}");
}

#[test]
fn a_shut_off_ends_only_well_below_its_limit() {
    let mut policy = Policy::new();
    let mut input = input(Kind::QueueAware, vec![site("dallas", 0, &[0, 60, 60, 60])]);
    // Shut off at the others' level plus 67: average 60 + n/4 with n = 127, + 50. Back below
    // the average + 30.
    for (connections, expected) in [
        (120, true),
        (130, false),
        (115, false),
        (105, false),
        (95, true),
        (120, true),
    ] {
        set(&mut input, 0, figures(connections, 0));
        let output = policy.step(&input);
        assert_eq!(accepting(&output)[0], expected, "{connections}: {output:?}");
        later(&mut input);
    }
}

#[test]
fn back_from_a_shut_off_it_starts_low() {
    let mut policy = Policy::new();
    let mut input = input(
        Kind::QueueAware,
        vec![site("dallas", 0, &[300, 60, 60, 60])],
    );
    policy.step(&input);
    set(&mut input, 0, figures(60, 0));
    later(&mut input);
    let weight = weights(&policy.step(&input))[0];
    assert!((1..=40_000).contains(&weight), "{weight}");
}

#[test]
fn an_evenly_busy_site_is_not_halved() {
    let output = judged(Kind::QueueAware, &[260, 255, 250, 245]);
    assert_eq!(accepting(&output), [true; 4]);
    // The seed's rule closes it altogether.
    assert_eq!(
        accepting(&judged(Kind::Seed, &[260, 255, 250, 245])),
        [false; 4]
    );
}

#[test]
fn half_of_the_servers_stay_active_and_the_kept_say_so() {
    let mut sites = vec![site("dallas", 0, &[400, 300, 0, 0])];
    sites[0].backends[3].health.state = HealthState::Down;
    let output = Policy::new().step(&input(Kind::QueueAware, sites));
    assert_eq!(accepting(&output), [false, true, true, false]);
    let mut sites = vec![site("dallas", 0, &[400, 10, 0, 0])];
    sites[0].backends[2].health.state = HealthState::Down;
    sites[0].backends[3].health.state = HealthState::Down;
    let output = Policy::new().step(&input(Kind::QueueAware, sites));
    assert_eq!(accepting(&output), [true, true, false, false]);
    assert!(matches!(
        output.sites[0].backends[0].reason,
        Reason::KeptByGuard { .. }
    ));
}

#[test]
fn full_boxes_rest_unless_they_are_needed() {
    for (full, expected) in [
        (1, vec![false, true, true, true]),
        (4, vec![false, false, true, true]),
    ] {
        let mut site = site("dallas", 0, &[50, 50, 50, 50]);
        for backend in &mut site.backends[..full] {
            backend.health.state = HealthState::Full;
        }
        let output = Policy::new().step(&input(Kind::QueueAware, vec![site]));
        assert_eq!(accepting(&output), expected, "{full} full");
    }
}

#[test]
fn a_returned_box_starts_slowly_and_a_new_one_does_not() {
    let mut policy = Policy::new();
    let mut input = input(Kind::QueueAware, vec![site("dallas", 0, &[50, 50, 50, 50])]);
    assert_eq!(weights(&policy.step(&input))[0], 100_000);
    input.sites[0].backends[0].health.state = HealthState::Down;
    later(&mut input);
    assert_eq!(weights(&policy.step(&input))[0], 0);
    input.sites[0].backends[0].health.state = HealthState::Up;
    later(&mut input);
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(weights(&policy.step(&input))[0]);
        later(&mut input);
    }
    assert_eq!(seen[0], 10_000);
    assert!(seen.is_sorted() && seen[3] < 60_000, "{seen:?}");
    assert_eq!(seen[6], 100_000);
}

#[test]
fn old_figures_decay_towards_the_configured_weight() {
    let mut policy = Policy::new();
    let mut input = input(Kind::QueueAware, vec![site("dallas", 0, &[50, 50, 50, 50])]);
    set(&mut input, 0, figures(50, 1000));
    for _ in 0..10 {
        policy.step(&input);
        later(&mut input);
    }
    let mut seen = Vec::new();
    for polls in 1..20 {
        let polled = input.sites[0].backends[0].polled.as_mut().expect("set");
        polled.age_ns = polls * input.settings.poll_interval_ns;
        seen.push(weights(&policy.step(&input))[0]);
        later(&mut input);
    }
    assert!(seen[2] < 15_000, "three polls old is still good: {seen:?}");
    assert!(seen[2..].is_sorted(), "{seen:?}");
    assert!(seen[18] > 95_000, "{seen:?}");
}

#[test]
fn a_box_that_fails_its_sessions_at_once_loses_its_weight() {
    let lives = |failing: usize| {
        move |input: &mut Input| {
            for (i, backend) in input.sites[0].backends.iter_mut().enumerate() {
                backend.live.completed = 100;
                backend.live.mean_lifetime_ns = if i == failing {
                    SECOND_NS / 10
                } else {
                    4 * SECOND_NS
                };
            }
        }
    };
    let weights = after(1, lives(1));
    assert_eq!(weights, [100_000, 2_000, 100_000, 100_000]);
}

#[test]
fn one_slow_box_does_not_make_the_other_look_failing() {
    let mut sites = vec![site("dallas", 0, &[50, 50])];
    for (backend, lifetime_ns) in sites[0]
        .backends
        .iter_mut()
        .zip([SECOND_NS, 90 * SECOND_NS])
    {
        backend.live.completed = 100;
        backend.live.mean_lifetime_ns = lifetime_ns;
    }
    let output = Policy::new().step(&input(Kind::QueueAware, sites));
    assert_eq!(weights(&output), [100_000, 100_000]);
}

#[test]
fn one_slow_box_of_three_does_not_make_the_others_look_failing() {
    let mut sites = vec![site("dallas", 0, &[50, 50, 50])];
    for (backend, lifetime_ns) in
        sites[0]
            .backends
            .iter_mut()
            .zip([SECOND_NS, SECOND_NS, 90 * SECOND_NS])
    {
        backend.live.completed = 100;
        backend.live.mean_lifetime_ns = lifetime_ns;
    }
    let output = Policy::new().step(&input(Kind::QueueAware, sites));
    assert_eq!(weights(&output), [100_000; 3]);
}

#[test]
fn the_only_quick_box_is_not_taken_for_a_failing_one() {
    let mut sites = vec![site("dallas", 0, &[50, 50, 50, 50])];
    for (index, backend) in sites[0].backends.iter_mut().enumerate() {
        backend.live.completed = 100;
        backend.live.mean_bytes = 20_000;
        backend.live.mean_lifetime_ns = if index == 0 {
            SECOND_NS
        } else {
            60 * SECOND_NS
        };
    }
    let output = Policy::new().step(&input(Kind::QueueAware, sites));
    assert_eq!(weights(&output), [100_000; 4]);
}

#[test]
fn a_removed_backend_leaves_nothing_to_its_successor() {
    let mut policy = Policy::new();
    let mut input = input(Kind::QueueAware, vec![site("dallas", 0, &[50, 50, 50, 50])]);
    set(&mut input, 3, figures(50, 10_000));
    policy.step(&input);
    let removed = input.sites[0].backends.pop().expect("four");
    policy.step(&input);
    input.sites[0].backends.push(BackendInput {
        polled: None,
        ..removed
    });
    assert_eq!(weights(&policy.step(&input))[3], 100_000);
}

#[test]
fn a_given_away_id_does_not_bring_its_former_owners_past() {
    let mut policy = Policy::new();
    let mut input = input(Kind::QueueAware, vec![site("dallas", 0, &[50, 50, 50, 50])]);
    set(&mut input, 3, figures(50, 10_000));
    policy.step(&input);
    later(&mut input);
    input.sites[0].backends[3].name = "new".to_owned();
    set(&mut input, 3, figures(50, 0));
    assert_eq!(weights(&policy.step(&input))[3], 100_000);
}

#[test]
fn orders_between_two_steps_are_obeyed_and_change_nothing_else() {
    let site = site("dallas", 0, &[50, 50, 50, 50]);
    let mut input = input(Kind::QueueAware, vec![site]);
    set(&mut input, 1, figures(50, 300));
    let mut policy = Policy::new();
    let before = weights(&policy.step(&input));
    let mut ordered = input.clone();
    ordered.sites[0].backends[3].operator = Some(Override::Weight(Weight(7)));
    for _ in 0..100 {
        assert_eq!(weights(&policy.preview(&ordered))[3], 7_000);
    }
    later(&mut input);
    let mut without = Policy::new();
    assert_eq!(weights(&without.step(&input)), before);
    assert_eq!(policy.step(&input), without.step(&input));
}
