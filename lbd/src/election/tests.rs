use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::timing::{handover_ns, lease_ns, master_down_ns, skew_ns};
use super::*;
use crate::config::{NoHealthyBackend, StartAs};
use crate::units::Priority;
use crate::vrrp::Interval;

pub(super) const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const OURS: Priority = Priority(150);

pub(super) fn config(priority: Priority, families: Families) -> Config {
    Config {
        priority,
        interval: Interval::DEFAULT,
        start_as: StartAs::Backup,
        preempt: true,
        preempt_delay_ns: 0,
        sync_timeout_ns: 5 * SECOND,
        no_healthy_backend: NoHealthyBackend::LowerPriority,
        announce: AnnounceConfig {
            count: 2,
            gap_ns: 100 * MS,
            repeat_ns: 0,
        },
        families,
    }
}

fn ours() -> Config {
    let families = Families {
        v4: Some(Ipv4Addr::new(192, 0, 2, 12)),
        v6: Some("fe80::12".parse().unwrap()),
    };
    config(OURS, families)
}

pub(super) fn handle(machine: &mut Machine, now_ns: u64, input: Input) -> Vec<Output> {
    let mut outputs = Vec::new();
    machine.handle(now_ns, input, &mut outputs);
    outputs
}

/// A machine that has started at time 0 and was told that all is well.
fn started(config: Config) -> Machine {
    let mut machine = Machine::new(config, 0);
    handle(&mut machine, 0, Input::Health(Health::GOOD));
    handle(
        &mut machine,
        0,
        Input::Start {
            found: Found::Nothing,
        },
    );
    machine
}

/// A machine that has just become master; and when.
fn master(config: Config) -> (Machine, u64) {
    let mut machine = started(config);
    let now = machine.deadline_ns().unwrap();
    handle(&mut machine, now, Input::Timer);
    assert!(machine.is_master());
    (machine, now)
}

fn heard(from: &str, priority: u8) -> Input {
    Input::Advert(Heard {
        from: from.parse().unwrap(),
        priority: Priority(priority),
        interval: Interval::DEFAULT,
    })
}

/// Outputs in a few words.
fn words(outputs: &[Output]) -> String {
    let mut text = String::new();
    for output in outputs {
        let sep = if text.is_empty() { "" } else { ", " };
        let _ = match output {
            Output::SendAdvert { priority, .. } => write!(text, "{sep}advert {}", priority.0),
            Output::HoldLease { .. } => write!(text, "{sep}hold"),
            Output::ReleaseLease => write!(text, "{sep}release"),
            Output::BecomeMaster { why } => write!(text, "{sep}master {why:?}"),
            Output::BecomeBackup { why } => write!(text, "{sep}backup {why:?}"),
            Output::Announce => write!(text, "{sep}announce"),
            Output::WantSync => write!(text, "{sep}sync"),
            Output::Notice(_) => Ok(()),
        };
    }
    text
}

const NO_LINK: Health = Health {
    link: false,
    ..Health::GOOD
};
const NO_PROGRAM: Health = Health {
    data_plane: false,
    ..Health::GOOD
};
const NO_BACKEND: Health = Health {
    backends: false,
    ..Health::GOOD
};
const LOW: &str = "192.0.2.11";
const HIGH: &str = "192.0.2.13";

/// Every state with every input: what is done, and what it is then.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn each_transition_is_as_the_table_says() {
    let yields = "advert 150, release, backup Yielded";
    let answers = "advert 150, hold";
    let vip: IpAddr = "192.0.2.25".parse().unwrap();
    let gone = Input::PeerGone {
        address: HIGH.parse().unwrap(),
        silent_from_ns: 0,
    };
    let start = Input::Start {
        found: Found::Nothing,
    };
    let rows: &[(&str, Input, &str, &str)] = &[
        ("stopped", start, "backup Started", "backup"),
        (
            "stopped",
            Input::Start {
                found: Found::LeaseHeld,
            },
            "advert 150, hold, master Adopted, announce",
            "master",
        ),
        (
            "stopped",
            Input::Start {
                found: Found::LeaseOver,
            },
            "release, backup HandedOver, advert 0",
            "backup",
        ),
        ("stopped", Input::Timer, "", "stopped"),
        ("stopped", heard(HIGH, 200), "", "stopped"),
        ("stopped", Input::Stop, "", "stopped"),
        ("backup", start, "", "backup"),
        ("backup", Input::Stop, "", "stopped"),
        (
            "backup",
            Input::Timer,
            "advert 150, hold, master MasterDown, announce",
            "master",
        ),
        ("backup", heard(HIGH, 200), "", "backup"),
        ("backup", heard(HIGH, 150), "", "backup"),
        ("backup", heard(HIGH, 100), "sync", "backup"),
        ("backup", heard(HIGH, 0), "", "backup"),
        ("backup", Input::SyncDone, "", "backup"),
        ("backup", Input::AdvertFailed, "", "backup"),
        ("backup", Input::RivalClaim { address: vip }, "", "backup"),
        ("backup", Input::Health(NO_LINK), "", "faulty"),
        ("backup", Input::Health(NO_PROGRAM), "", "faulty"),
        ("backup", Input::Health(NO_BACKEND), "", "backup"),
        ("backup", gone, "", "backup"),
        ("master", start, "", "master"),
        (
            "master",
            Input::Stop,
            "release, backup Stopped, advert 0",
            "stopped",
        ),
        ("master", Input::Timer, answers, "master"),
        ("master", heard(HIGH, 200), yields, "backup"),
        ("master", heard(LOW, 200), yields, "backup"),
        ("master", heard(HIGH, 150), yields, "backup"),
        ("master", heard(LOW, 150), answers, "master"),
        ("master", heard(HIGH, 100), answers, "master"),
        ("master", heard(HIGH, 0), answers, "master"),
        ("master", heard("192.0.2.12", 200), "", "master"),
        ("master", heard("fe80::13", 150), "", "master"),
        ("master", heard("fe80::13", 151), yields, "backup"),
        ("master", Input::SyncDone, "", "master"),
        (
            "master",
            Input::AdvertFailed,
            "release, backup LeaseLost",
            "backup",
        ),
        (
            "master",
            Input::RivalClaim { address: vip },
            "announce",
            "master",
        ),
        (
            "master",
            Input::Health(NO_LINK),
            "release, backup Fault(LinkDown), advert 0",
            "faulty",
        ),
        (
            "master",
            Input::Health(NO_PROGRAM),
            "release, backup Fault(NoDataPlane), advert 0",
            "faulty",
        ),
        (
            "master",
            Input::Health(NO_BACKEND),
            "advert 1, hold",
            "master",
        ),
        ("master", gone, "", "master"),
        ("faulty", start, "", "faulty"),
        ("faulty", Input::Stop, "", "stopped"),
        ("faulty", Input::Timer, "", "faulty"),
        ("faulty", heard(HIGH, 100), "", "faulty"),
        ("faulty", heard(HIGH, 0), "", "faulty"),
        ("faulty", Input::Health(Health::GOOD), "", "backup"),
    ];
    for (state, input, expected, then) in rows {
        let (mut machine, now) = match *state {
            "stopped" => {
                let mut machine = Machine::new(ours(), 0);
                handle(&mut machine, 0, Input::Health(Health::GOOD));
                (machine, 0)
            }
            "backup" => {
                let machine = started(ours());
                let now = machine.deadline_ns().unwrap();
                (machine, now)
            }
            "faulty" => {
                let mut machine = started(ours());
                handle(&mut machine, 0, Input::Health(NO_LINK));
                (machine, 0)
            }
            _ => master(ours()),
        };
        // A master's own timer, and its first announcement, are due later.
        let now = match (*state, input) {
            ("master", Input::Timer) => now + SECOND,
            ("master", Input::AdvertFailed) => now,
            ("master", _) => now + 10 * MS,
            _ => now,
        };
        if (*state, input) == ("master", &Input::Timer) {
            // Its announcements are another test's matter.
            handle(&mut machine, now - 500 * MS, Input::Timer);
        }
        let mut got = words(&handle(&mut machine, now, *input));
        if got.starts_with(answers) && !got.contains("master") {
            got = got.replace(", announce", "");
        }
        assert_eq!(got, *expected, "{state}, {input:?}");
        let role = match machine.status().role {
            Role::Stopped => "stopped",
            Role::Faulty(_) => "faulty",
            Role::Backup(_) => "backup",
            Role::Master(_) => "master",
        };
        assert_eq!(role, *then, "{state}, {input:?}");
    }
}

#[test]
fn a_backup_takes_over_at_the_exact_nanosecond() {
    let mut machine = started(ours());
    let interval = Interval::from_centiseconds(1).unwrap();
    let advert = Heard {
        from: HIGH.parse().unwrap(),
        priority: Priority(200),
        interval,
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
    assert_eq!(words(&start), "backup Started, sync");
    assert!(words(&handle(&mut machine, MS, Input::SyncDone)).contains("master Preempted"));
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
    assert_eq!(words(&cured), "backup Started, sync");
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
fn a_master_that_was_stopped_finds_itself_deposed_without_a_fight() {
    let (mut machine, now) = master(ours());
    // Its successor's adverts are the first thing that it reads.
    let back = now + 10 * SECOND;
    let outputs = handle(&mut machine, back, heard(LOW, 100));
    assert_eq!(words(&outputs), "release, backup LeaseLost, sync");
    assert_eq!(machine.counters().leases_lost, 1);
}

#[test]
fn a_master_that_was_stopped_and_has_no_successor_is_back_after_a_round() {
    let (mut machine, now) = master(ours());
    let back = now + 10 * SECOND;
    assert_eq!(
        words(&handle(&mut machine, back, Input::Timer)),
        "release, backup LeaseLost"
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
    // Late again: somebody has to serve.
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
fn a_losing_master_speaks_once_more_and_the_winner_announces_anew() {
    let (mut winner, now) = master(ours());
    let outputs = handle(&mut winner, now + 10 * MS, heard(LOW, 100));
    assert_eq!(words(&outputs), "advert 150, hold, announce");
    let loser = Config {
        priority: Priority(100),
        ..ours()
    };
    let (mut loser, now) = master(loser);
    let outputs = handle(&mut loser, now + 10 * MS, heard(HIGH, 150));
    assert_eq!(words(&outputs), "advert 100, release, backup Yielded");
}

#[test]
fn two_that_both_think_they_win_do_not_answer_each_other_for_ever() {
    let (mut machine, now) = master(ours());
    let mut adverts = 0;
    for i in 0..1000 {
        let outputs = handle(&mut machine, now + 1 + i * 10_000, heard(LOW, 100));
        adverts += u32::from(words(&outputs).contains("advert"));
    }
    assert_eq!(adverts, 4);
}

/// See the module's text: IPv4 orders two boxes one way, IPv6 the other.
#[test]
fn a_tie_is_decided_in_ipv4_unless_it_is_silent() {
    let (mut machine, now) = master(ours());
    assert_eq!(
        words(&handle(&mut machine, now + MS, heard("fe80::13", 150))),
        ""
    );
    assert!(words(&handle(&mut machine, now + 2 * MS, heard(LOW, 150))).contains("advert 150"));
    assert!(machine.is_master());

    // Only IPv6 passes: after a master-down interval it decides.
    let (mut machine, now) = master(ours());
    let mut yielded_at = None;
    for i in 1..=8 {
        let at = now + i * SECOND;
        handle(&mut machine, at, Input::Timer);
        if words(&handle(&mut machine, at, heard("fe80::13", 150))).contains("Yielded") {
            yielded_at = Some(i);
            break;
        }
    }
    assert_eq!(
        yielded_at,
        Some(5),
        "the first, then four seconds (master down is 3.4 s)"
    );
}

#[test]
fn without_ipv4_ties_are_decided_in_ipv6_at_once() {
    let mut config = ours();
    config.families.v4 = None;
    let (mut machine, now) = master(config);
    let outputs = handle(&mut machine, now + MS, heard("fe80::13", 150));
    assert!(words(&outputs).contains("Yielded"));
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
fn a_peer_known_to_be_gone_is_followed_when_it_is_silent() {
    let mut machine = started(ours());
    handle(&mut machine, 0, heard(HIGH, 200));
    let stranger = Input::PeerGone {
        address: LOW.parse().unwrap(),
        silent_from_ns: 0,
    };
    let down = machine.deadline_ns();
    handle(&mut machine, MS, stranger);
    assert_eq!(machine.deadline_ns(), down);
    let silent_from_ns = 900 * MS;
    let gone = Input::PeerGone {
        address: HIGH.parse().unwrap(),
        silent_from_ns,
    };
    handle(&mut machine, 2 * MS, gone);
    let due = silent_from_ns + handover_ns(OURS, Interval::DEFAULT);
    assert_eq!(machine.deadline_ns(), Some(due));
    assert!(words(&handle(&mut machine, due, Input::Timer)).contains("master MasterGone"));
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
fn a_clock_that_goes_back_counts_as_standing_still() {
    let (mut machine, now) = master(ours());
    handle(&mut machine, 0, Input::Timer);
    assert_eq!(machine.status().lease_until_ns, Some(now + 3 * SECOND));
    assert!(machine.is_master());
}

fn inputs() -> impl Strategy<Value = Input> {
    let from = prop_oneof![
        Just(LOW),
        Just(HIGH),
        Just("192.0.2.12"),
        Just("fe80::13"),
        Just("fe80::11")
    ];
    let advert = (from, any::<u8>(), 1..=4095u16).prop_map(|(from, priority, centiseconds)| {
        Input::Advert(Heard {
            from: from.parse().unwrap(),
            priority: Priority(priority),
            interval: Interval::from_centiseconds(centiseconds).unwrap(),
        })
    });
    let health =
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(data_plane, link, backends)| {
            Input::Health(Health {
                data_plane,
                link,
                backends,
            })
        });
    let found = prop_oneof![
        Just(Found::Nothing),
        Just(Found::LeaseHeld),
        Just(Found::LeaseOver)
    ];
    let changed = (1..=255u8, 1..=4095u16, any::<bool>()).prop_map(|(priority, cs, preempt)| {
        Input::ConfigChanged(Config {
            priority: Priority(priority),
            interval: Interval::from_centiseconds(cs).unwrap(),
            preempt,
            ..ours()
        })
    });
    prop_oneof![
        4 => advert,
        4 => Just(Input::Timer),
        1 => health,
        2 => Just(Input::Health(Health::GOOD)),
        1 => found.prop_map(|found| Input::Start { found }),
        1 => Just(Input::Stop),
        1 => Just(Input::SyncDone),
        1 => Just(Input::AdvertFailed),
        1 => Just(Input::RivalClaim { address: "192.0.2.25".parse().unwrap() }),
        1 => any::<u32>().prop_map(|at| Input::PeerGone {
            address: HIGH.parse().unwrap(),
            silent_from_ns: u64::from(at),
        }),
        1 => changed,
    ]
}

proptest! {
    /// Whatever comes, in whatever order: what the outputs build up on the box is what the machine
    /// thinks it is, and a lease is never longer than the last advert earns.
    #[test]
    fn outputs_and_state_agree_under_any_sequence(
        steps in prop::collection::vec((0..4_000u64, inputs()), 1..80),
    ) {
        let mut machine = Machine::new(ours(), 0);
        let (mut now, mut serving, mut lease) = (0, false, 0);
        let mut outputs = Vec::new();
        for (after_ms, input) in steps {
            now += after_ms * MS;
            outputs.clear();
            machine.handle(now, input, &mut outputs);
            let mut earned = None;
            for output in &outputs {
                match *output {
                    Output::SendAdvert { priority, interval } if priority != Priority::STOPPING => {
                        earned = Some(now + lease_ns(interval));
                    }
                    Output::SendAdvert { .. } => prop_assert!(!serving, "priority 0 while serving"),
                    Output::HoldLease { until_ns } => {
                        if input != Input::AdvertFailed {
                            prop_assert_eq!(Some(until_ns), earned, "a lease without its advert");
                        }
                        lease = until_ns;
                    }
                    Output::ReleaseLease => lease = 0,
                    Output::BecomeMaster { .. } => {
                        prop_assert!(!serving);
                        prop_assert!(lease > now, "master without a lease");
                        serving = true;
                    }
                    Output::BecomeBackup { .. } => {
                        prop_assert_eq!(lease, 0, "backup with a lease");
                        serving = false;
                    }
                    Output::Announce => prop_assert!(serving, "announced what is not served"),
                    Output::WantSync | Output::Notice(_) => {}
                }
            }
            prop_assert_eq!(machine.is_master(), serving);
            prop_assert_eq!(machine.status().lease_until_ns.unwrap_or(0), lease);
            if serving {
                prop_assert!(lease > now);
                prop_assert!(machine.deadline_ns().unwrap() <= now + Interval::MAX.ns());
            }
            if let Some(deadline) = machine.deadline_ns() {
                // Nothing waits for ever: five of the longest intervals and a sync.
                prop_assert!(deadline <= now + 5 * Interval::MAX.ns() + 5 * SECOND);
            }
        }
    }

    /// With nobody to hear, a node that may be master is, in bounded time.
    #[test]
    fn a_lone_node_serves_after_any_past(
        steps in prop::collection::vec((0..4_000u64, inputs()), 0..40),
    ) {
        let mut machine = Machine::new(ours(), 0);
        let mut now = 0;
        for (after_ms, input) in steps {
            now += after_ms * MS;
            handle(&mut machine, now, input);
        }
        handle(&mut machine, now, Input::ConfigChanged(ours()));
        handle(&mut machine, now, Input::Health(Health::GOOD));
        handle(&mut machine, now, Input::Start { found: Found::Nothing });
        let end = now + 4 * Interval::MAX.ns() + 2 * master_down_ns(OURS, Interval::DEFAULT) + 5 * SECOND;
        while let Some(deadline) = machine.deadline_ns().filter(|at| *at <= end) {
            handle(&mut machine, deadline, Input::Timer);
            if machine.is_master() {
                break;
            }
        }
        prop_assert!(machine.is_master());
    }
}
