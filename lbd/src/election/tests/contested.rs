//! Adverts that no key here verifies.
use super::*;

fn unbelieved() -> Input {
    let from = HIGH.parse().unwrap();
    Input::Unbelieved { from }
}

fn answered() -> Input {
    let address = "192.0.2.25".parse().unwrap();
    Input::RivalClaim { address }
}

#[test]
fn a_node_with_a_wrong_key_does_not_become_master_beside_one_that_answers_for_the_vip() {
    let mut machine = started(ours());
    let first = handle(&mut machine, SECOND, unbelieved());
    assert_eq!(words(&first), "backup Contested");
    let mut asked = 0;
    for second in 2..60 {
        let now = second * SECOND;
        while let Some(at) = machine.deadline_ns().filter(|at| *at <= now) {
            let said = words(&handle(&mut machine, at, Input::Timer));
            if said == "ask" {
                asked += 1;
                handle(&mut machine, at + MS, answered());
            }
        }
        handle(&mut machine, now, unbelieved());
        assert!(!machine.is_master(), "second {second}");
    }
    assert!(asked > 10, "{asked}");
    // The other is gone: this node has to serve.
    let mut last = String::new();
    while !machine.is_master() {
        let at = machine.deadline_ns().unwrap();
        assert!(at < 70 * SECOND);
        last = words(&handle(&mut machine, at, Input::Timer));
    }
    assert!(last.contains("master MasterDown"), "{last}");
}

#[test]
fn junk_delays_a_start_by_one_interval_however_long_it_lasts() {
    let mut machine = started(ours());
    let mut at = 100 * MS;
    while !machine.is_master() {
        while let Some(due) = machine.deadline_ns().filter(|due| *due <= at) {
            handle(&mut machine, due, Input::Timer);
            if machine.is_master() {
                break;
            }
        }
        handle(&mut machine, at, unbelieved());
        at += 100 * MS;
        assert!(
            at < 5 * SECOND,
            "master-down is 3.4 s, from the first of it"
        );
    }
}

#[test]
fn a_start_as_master_listens_for_a_round_where_adverts_must_be_signed() {
    let config = Config {
        start_as: StartAs::Master,
        enforces: true,
        ..ours()
    };
    let mut machine = started(config);
    assert_eq!(words(&handle(&mut machine, MS, Input::SyncDone)), "");
    let due = SECOND + skew_ns(OURS, SECOND);
    assert_eq!(machine.deadline_ns(), Some(due));
    let mut contested = machine.clone();
    assert!(words(&handle(&mut machine, due, Input::Timer)).contains("master Preempted"));

    handle(&mut contested, 900 * MS, unbelieved());
    assert_eq!(words(&handle(&mut contested, due, Input::Timer)), "");
}

#[test]
fn a_master_does_not_yield_to_whom_it_does_not_believe() {
    let (mut machine, now) = master(ours());
    assert_eq!(words(&handle(&mut machine, now + MS, unbelieved())), "");
    assert!(machine.is_master());
}
