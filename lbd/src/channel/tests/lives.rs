//! Lives of peers that were never heard, and their wall clocks.
use super::*;

/// Datagrams of lives of mx2, to the first life of mx1.
fn of_life(life: u64, sequence: u64, body: Body) -> Vec<u8> {
    let datagram = Datagram {
        sender: SenderId::of(NAMES[1]),
        epoch: epoch(life),
        to_epoch: Some(epoch(1)),
        sequence,
        body,
    };
    datagram.emit(&keys(SECRET))
}

/// Recorded and kept back: the life it is of was never heard, and the peer has begun another since.
#[test]
fn a_recording_of_a_life_that_was_never_heard_ends_no_life() {
    let mut node = Node::new(0, 1, SECRET);
    let mut hear = |bytes: Vec<u8>, now_ns| node.channel.receive(&bytes, now_ns);
    let asked = hear(of_life(21, 1, hello(false)), SECOND).unwrap();
    let kept_back = of_life(21, 2, answering(challenge(&asked[0])));
    // The peer's next life is heard instead.
    let asked = hear(of_life(22, 1, hello(false)), 2 * SECOND).unwrap();
    let answer = answering(challenge(&asked[0]));
    assert!(hear(of_life(22, 2, answer), 2 * SECOND).is_ok());
    let flows = || Body::Flows {
        part: Part::Stream,
        repeats: None,
        records: vec![record(1)],
    };
    let learns = |heard: Result<Vec<Output>, Refused>| {
        let outputs = heard.unwrap_or_default();
        outputs
            .iter()
            .any(|output| matches!(output, Output::Learn { .. }))
    };
    for seconds in 3..60 {
        let now_ns = seconds * SECOND;
        let recorded = [
            of_life(21, 1, hello(false)),
            of_life(21, 3, flows()),
            kept_back.clone(),
        ];
        for bytes in recorded {
            assert!(!learns(hear(bytes, now_ns)), "second {seconds}");
        }
        let present = of_life(22, seconds, flows());
        assert!(
            learns(hear(present, now_ns)),
            "second {seconds}: its life goes on"
        );
    }
}

#[test]
fn a_clock_that_was_set_is_told_at_once_and_one_that_runs_is_not() {
    let mut node = Node::new(0, 1, SECRET);
    assert_eq!(node.channel.set_clock(1000 * SECOND, SECOND).len(), 1);
    assert_eq!(node.channel.set_clock(1001 * SECOND, 2 * SECOND), []);
    let told = node.channel.set_clock(400 * SECOND, 2 * SECOND);
    let [Output::Send { bytes, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    let body = Datagram::parse(bytes, &keys(SECRET)).unwrap().body;
    assert!(
        matches!(body, Body::Hello { clock_unix_ns, .. } if clock_unix_ns == 400 * SECOND),
        "{body:?}"
    );
}
