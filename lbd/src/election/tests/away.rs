//! A master that was cut off or paused.
use super::*;

const GATEWAY: &str = "192.0.2.1";

fn alive(from: &str) -> Input {
    Input::Alive {
        address: from.parse().unwrap(),
    }
}

/// Fires every timer until `until_ns`; what came of it.
fn run(machine: &mut Machine, until_ns: u64) -> Vec<Output> {
    let mut all = Vec::new();
    while let Some(at) = machine.deadline_ns().filter(|at| *at <= until_ns) {
        all.extend(handle(machine, at, Input::Timer));
    }
    all
}

#[test]
fn a_master_that_hears_a_lower_rival_after_silence_comes_back_as_a_node_that_starts() {
    let (mut machine, now) = master(ours());
    let back = now + 10 * SECOND;
    run(&mut machine, back);
    let outputs = handle(&mut machine, back, heard(LOW, 100));
    assert_eq!(
        words(&outputs),
        "release, backup Rejoined, advert 0, ask, rejoined"
    );
    // The other one goes on and is heard: flows first, then mastership.
    let outputs = handle(&mut machine, back + MS, heard(LOW, 100));
    assert_eq!(words(&outputs), "sync");
    let outputs = handle(&mut machine, back + 300 * MS, Input::SyncDone);
    assert_eq!(
        words(&outputs),
        "advert 150, hold, master Preempted, announce"
    );
    assert_eq!(machine.counters().rejoined, 1);
}

#[test]
fn the_survivor_that_yields_to_a_master_that_was_away_serves_again_at_once() {
    let mut config = ours();
    config.priority = Priority(100);
    let (mut survivor, now) = master(config);
    run(&mut survivor, now + 10 * SECOND);
    let back = now + 10 * SECOND;
    let outputs = handle(&mut survivor, back, heard(HIGH, 200));
    assert!(
        words(&outputs).ends_with("backup Yielded, ask"),
        "{}",
        words(&outputs)
    );
    handle(&mut survivor, back + MS, heard(HIGH, 0));
    let due = survivor.deadline_ns().unwrap();
    assert!(due <= back + MS + 5 * MS);
    let outputs = handle(&mut survivor, due, Input::Timer);
    assert!(words(&outputs).contains("master MasterStopped"));
}

#[test]
fn a_rival_that_never_stops_is_left_to_once_and_then_answered() {
    let (mut machine, now) = master(ours());
    let mut at = now + 10 * SECOND;
    run(&mut machine, at);
    let mut rejoined = 0;
    for _ in 0..100 {
        run(&mut machine, at);
        let outputs = handle(&mut machine, at, heard(LOW, 100));
        rejoined += u32::from(words(&outputs).contains("Rejoined"));
        if words(&outputs).contains("sync") {
            handle(&mut machine, at + MS, Input::SyncDone);
        }
        at += SECOND;
    }
    assert_eq!(rejoined, 1);
    assert!(machine.is_master());
}

#[test]
fn without_a_channel_a_lower_rival_is_answered() {
    let config = Config {
        has_channel: false,
        ..ours()
    };
    let (mut machine, now) = master(config);
    run(&mut machine, now + 10 * SECOND);
    let outputs = handle(&mut machine, now + 10 * SECOND, heard(LOW, 100));
    assert!(machine.is_master());
    assert!(
        words(&outputs).contains("advert 150, hold"),
        "{}",
        words(&outputs)
    );
}

#[test]
fn a_master_of_two_that_hears_no_peer_is_isolated_and_asks_for_the_vip_when_it_hears_again() {
    let (mut machine, now) = master(ours());
    handle(&mut machine, now + MS, alive(GATEWAY));
    handle(&mut machine, now + MS, alive(LOW));
    let outputs = run(&mut machine, now + 20 * SECOND);
    let said = words(&outputs);
    assert_eq!(said.matches("isolated").count(), 1, "{said}");
    assert!(machine.is_master(), "no node can take its place");
    let back = now + 20 * SECOND;
    let outputs = handle(&mut machine, back, alive(GATEWAY));
    assert_eq!(words(&outputs), "rejoined, ask");
    let vip = Input::RivalClaim {
        address: "192.0.2.25".parse().unwrap(),
    };
    let outputs = handle(&mut machine, back + MS, vip);
    assert_eq!(
        words(&outputs),
        "release, backup Rejoined, advert 0, ask, rejoined"
    );
}

#[test]
fn a_master_that_hears_no_peer_says_priority_0_once_and_is_silent_until_it_hears_again() {
    let (mut machine, now) = master(ours());
    handle(&mut machine, now + MS, alive(GATEWAY));
    handle(&mut machine, now + MS, alive(LOW));
    let before = words(&run(&mut machine, now + 2 * SECOND));
    assert!(before.contains("advert 150, hold"), "{before}");
    let said = words(&run(&mut machine, now + 20 * SECOND));
    let (before, after) = said.split_once("advert 0").unwrap();
    assert!(before.contains("isolated"), "{said}");
    for word in ["advert", "announce"] {
        assert!(!after.contains(word), "{word}: {said}");
    }
    assert!(
        after.contains("hold"),
        "it serves where it is alone: {said}"
    );
    let back = now + 20 * SECOND;
    handle(&mut machine, back, alive(GATEWAY));
    let said = words(&run(&mut machine, back + SECOND));
    assert!(said.starts_with("advert 150, hold"), "{said}");
}

#[test]
fn back_from_isolation_it_stays_master_where_no_other_node_has_the_vip() {
    let (mut machine, now) = master(ours());
    handle(&mut machine, now + MS, alive(GATEWAY));
    handle(&mut machine, now + MS, alive(LOW));
    run(&mut machine, now + 20 * SECOND);
    handle(&mut machine, now + 20 * SECOND, alive(GATEWAY));
    for second in 21..=40 {
        run(&mut machine, now + second * SECOND);
        handle(&mut machine, now + second * SECOND, alive(GATEWAY));
    }
    assert!(machine.is_master());
    // A claim much later is a misconfiguration, and is answered.
    let vip = Input::RivalClaim {
        address: "192.0.2.25".parse().unwrap(),
    };
    assert!(words(&handle(&mut machine, now + 40 * SECOND, vip)).contains("announce"));
}

#[test]
fn the_death_of_the_only_other_box_is_no_isolation() {
    let (mut machine, now) = master(ours());
    handle(&mut machine, now + MS, alive(LOW));
    let said = words(&run(&mut machine, now + 60 * SECOND));
    assert!(!said.contains("isolated"), "{said}");
}

#[test]
fn boxes_that_answer_keep_a_master_from_being_isolated() {
    let (mut machine, now) = master(ours());
    for second in 0..60 {
        let at = now + second * SECOND;
        handle(
            &mut machine,
            at,
            alive(if second % 2 == 0 { LOW } else { GATEWAY }),
        );
        let said = words(&run(&mut machine, at));
        assert!(!said.contains("isolated"), "{said}");
    }
}

#[test]
fn a_master_whose_lease_ended_while_it_slept_is_back_and_says_so() {
    let (mut machine, now) = master(ours());
    let outputs = handle(&mut machine, now + 20 * SECOND, Input::Timer);
    assert_eq!(words(&outputs), "release, backup LeaseLost, rejoined");
}

/// A backup of higher priority that took over from a master that fell silent.
fn successor() -> (Machine, u64) {
    let mut machine = Machine::new(ours(), 0);
    handle(&mut machine, 0, Input::Health(Health::GOOD));
    handle(
        &mut machine,
        0,
        Input::Start {
            found: Found::Nothing,
        },
    );
    // No flows are fetched: it does not preempt.
    handle(&mut machine, 10 * MS, heard(LOW, 100));
    let now = loop {
        let at = machine.deadline_ns().unwrap();
        if words(&handle(&mut machine, at, Input::Timer)).contains("master MasterDown") {
            break at;
        }
    };
    (machine, now)
}

#[test]
fn a_master_that_was_paused_takes_nothing_from_its_successor() {
    let (mut machine, now) = successor();
    let back = now + 10 * SECOND;
    run(&mut machine, back);
    let outputs = handle(&mut machine, back, heard(LOW, 100));
    assert!(!words(&outputs).contains("backup"), "{}", words(&outputs));
    assert_eq!(machine.counters().rejoined, 0);
}

#[test]
fn the_former_master_that_came_back_as_a_backup_is_a_successor_like_any_other() {
    let (mut machine, now) = successor();
    run(&mut machine, now + 10 * SECOND);
    handle(&mut machine, now + 10 * SECOND, alive(LOW));
    let back = now + 30 * SECOND;
    run(&mut machine, back);
    let outputs = handle(&mut machine, back, heard(LOW, 100));
    assert!(
        words(&outputs).contains("backup Rejoined"),
        "{}",
        words(&outputs)
    );
}

#[test]
fn a_successor_that_was_itself_cut_off_leaves_the_mastership_to_the_box_that_served() {
    let (mut machine, now) = successor();
    handle(&mut machine, now, alive(GATEWAY));
    let said = words(&run(&mut machine, now + 20 * SECOND));
    assert!(said.contains("isolated"), "{said}");
    let outputs = handle(&mut machine, now + 20 * SECOND, heard(LOW, 100));
    assert!(
        words(&outputs).contains("backup Rejoined"),
        "{}",
        words(&outputs)
    );
}
