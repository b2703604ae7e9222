//! A silent master, its box and the witnesses.
use super::super::timing::{PROBES, overdue_ns, probe_gap_ns};
use super::*;

const MASTER: &str = "192.0.2.13";
const WITNESS: &str = "192.0.2.1";

/// Outputs in a few words; of questions, the one.
fn said(outputs: &[Output]) -> String {
    let is_question = |output: &Output| matches!(output, Output::Probe { .. });
    if outputs.iter().any(is_question) {
        assert!(words(outputs).is_empty(), "{outputs:?}");
        "probe".to_owned()
    } else {
        words(outputs)
    }
}

fn alive(address: &str) -> Input {
    let address = address.parse().unwrap();
    Input::Alive { address }
}

fn advert(leased: bool) -> Input {
    Input::Advert(Heard {
        from: MASTER.parse().unwrap(),
        priority: Priority(200),
        interval: Interval::DEFAULT,
        leased,
    })
}

/// A backup whose master's box has answered, and has sent its last advert at time 0.
fn backup(leased: bool) -> Machine {
    let mut machine = started(ours());
    assert_eq!(said(&handle(&mut machine, 0, advert(leased))), "probe");
    handle(&mut machine, MS, alive(MASTER));
    machine
}

/// Lets the timers fire until `end_ns`; `answer` says who answers each probe. Returns the outputs
/// that are no probes, when they were, and the number of probes.
fn run(
    machine: &mut Machine,
    end_ns: u64,
    answer: impl Fn(u8) -> Vec<&'static str>,
) -> (Vec<(u64, String)>, u8) {
    let (mut done, mut probes) = (Vec::new(), 0);
    while let Some(at) = machine.deadline_ns().filter(|at| *at <= end_ns) {
        let text = said(&handle(machine, at, Input::Timer));
        if text == "probe" {
            probes += 1;
            for from in answer(probes) {
                handle(machine, at + MS, alive(from));
            }
        } else if !text.is_empty() {
            done.push((at, text));
        }
        if machine.is_master() {
            break;
        }
    }
    (done, probes)
}

#[test]
fn a_box_that_is_gone_is_replaced_once_a_witness_was_heard() {
    let mut machine = backup(false);
    let (said, probes) = run(&mut machine, 10 * SECOND, |_| vec![WITNESS]);
    let i = Interval::DEFAULT;
    let due = overdue_ns(i) + u64::from(PROBES) * probe_gap_ns(i) + handover_ns(OURS, i);
    assert_eq!(probes, PROBES);
    assert_eq!(said[0].0, due);
    assert!(said[0].1.contains("master MasterGone"), "{said:?}");
    assert!(due < 8 * SECOND / 5);
}

#[test]
fn without_a_witness_it_may_be_this_box_that_is_cut_off() {
    let mut machine = backup(false);
    let (said, probes) = run(&mut machine, 10 * SECOND, |_| vec![]);
    assert_eq!(probes, PROBES);
    assert_eq!(said[0].0, master_down_ns(OURS, Interval::DEFAULT));
    assert!(said[0].1.contains("master MasterDown"), "{said:?}");
}

#[test]
fn a_box_that_answers_is_waited_for_as_vrrp_says_or_until_its_lease_ends() {
    for (leased, due, why) in [
        (
            false,
            master_down_ns(OURS, Interval::DEFAULT),
            "master MasterDown",
        ),
        (
            true,
            lease_ns(Interval::DEFAULT) + handover_ns(OURS, Interval::DEFAULT),
            "master LeaseEnded",
        ),
    ] {
        // The last answer of all is enough.
        for answered in 1..=PROBES {
            let mut machine = backup(leased);
            let (said, probes) = run(&mut machine, 10 * SECOND, |probe| {
                if probe == answered {
                    vec![WITNESS, MASTER]
                } else {
                    vec![WITNESS]
                }
            });
            assert_eq!(probes, answered, "no further questions");
            assert_eq!(said[0].0, due, "{leased}");
            assert!(said[0].1.contains(why), "{said:?}");
        }
    }
}

#[test]
fn a_box_that_never_answered_is_not_doubted() {
    let mut machine = started(ours());
    handle(&mut machine, 0, advert(false));
    let (said, probes) = run(&mut machine, 10 * SECOND, |_| vec![WITNESS]);
    assert_eq!(probes, 0);
    assert_eq!(said[0].0, master_down_ns(OURS, Interval::DEFAULT));
}

#[test]
fn an_advert_ends_the_doubt() {
    let mut machine = backup(false);
    let i = Interval::DEFAULT;
    for _ in 0..PROBES {
        let at = machine.deadline_ns().unwrap();
        handle(&mut machine, at, Input::Timer);
        handle(&mut machine, at, alive(WITNESS));
    }
    let at = machine.deadline_ns().unwrap() - 1;
    assert_eq!(said(&handle(&mut machine, at, advert(false))), "");
    assert_eq!(machine.deadline_ns(), Some(at + overdue_ns(i)));
}

#[test]
fn a_witness_heard_before_the_doubt_is_none() {
    let mut machine = backup(false);
    handle(&mut machine, SECOND, alive(WITNESS));
    let (said, _) = run(&mut machine, 10 * SECOND, |_| vec![]);
    assert!(
        said[0].1.contains("MasterDown"),
        "not `MasterGone`: {said:?}"
    );
}

#[test]
fn a_machine_that_was_away_amid_its_questions_asks_anew() {
    let mut machine = backup(false);
    for _ in 0..PROBES {
        let at = machine.deadline_ns().unwrap();
        handle(&mut machine, at, Input::Timer);
        handle(&mut machine, at, alive(WITNESS));
    }
    let late = machine.deadline_ns().unwrap() + 500 * MS;
    assert_eq!(said(&handle(&mut machine, late, Input::Timer)), "probe");
    assert!(!machine.is_master());
}

#[test]
fn a_master_that_answers_is_asked_once_in_ten_seconds() {
    let mut machine = started(ours());
    let mut probes = 0;
    for second in 0..60 {
        if said(&handle(&mut machine, second * SECOND, advert(false))) == "probe" {
            probes += 1;
            handle(&mut machine, second * SECOND + MS, alive(MASTER));
        }
    }
    assert_eq!(probes, 6);
    assert_eq!(machine.counters().probes, 6);
}

#[test]
fn a_deaf_box_waits_longer_and_asks_anew_when_it_hears_again() {
    let i = Interval::DEFAULT;
    // A witness answered before; now none does.
    let mut deaf = backup(false);
    handle(&mut deaf, MS, alive(WITNESS));
    let mut healed = deaf.clone();
    let (said, probes) = run(&mut deaf, 10 * SECOND, |_| vec![]);
    assert_eq!(probes, PROBES);
    assert_eq!(said[0].0, master_down_ns(OURS, i) + 2 * SECOND);
    assert_eq!(deaf.counters().deaf, 1);
    // It may be the only one that is left, so it lets itself be found, whomever it hears.
    assert!(said[0].1.contains("advert 150"), "{said:?}");
    assert!(said[0].1.contains("announce"), "{said:?}");

    run(&mut healed, 2 * SECOND, |_| vec![]);
    handle(&mut healed, 2 * SECOND, alive(WITNESS));
    let (said, probes) = run(&mut healed, 10 * SECOND, |_| vec![WITNESS]);
    assert_eq!(probes, PROBES);
    assert!(said[0].1.contains("MasterGone"), "{said:?}");
}

#[test]
fn an_answer_that_comes_after_the_lease_leaves_time_for_the_adverts_behind_it() {
    let mut machine = backup(true);
    run(&mut machine, 3 * SECOND, |_| vec![]);
    let late = lease_ns(Interval::DEFAULT) + 10 * MS;
    handle(&mut machine, late, alive(MASTER));
    assert_eq!(machine.deadline_ns(), Some(late + SECOND / 8));
}
