//! Adverts that nobody here can verify.
use super::*;

fn unbelieved() -> Input {
    let from = HIGH.parse().unwrap();
    Input::Unbelieved { from }
}

#[test]
fn a_node_with_a_wrong_key_does_not_become_master_beside_another() {
    let mut machine = started(ours());
    let first = handle(&mut machine, SECOND, unbelieved());
    assert_eq!(words(&first), "backup Contested");
    for second in 2..20 {
        let outputs = handle(&mut machine, second * SECOND, unbelieved());
        assert_eq!(words(&outputs), "");
        handle(&mut machine, second * SECOND, Input::Timer);
        assert!(!machine.is_master());
    }
    assert_eq!(machine.counters().contested, 19);
    // The other is gone: somebody has to serve.
    let due = 19 * SECOND + master_down_ns(OURS, Interval::DEFAULT);
    assert_eq!(machine.deadline_ns(), Some(due));
    assert!(words(&handle(&mut machine, due, Input::Timer)).contains("master MasterDown"));
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
