//! Taking over from a master that lives.
use super::*;
use crate::election::timing::SUCCESSOR;

#[test]
fn start_as_master_takes_over_as_soon_as_it_has_the_flows() {
    let mut machine = Machine::new(
        Config {
            start_as: StartAs::Master,
            ..ours()
        },
        0,
    );
    handle(&mut machine, 0, Input::Health(Health::GOOD));
    let start = handle(
        &mut machine,
        0,
        Input::Start {
            found: Found::Nothing,
        },
    );
    assert_eq!(words(&start), "backup Started, ask, sync");
    // Another box that has the virtual addresses would have answered by then.
    assert_eq!(words(&handle(&mut machine, MS, Input::SyncDone)), "");
    let due = machine.deadline_ns().unwrap();
    assert!(due < 100 * MS);
    assert!(words(&handle(&mut machine, due, Input::Timer)).contains("master Preempted"));
}

/// Our adverts every 100 ms, the master's every second.
#[test]
fn a_start_beside_a_master_that_speaks_seldom_waits_for_its_adverts() {
    for start_as in [StartAs::Backup, StartAs::Master] {
        let config = Config {
            interval: Interval::from_centiseconds(10).unwrap(),
            start_as,
            ..ours()
        };
        let mut machine = started(config);
        handle(&mut machine, MS, Input::SyncDone);
        let vip = Input::RivalClaim {
            address: "192.0.2.25".parse().unwrap(),
        };
        handle(&mut machine, 2 * MS, vip);
        while let Some(at) = machine.deadline_ns().filter(|at| *at <= 950 * MS) {
            handle(&mut machine, at, Input::Timer);
        }
        assert!(
            !machine.is_master(),
            "{start_as}: it would take over unheard"
        );
        handle(&mut machine, 950 * MS, heard(HIGH, 200));
        assert!(machine.status().leader.is_some());
        // A box that answers for the addresses and never speaks is waited for once.
        let mut silent = started(config);
        handle(&mut silent, 2 * MS, vip);
        for second in 0..5 {
            while let Some(at) = silent.deadline_ns().filter(|at| *at <= second * SECOND) {
                handle(&mut silent, at, Input::Timer);
            }
            handle(&mut silent, second * SECOND + 3 * MS, vip);
        }
        assert!(silent.is_master(), "{start_as}");
    }
}

#[test]
fn start_as_master_before_the_data_plane_is_there_is_not_forgotten() {
    let mut machine = Machine::new(
        Config {
            start_as: StartAs::Master,
            ..ours()
        },
        0,
    );
    handle(
        &mut machine,
        0,
        Input::Start {
            found: Found::Nothing,
        },
    );
    let cured = handle(&mut machine, SECOND, Input::Health(Health::GOOD));
    assert_eq!(words(&cured), "backup Started, ask, sync");
}

#[test]
fn preemption_waits_for_the_flows_for_a_bounded_time() {
    let mut machine = started(ours());
    assert_eq!(words(&handle(&mut machine, 0, heard(LOW, 100))), "sync");
    for second in 1..5 {
        assert_eq!(
            words(&handle(&mut machine, second * SECOND, heard(LOW, 100))),
            ""
        );
    }
    assert_eq!(machine.deadline_ns(), Some(5 * SECOND));
    let outputs = handle(&mut machine, 5 * SECOND, Input::Timer);
    assert!(outputs.contains(&Output::Notice(Notice::SyncTimedOut)));
    assert!(words(&outputs).contains("master Preempted"));
}

#[test]
fn preemption_waits_for_its_delay_also_when_the_flows_are_there() {
    let mut machine = started(Config {
        preempt_delay_ns: 2 * SECOND,
        ..ours()
    });
    handle(&mut machine, 0, heard(LOW, 100));
    assert_eq!(words(&handle(&mut machine, MS, Input::SyncDone)), "");
    assert_eq!(machine.deadline_ns(), Some(2 * SECOND));
    assert!(words(&handle(&mut machine, 2 * SECOND, Input::Timer)).contains("master Preempted"));
}

#[test]
fn a_better_master_ends_a_preemption() {
    let mut machine = started(ours());
    handle(&mut machine, 0, heard(LOW, 100));
    handle(&mut machine, MS, heard(HIGH, 200));
    assert_eq!(words(&handle(&mut machine, 2 * MS, Input::SyncDone)), "");
    let down = MS + master_down_ns(OURS, Interval::DEFAULT);
    assert_eq!(machine.deadline_ns(), Some(down));
}

#[test]
fn without_preemption_only_a_master_that_asks_is_relieved() {
    let mut machine = started(Config {
        preempt: false,
        ..ours()
    });
    assert_eq!(words(&handle(&mut machine, 0, heard(LOW, 100))), "");
    assert_eq!(words(&handle(&mut machine, SECOND, heard(LOW, 1))), "sync");
}

#[test]
fn a_backup_without_a_backend_does_not_preempt() {
    let mut machine = started(ours());
    handle(&mut machine, 0, heard(LOW, 100));
    handle(&mut machine, MS, Input::Health(NO_BACKEND));
    assert_eq!(words(&handle(&mut machine, 2 * MS, Input::SyncDone)), "");
}

#[test]
fn the_loser_of_two_masters_starts_no_preemption() {
    let mut machine = started(ours());
    handle(&mut machine, 0, heard(HIGH, 200));
    assert_eq!(words(&handle(&mut machine, 10 * MS, heard(LOW, 100))), "");
    // Its successor, three intervals later, does.
    assert_eq!(
        words(&handle(&mut machine, 3100 * MS, heard(LOW, 100))),
        "sync"
    );
}

#[test]
fn a_master_that_is_being_restarted_is_not_preempted_before_it_is_back_or_gone() {
    let away = |interval| {
        Input::Advert(Heard {
            from: LOW.parse().unwrap(),
            priority: Priority(100),
            interval,
            leased: false,
        })
    };
    for sync_first in [true, false] {
        let mut machine = started(Config {
            preempt_delay_ns: SECOND,
            ..ours()
        });
        handle(&mut machine, 0, heard(LOW, 100));
        let left = SECOND / 2;
        handle(&mut machine, left, away(SUCCESSOR));
        let mut now = left;
        if sync_first {
            handle(&mut machine, left, Input::SyncDone);
        }
        let gone = left + master_down_ns(OURS, SUCCESSOR);
        while machine.deadline_ns().unwrap() < gone {
            now = machine.deadline_ns().unwrap();
            handle(&mut machine, now, Input::Timer);
            handle(&mut machine, now, Input::SyncDone);
            assert!(!machine.is_master(), "{now}");
        }
        assert!(now > gone - 2 * SECOND, "it looks again");
        // It is back, and is taken over from as before; or it never comes.
        let mut other = machine.clone();
        handle(&mut other, now, heard(LOW, 100));
        let due = other.deadline_ns().unwrap();
        assert!(due <= now + SECOND);
        let outputs = handle(&mut other, due, Input::Timer);
        assert!(words(&outputs).contains("master Preempted"), "{outputs:?}");
        let outputs = handle(&mut machine, gone, Input::Timer);
        assert!(words(&outputs).contains("master MasterDown"), "{outputs:?}");
    }
}
