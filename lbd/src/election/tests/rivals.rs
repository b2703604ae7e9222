//! Two masters that hear each other.
use super::*;

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
    assert_eq!(words(&outputs), "advert 100, release, backup Yielded, ask");
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
