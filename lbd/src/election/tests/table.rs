//! Every state with every input.
use super::*;

/// What is done, and what it is then.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn each_transition_is_as_the_table_says() {
    let yields = "advert 150, release, backup Yielded, ask";
    let answers = "advert 150, hold";
    let vip: IpAddr = "192.0.2.25".parse().unwrap();
    let alive = Input::Alive {
        address: HIGH.parse().unwrap(),
    };
    let unbelieved = Input::Unbelieved {
        from: HIGH.parse().unwrap(),
    };
    let start = Input::Start {
        found: Found::Nothing,
    };
    let rows: &[(&str, Input, &str, &str)] = &[
        ("stopped", start, "backup Started, ask", "backup"),
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
        (
            "backup",
            Input::Health(NO_LINK),
            "backup Fault(LinkDown)",
            "faulty",
        ),
        (
            "backup",
            Input::Health(NO_PROGRAM),
            "backup Fault(NoDataPlane)",
            "faulty",
        ),
        ("backup", Input::Health(NO_BACKEND), "", "backup"),
        ("backup", alive, "", "backup"),
        ("backup", unbelieved, "backup Contested", "backup"),
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
            "release, backup LeaseLost, rejoined",
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
        ("master", alive, "", "master"),
        ("master", unbelieved, "", "master"),
        ("faulty", start, "", "faulty"),
        ("faulty", Input::Stop, "", "stopped"),
        ("faulty", Input::Timer, "", "faulty"),
        ("faulty", heard(HIGH, 100), "", "faulty"),
        ("faulty", heard(HIGH, 0), "", "faulty"),
        ("faulty", alive, "", "faulty"),
        ("faulty", unbelieved, "", "faulty"),
        (
            "faulty",
            Input::Health(Health::GOOD),
            "rejoined, backup Started",
            "backup",
        ),
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
