//! The seed's rule, case by case.
use super::*;

#[test]
fn above_the_average_or_the_threshold_means_shut_off() {
    // (what it shows, unique sources, who accepts)
    let table: [(&str, &[u64], &[bool]); 10] = [
        ("an idle site", &[0, 0, 0, 0], &[true; 4]),
        ("an even site", &[120, 120, 120, 120], &[true; 4]),
        // average 60 + 50 = 110, reached
        (
            "at the average + 50",
            &[110, 43, 43, 44],
            &[false, true, true, true],
        ),
        // average 60 + 50, one below
        (
            "just below the average + 50",
            &[109, 43, 44, 44],
            &[true; 4],
        ),
        ("at the high threshold", &[200, 190, 190, 190], &[true; 4]),
        (
            "above the high threshold",
            &[201, 190, 190, 190],
            &[false, true, true, true],
        ),
        (
            "both limits",
            &[251, 10, 10, 10],
            &[false, true, true, true],
        ),
        (
            "two of four",
            &[180, 180, 10, 10],
            &[false, false, true, true],
        ),
        // Active means online, so the rule's own shut-offs do not protect the rest.
        (
            "all above the threshold",
            &[250, 250, 250, 250],
            &[false; 4],
        ),
        ("a single server", &[400], &[false]),
    ];
    for (name, connections, expected) in table {
        let output = judged(Kind::Seed, connections);
        assert_eq!(accepting(&output), expected, "{name}: {connections:?}");
    }
}

#[test]
fn no_backend_is_shut_off_while_fewer_than_half_are_online() {
    for (down, expected) in [(1, false), (2, false), (3, true)] {
        let mut site = site("dallas", 0, &[251, 10, 10, 10]);
        for backend in site.backends.iter_mut().rev().take(down) {
            backend.health.state = HealthState::Down;
        }
        let output = Policy::new().step(&input(Kind::Seed, vec![site]));
        assert_eq!(accepting(&output)[0], expected, "{down} down");
    }
}

#[test]
fn those_not_online_do_not_lower_the_average() {
    // With the dead one the average would be 50 and 110 would be over it by 60.
    let mut site = site("dallas", 0, &[110, 90, 0]);
    site.backends[2].health.state = HealthState::Down;
    let output = Policy::new().step(&input(Kind::Seed, vec![site]));
    assert_eq!(accepting(&output), [true, true, false]);
    assert!((output.sites[0].average - 100.0).abs() < 1e-9);
}

#[test]
fn sessions_count_when_asked_for() {
    let mut input = input(Kind::Seed, vec![site("dallas", 0, &[10, 10])]);
    for (count, expected) in [(Count::UniqueIps, true), (Count::Sessions, false)] {
        input.settings.count = count;
        let backend = &mut input.sites[0].backends[0];
        backend.polled.as_mut().expect("set").figures.sessions = Some(300);
        let output = Policy::new().step(&input);
        assert_eq!(accepting(&output)[0], expected, "{count:?}");
    }
}

#[test]
fn each_site_is_judged_by_its_own_average() {
    let sites = vec![
        site("dallas", 0, &[150, 150]),
        site("austin", 10, &[10, 10, 130]),
    ];
    let output = Policy::new().step(&input(Kind::Seed, sites));
    assert_eq!(accepting(&output), [true, true, true, true, false]);
}

#[test]
fn nothing_is_remembered() {
    let mut policy = Policy::new();
    let mut input = input(Kind::Seed, vec![site("dallas", 0, &[251, 10, 10])]);
    assert!(!accepting(&policy.step(&input))[0]);
    input.sites[0] = site("dallas", 0, &[59, 10, 10]);
    assert!(accepting(&policy.step(&input))[0]);
}

#[test]
fn own_figures_serve_while_the_source_is_silent() {
    let mut site = site("dallas", 0, &[10, 10, 10]);
    site.backends[0].polled = None;
    site.backends[0].live.unique_sources = Some(251);
    site.backends[1].polled.as_mut().expect("set").age_ns = 31 * SECOND_NS;
    site.backends[1].live.unique_sources = Some(240);
    let output = Policy::new().step(&input(Kind::Seed, vec![site]));
    assert_eq!(accepting(&output), [false, false, true]);
}

#[test]
fn the_limits_are_the_operators() {
    let mut input = input(Kind::Seed, vec![site("dallas", 0, &[40, 10, 10])]);
    input.settings.above_average = 20.0;
    assert_eq!(accepting(&Policy::new().step(&input)), [false, true, true]);
    input.settings.above_average = 50.0;
    input.settings.high_threshold = 39.0;
    assert_eq!(accepting(&Policy::new().step(&input)), [false, true, true]);
    input.settings.min_active = 1.0;
    input.sites[0].backends[2].health.state = HealthState::Down;
    assert_eq!(accepting(&Policy::new().step(&input)), [true, true, false]);
}
