//! From a full site to its stand-in, and back.
use super::*;

fn two_sites(kind: Kind) -> Input {
    let mut sites = vec![site("dallas", 0, &[50, 50]), site("austin", 10, &[50, 50])];
    sites[0].spill = vec!["austin".to_owned()];
    input(kind, sites)
}

fn all_of(input: &mut Input, site: usize, state: HealthState) {
    for backend in &mut input.sites[site].backends {
        backend.health.state = state;
    }
}

#[test]
fn a_stand_in_waits_takes_over_and_is_relieved() {
    for kind in [Kind::Seed, Kind::QueueAware] {
        let mut policy = Policy::new();
        let mut input = two_sites(kind);
        assert_eq!(
            accepting(&policy.step(&input)),
            [true, true, false, false],
            "{kind:?}"
        );
        all_of(&mut input, 0, HealthState::Down);
        later(&mut input);
        let output = policy.step(&input);
        assert_eq!(accepting(&output), [false, false, true, true], "{kind:?}");
        assert!(output.sites[0].spilling);
        all_of(&mut input, 0, HealthState::Up);
        // One good figure is no recovery: both sites share for two steps more.
        for expected in [true, true, false, false] {
            later(&mut input);
            let output = policy.step(&input);
            assert_eq!(
                accepting(&output),
                [true, true, expected, expected],
                "{kind:?}"
            );
        }
    }
}

#[test]
fn one_box_with_room_keeps_the_spill_closed() {
    let mut input = two_sites(Kind::QueueAware);
    input.sites[0].backends[0].health.state = HealthState::Down;
    let output = Policy::new().step(&input);
    assert_eq!(accepting(&output), [false, true, false, false]);
}

#[test]
fn boxes_that_only_the_guard_keeps_have_no_room() {
    let mut input = two_sites(Kind::QueueAware);
    all_of(&mut input, 0, HealthState::Full);
    let output = Policy::new().step(&input);
    assert_eq!(accepting(&output), [false, true, true, true]);
}

#[test]
fn sites_that_spill_to_each_other_all_work() {
    let mut input = two_sites(Kind::QueueAware);
    input.sites[1].spill = vec!["dallas".to_owned()];
    assert_eq!(accepting(&Policy::new().step(&input)), [true; 4]);
}

#[test]
fn sites_without_a_spill_all_work() {
    let mut input = two_sites(Kind::QueueAware);
    input.sites[0].spill.clear();
    assert_eq!(accepting(&Policy::new().step(&input)), [true; 4]);
}

#[test]
fn a_stand_in_is_judged_by_its_own_figures_too() {
    let mut input = two_sites(Kind::QueueAware);
    all_of(&mut input, 0, HealthState::Down);
    input.sites[1].backends[0].operator = Some(Override::Drain);
    let output = Policy::new().step(&input);
    assert_eq!(accepting(&output), [false, false, false, true]);
    assert!(matches!(
        output.sites[1].backends[1].reason,
        Reason::TakesOver { .. }
    ));
}
