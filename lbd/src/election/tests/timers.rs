//! Silence, lateness and leases.
use super::*;

#[test]
fn a_backup_takes_over_at_the_exact_nanosecond() {
    let mut machine = started(ours());
    let interval = Interval::from_centiseconds(1).unwrap();
    let advert = Heard {
        from: HIGH.parse().unwrap(),
        priority: Priority(200),
        interval,
        leased: false,
    };
    handle(&mut machine, 5 * MS, Input::Advert(advert));
    // 3 * 10 ms + 106 * 10 ms / 256
    let due = 5 * MS + 30 * MS + 4_140_625;
    assert_eq!(machine.deadline_ns(), Some(due));
    assert_eq!(words(&handle(&mut machine, due - 1, Input::Timer)), "");
    assert!(words(&handle(&mut machine, due, Input::Timer)).contains("master MasterDown"));
}

#[test]
fn the_advert_comes_first_and_the_announcement_last() {
    let mut machine = started(ours());
    let now = machine.deadline_ns().unwrap();
    let outputs = handle(&mut machine, now, Input::Timer);
    assert_eq!(
        words(&outputs),
        "advert 150, hold, master MasterDown, announce"
    );
    let until_ns = now + 3 * SECOND;
    assert!(outputs.contains(&Output::HoldLease { until_ns }));
}

#[test]
fn a_stopping_master_serves_no_more_before_it_says_so() {
    let (mut machine, now) = master(ours());
    let outputs = handle(&mut machine, now + MS, Input::Stop);
    assert_eq!(words(&outputs), "release, backup Stopped, advert 0");
    assert_eq!(machine.deadline_ns(), None);
}

#[test]
fn a_master_that_hands_over_serves_as_long_as_its_backups_wait_and_no_longer() {
    for (interval, priority) in [(1, 149), (20, 100), (100, 140), (1000, 1)] {
        let interval = Interval::from_centiseconds(interval).unwrap();
        let (mut leaves, now) = master(Config { interval, ..ours() });
        let outputs = handle(&mut leaves, now, Input::HandOver);
        assert_eq!(words(&outputs), "advert 150, advert 150, hold");
        assert!(!leaves.is_master() && leaves.deadline_ns().is_none());
        let until_ns = outputs.iter().find_map(|output| match output {
            Output::HoldLease { until_ns } => Some(*until_ns),
            _ => None,
        });
        let families = ours().families;
        let mut waits = started(Config {
            interval,
            ..config(Priority(priority), families)
        });
        for output in &outputs {
            if let Output::SendAdvert { priority, interval } = output {
                let advert = Heard {
                    from: HIGH.parse().unwrap(),
                    priority: *priority,
                    interval: *interval,
                    leased: true,
                };
                handle(&mut waits, now, Input::Advert(advert));
            }
        }
        let (serves, takes_over) = (until_ns.unwrap(), waits.deadline_ns().unwrap());
        assert!(serves >= now + 9 * SECOND, "{interval:?}: {serves}");
        assert!(takes_over > serves, "{interval:?}: {takes_over}");
    }
}

#[test]
fn a_backup_that_hands_over_says_nothing() {
    let mut machine = started(ours());
    assert_eq!(handle(&mut machine, MS, Input::HandOver), []);
    assert_eq!(machine.deadline_ns(), None);
}

#[test]
fn a_stop_of_the_master_is_followed_at_once_and_a_strangers_is_not() {
    let mut machine = started(ours());
    handle(&mut machine, 0, heard(HIGH, 200));
    let down = machine.deadline_ns();
    handle(&mut machine, MS, heard(LOW, 0));
    assert_eq!(machine.deadline_ns(), down, "a stranger's");
    handle(&mut machine, MS, heard(HIGH, 0));
    let due = MS + handover_ns(OURS, Interval::DEFAULT);
    assert_eq!(machine.deadline_ns(), Some(due));
    // The other family's priority 0 follows, and moves nothing.
    handle(&mut machine, MS + 100_000, heard("fe80::13", 0));
    assert_eq!(machine.deadline_ns(), Some(due));
    assert!(words(&handle(&mut machine, due, Input::Timer)).contains("master MasterStopped"));
}

#[test]
fn a_master_that_was_stopped_finds_itself_deposed_without_a_fight() {
    let (mut machine, now) = master(ours());
    // Its successor's adverts are the first thing that it reads.
    let back = now + 10 * SECOND;
    let outputs = handle(&mut machine, back, heard(LOW, 100));
    assert_eq!(words(&outputs), "release, backup LeaseLost, rejoined, sync");
    assert_eq!(machine.counters().leases_lost, 1);
}

#[test]
fn a_master_that_was_stopped_and_has_no_successor_is_back_after_a_round() {
    let (mut machine, now) = master(ours());
    let back = now + 10 * SECOND;
    assert_eq!(
        words(&handle(&mut machine, back, Input::Timer)),
        "release, backup LeaseLost, rejoined"
    );
    let due = back + SECOND + skew_ns(OURS, SECOND);
    assert_eq!(machine.deadline_ns(), Some(due));
    assert!(words(&handle(&mut machine, due, Input::Timer)).contains("master MasterDown"));
}

#[test]
fn a_late_timer_looks_once_before_it_acts() {
    let mut machine = started(ours());
    let due = machine.deadline_ns().unwrap();
    let late = due + 300 * MS;
    assert_eq!(words(&handle(&mut machine, late, Input::Timer)), "");
    let again = machine.deadline_ns().unwrap();
    assert_eq!(again, late + 125 * MS);
    // Late again: this node has to serve.
    assert!(words(&handle(&mut machine, again + SECOND, Input::Timer)).contains("master"));
    assert_eq!(machine.counters().late_timers, 1);
}

#[test]
fn a_master_that_cannot_send_keeps_the_lease_it_has_and_no_more() {
    let (mut machine, now) = master(ours());
    handle(&mut machine, now + SECOND, Input::Timer);
    let outputs = handle(&mut machine, now + SECOND, Input::AdvertFailed);
    let until_ns = now + lease_ns(Interval::DEFAULT);
    assert_eq!(outputs, [Output::HoldLease { until_ns }]);
    assert_eq!(machine.status().lease_until_ns, Some(until_ns));
}

#[test]
fn a_longer_interval_is_said_at_the_old_pace_first() {
    let config = Config {
        interval: Interval::from_centiseconds(1).unwrap(),
        ..ours()
    };
    let (mut machine, now) = master(config);
    let slow = Config {
        interval: Interval::DEFAULT,
        ..config
    };
    let mut at = now + MS;
    assert_eq!(
        words(&handle(&mut machine, at, Input::ConfigChanged(slow))),
        "advert 150, hold"
    );
    let mut times = Vec::new();
    while times.len() < 5 {
        at = machine.deadline_ns().unwrap();
        if words(&handle(&mut machine, at, Input::Timer)).contains("advert") {
            times.push((at - now - MS) / MS);
        }
    }
    assert_eq!(times, [10, 20, 30, 1030, 2030]);
}

#[test]
fn a_clock_that_goes_back_counts_as_standing_still() {
    let (mut machine, now) = master(ours());
    handle(&mut machine, 0, Input::Timer);
    assert_eq!(machine.status().lease_until_ns, Some(now + 3 * SECOND));
    assert!(machine.is_master());
}
