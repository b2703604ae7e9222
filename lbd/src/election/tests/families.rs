//! One election for two families.
use super::*;

/// A peer of the configuration's addresses in the other family, and another master there.
const HIGH6: &str = "fe80::13";

/// All that is said until `until_ns`, with the time in milliseconds since `now_ns`.
fn said(machine: &mut Machine, now_ns: u64, until_ns: u64) -> String {
    let mut text = String::new();
    while let Some(at_ns) = machine.deadline_ns().filter(|at| *at <= until_ns) {
        let outputs = handle(machine, at_ns, Input::Timer);
        let words = words(&outputs);
        if !words.is_empty() {
            let _ = write!(text, "{}: {words}; ", (at_ns - now_ns) / MS);
        }
    }
    text
}

fn notices(outputs: &[Output]) -> String {
    let notices = outputs.iter().filter_map(|output| match output {
        Output::Notice(notice) => Some(notice.to_string()),
        _ => None,
    });
    notices.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_master_that_yields_leaves_the_family_in_which_the_winner_is_silent() {
    let (mut machine, now) = master(ours());
    let outputs = handle(&mut machine, now + MS, heard(HIGH6, 250));
    assert_eq!(words(&outputs), "advert 150, release, backup Yielded, ask");
    // keepalived's IPv4 instance is backup and would wait for its master-down interval.
    let after = said(&mut machine, now + MS, now + 500 * MS);
    assert_eq!(after, "50: leave IPv4; ");
}

#[test]
fn a_winner_that_speaks_in_both_families_is_told_no_priority_0() {
    for second in [MS, 40 * MS] {
        let (mut machine, now) = master(ours());
        handle(&mut machine, now + MS, heard(HIGH, 250));
        handle(&mut machine, now + MS + second, heard(HIGH6, 250));
        let after = said(&mut machine, now, now + 900 * MS);
        assert!(!after.contains("leave"), "{after}");
    }
}

#[test]
fn a_cluster_of_one_family_leaves_no_other() {
    let mut config = ours();
    config.families.v6 = None;
    let (mut machine, now) = master(config);
    handle(&mut machine, now + MS, heard(HIGH, 250));
    let after = said(&mut machine, now, now + 900 * MS);
    assert!(!after.contains("leave"), "{after}");
}

#[test]
fn a_family_without_a_master_is_said_once_and_in_the_status() {
    let mut machine = started(ours());
    let mut told = Vec::new();
    for second in 0..10 {
        let outputs = handle(&mut machine, second * SECOND, heard(HIGH, 250));
        told.push(notices(&outputs));
    }
    let told: Vec<&String> = told.iter().filter(|told| !told.is_empty()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("sends no IPv6 adverts"), "{told:?}");
    assert_eq!(machine.status().silent_family, Some(Family::Ipv6));
    // Another box has the IPv6 addresses, with any priority.
    handle(&mut machine, 10 * SECOND, heard(HIGH6, 100));
    assert_eq!(machine.status().silent_family, None);
    assert!(!machine.is_master());
}

#[test]
fn two_instances_with_one_master_are_no_silent_family() {
    let mut machine = started(ours());
    for second in 0..20 {
        for from in [HIGH, HIGH6] {
            let outputs = handle(&mut machine, second * SECOND, heard(from, 250));
            assert_eq!(notices(&outputs), "");
        }
    }
    assert_eq!(machine.status().silent_family, None);
}
