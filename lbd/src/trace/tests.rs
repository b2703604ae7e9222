use lbd_common::{flow::flag, trace::Candidate};

use super::*;

fn names() -> Names {
    let backend = |name: &str, is_local| BackendName {
        name: name.to_owned(),
        is_local,
    };
    Names {
        backends: [
            (1, backend("mx1", true)),
            (2, backend("mx2", false)),
            (3, backend("mx3", false)),
        ]
        .into(),
        interfaces: [(2, "eth0".to_owned())].into(),
        denied: ["198.51.0.0/16", "198.51.100.0/24", "203.0.113.0/24"]
            .map(|text| {
                let (address, bits) = text.split_once('/').unwrap();
                Network::of(address.parse().unwrap(), bits.parse().unwrap())
            })
            .into(),
        booted_unix_ns: 1_800_000_000_000_000_000,
    }
}

fn words(address: [u8; 4]) -> [u32; 4] {
    [u32::from_ne_bytes(address), 0, 0, 0]
}

fn flow(backend: u16, state: u8) -> u64 {
    let flags = flag::COUNTED;
    FlowWord {
        backend,
        state,
        flags,
        ..FlowWord::default()
    }
    .to_bits()
}

fn counted<const N: usize>(reasons: [Reason; N]) -> u64 {
    reasons.iter().map(|reason| 1 << *reason as u32).sum()
}

/// A frame of 198.51.100.7 for 192.0.2.25:25 that left as it came, by a drop.
fn record(flags: u8) -> TraceRecord {
    TraceRecord {
        at_ns: 1_234_567,
        client: words([198, 51, 100, 7]),
        client_port_be: 40_000_u16.to_be(),
        vip: words([192, 0, 2, 25]),
        vip_port_be: 25_u16.to_be(),
        vip_id: 1,
        kind: kind::SEGMENT,
        family: 4,
        family_after: 4,
        source_after: words([198, 51, 100, 7]),
        destination_after: words([192, 0, 2, 25]),
        source_port_after_be: 40_000_u16.to_be(),
        destination_port_after_be: 25_u16.to_be(),
        flags,
        ifindex: 2,
        action: 1,
        length_before: 54,
        length_after: 54,
        backend: NO_BACKEND_ID,
        about: about::MASTER | about::LEASE,
        ..TraceRecord::default()
    }
}

fn said(record: &TraceRecord) -> String {
    let line = line(&frame(record, &names()).unwrap());
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(time, "2027-01-15T08:00:00.001234Z");
    rest.to_owned()
}

const SYN: u8 = 2;
const ACK: u8 = 16;

fn two() -> [Candidate; 2] {
    let one = |id, load| Candidate {
        id,
        in_ring: id,
        load,
        weight_permille: 100_000,
        ..Candidate::default()
    };
    [one(2, 12), one(3, 9)]
}

/// A SYN that opens a session with mx3.
fn opens() -> TraceRecord {
    TraceRecord {
        about: about::MASTER | about::LEASE | about::CANDIDATES,
        candidates: two(),
        flow_after: flow(3, state::HALF_OPEN),
        backend: 3,
        action: 3,
        macs_after: [2, 0x0300_0000, 0],
        ..record(SYN)
    }
}

#[test]
fn a_new_session_says_who_could_take_it_and_who_does() {
    assert_eq!(
        said(&opens()),
        "198.51.100.7:40000 > 192.0.2.25:25 SYN: no session; allowed; candidates mx2 with 12 of 100 and \
         mx3 with 9 of 100; takes mx3; MAC 02:00:00:00:00:00; sent out of eth0"
    );
}

#[test]
fn a_denied_source_learns_the_smallest_network_that_denies_it() {
    let denied = TraceRecord {
        counted: counted([Reason::DropDenied]),
        about: about::CANDIDATES,
        candidates: two(),
        ..record(SYN)
    };
    assert_eq!(
        said(&denied),
        "198.51.100.7:40000 > 192.0.2.25:25 SYN: no session; denied by 198.51.100.0/24; dropped"
    );
}

#[test]
fn a_drained_backend_keeps_its_session_and_is_passed_over_by_a_new_one() {
    let open = TraceRecord {
        flow_before: flow(2, state::ESTABLISHED),
        flow_after: flow(2, state::ESTABLISHED),
        backend: 2,
        action: 3,
        ..record(ACK)
    };
    assert_eq!(
        said(&open),
        "198.51.100.7:40000 > 192.0.2.25:25 ACK: established session with mx2, which takes no new ones; \
         sent out of eth0"
    );
    let mut new = opens();
    new.candidates[0].id = 3;
    assert!(
        said(&new).contains("candidates mx3 with 12 of 100 (mx2 takes no new sessions) and mx3"),
        "{}",
        said(&new)
    );
}

#[test]
fn a_backend_without_a_mac_is_named() {
    let open = TraceRecord {
        flow_before: flow(2, state::ESTABLISHED),
        flow_after: flow(2, state::ESTABLISHED),
        flow_weight_permille: 1000,
        counted: counted([Reason::DropUnresolved]),
        ..record(ACK)
    };
    assert!(
        said(&open)
            .ends_with("established session with mx2; the MAC of mx2 is not known yet; dropped"),
        "{}",
        said(&open)
    );
    let mut new = record(SYN);
    new.about |= about::CANDIDATES;
    new.candidates = two().map(|candidate| Candidate {
        id: UNRESOLVED,
        kept_out: candidate.id,
        ..candidate
    });
    // The second place is another's, who takes no new sessions.
    new.candidates[1].in_ring = 1;
    new.counted = counted([Reason::DropUnresolved]);
    assert!(
        said(&new).contains(
            "candidates mx2, whose MAC is not known yet and mx3, whose MAC is not known yet (mx1 takes no \
             new sessions)"
        ),
        "{}",
        said(&new)
    );
}

#[test]
fn a_queue_and_a_limit_are_told() {
    let mut queued = opens();
    queued.candidates[0].queued_sessions = 7;
    assert!(
        said(&queued).contains("mx2 with 12 of 100 and 7 for its queue and mx3 with 9 of 100; "),
        "{}",
        said(&queued)
    );
    let full = TraceRecord {
        about: about::CANDIDATES,
        candidates: two().map(|candidate| Candidate {
            id: FULL,
            kept_out: candidate.id,
            ..candidate
        }),
        counted: counted([Reason::ResetFull]),
        action: 3,
        ..record(SYN)
    };
    assert!(
        said(&full).ends_with(
            "candidates mx2, which has as many sessions as it may and mx3, which has as many sessions as it \
             may; every backend has as many sessions as it may: reset; \
             answered with RST; sent out of eth0"
        ),
        "{}",
        said(&full)
    );
}

#[test]
fn a_port_that_is_not_served_and_a_ping_are_not_for_us() {
    let other = TraceRecord {
        vip_id: 0,
        vip_port_be: 26_u16.to_be(),
        counted: counted([Reason::PassOtherService]),
        action: 2,
        ..record(SYN)
    };
    assert_eq!(
        said(&other),
        "198.51.100.7:40000 > 192.0.2.25:26 SYN: not for us: no such service here; passed up"
    );
    let ping = TraceRecord {
        kind: kind::OTHER,
        flags: 1,
        client_port_be: 0,
        ..other
    };
    assert!(said(&ping).contains("no whole TCP segment, IP protocol 1; not for us"));
}

#[test]
fn what_was_rewritten_is_told() {
    let nat = TraceRecord {
        destination_after: words([10, 0, 0, 3]),
        destination_port_after_be: 2525_u16.to_be(),
        ..opens()
    };
    assert!(said(&nat).contains("; destination 10.0.0.3:2525; sent out of eth0"));
    let tunnel = TraceRecord {
        source_after: words([192, 0, 2, 1]),
        destination_after: words([203, 0, 113, 3]),
        source_port_after_be: 0,
        destination_port_after_be: 0,
        length_after: 74,
        ..opens()
    };
    assert!(said(&tunnel).contains("; in a tunnel from 192.0.2.1 to 203.0.113.3; sent"));
    let reply = TraceRecord {
        kind: kind::REPLY,
        flags: ACK,
        flow_before: flow(2, state::ESTABLISHED),
        flow_after: flow(2, state::ESTABLISHED),
        flow_weight_permille: 1,
        source_after: words([192, 0, 2, 25]),
        source_port_after_be: 25_u16.to_be(),
        counted: counted([Reason::NatReply]),
        action: 4,
        ..record(ACK)
    };
    assert_eq!(
        said(&reply),
        "192.0.2.25:25 > 198.51.100.7:40000 ACK: a backend's reply; established session with mx2; \
         translated back; source 192.0.2.25:25; sent out of another interface"
    );
}

#[test]
fn a_second_chance_names_the_other_candidate() {
    let mut handed = record(ACK);
    handed.about = about::FROM_NODE | about::CANDIDATES;
    handed.candidates = two();
    handed.candidates[0].id = 1;
    handed.candidates[0].in_ring = 1;
    handed.counted = counted([Reason::SecondChance]);
    handed.action = 3;
    let said = said(&handed);
    assert!(
        said.contains(
            "from another box of the cluster; no session; candidates mx1 with 12 of 100 and mx3"
        ) && said.contains("handed on to the other candidate; to mx3; sent out of eth0"),
        "{said}"
    );
}

#[test]
fn the_closing_line_says_how_many_were_left_out() {
    let mut end = TraceEnd {
        frames: 12,
        left_out: 0,
        why: "the time is up".to_owned(),
    };
    assert_eq!(end.line(), "12 frames; the time is up");
    end.left_out = 7;
    assert!(end.line().contains("7 more left out"));
}

#[test]
fn a_record_of_no_known_kind_is_no_frame() {
    let unknown = TraceRecord {
        kind: 99,
        ..record(SYN)
    };
    assert!(frame(&unknown, &names()).is_none());
}

#[test]
fn every_counter_has_its_word_or_is_told_by_another() {
    for reason in Reason::ALL {
        let one = TraceRecord {
            counted: counted([*reason]),
            ..record(SYN)
        };
        let stages = words::stages(&one, &names());
        let silent = matches!(
            reason,
            Reason::FlowOpened | Reason::FlowClosed | Reason::FlowDisplaced | Reason::EventLost
        );
        assert_eq!(
            stages.len(),
            if silent { 1 } else { 2 },
            "{}",
            reason.name()
        );
    }
}
