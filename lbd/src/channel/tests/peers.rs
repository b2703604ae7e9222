//! What a node knows of its peers, and which of their datagrams it takes.
use super::*;

#[test]
fn a_peer_knows_at_once_which_configuration_this_node_has() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let known = |nodes: &[Node; 2]| nodes[1].channel.peers()[0].edition;
    assert_eq!(known(&nodes), None);
    let edition = Some(Edition {
        number: 3,
        digest: 7,
    });
    let hello = nodes[0].channel.tell_edition(edition, 1);
    talk(&mut nodes, hello, 1, NEVER);
    assert_eq!(known(&nodes), edition);
    // And it stays known with the hellos that follow.
    tick(&mut nodes, 2 * SECOND, 3, || false);
    assert_eq!(known(&nodes), edition);
}

#[test]
fn a_peer_knows_at_once_whether_checks_of_this_node_succeed() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let known = |nodes: &[Node; 2]| nodes[1].channel.peers()[0].checks == Checks::OneSucceeds;
    assert!(!known(&nodes));
    for succeed in [true, false] {
        let hello = nodes[0].channel.tell_checks_succeed(succeed, 1);
        talk(&mut nodes, hello, 1, NEVER);
        assert_eq!(known(&nodes), succeed);
    }
}

#[test]
fn datagrams_in_another_order_are_all_taken_and_none_twice() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let mut sent = Vec::new();
    for port in 0..20 {
        nodes[0].channel.queue(&[record(port)], 0);
        if let Some(Output::Send { bytes, .. }) = nodes[0].channel.next_flows() {
            sent.push(bytes);
        }
    }
    sent.reverse();
    let mut learned = Vec::new();
    for bytes in sent.iter().chain(&sent) {
        let outputs = nodes[1].channel.receive(bytes, 0).unwrap_or_default();
        learned.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Learn { records, .. } => Some(records),
            _ => None,
        }));
    }
    let mut learned: Vec<_> = learned.into_iter().flatten().collect();
    learned.reverse();
    assert_eq!(learned, (0..20).map(record).collect::<Vec<_>>());
    let counters = nodes[1].channel.counters();
    assert_eq!((counters.refused_replayed, counters.lost), (20, 0));
}

#[test]
fn a_recording_is_refused_by_this_life_and_the_next() {
    let mut nodes = pair();
    nodes[0].table = vec![record(1)];
    let hello = nodes[0].channel.join(0);
    let mut sent = talk(&mut nodes, hello, 0, NEVER);
    nodes[0].channel.queue(&[record(2)], 0);
    sent.extend(talk(&mut nodes, Vec::new(), 0, NEVER));
    let learned = nodes[1].learned.clone();
    assert_eq!(learned, [record(1), record(2)]);
    let recorded: Vec<_> = sent.iter().filter(|(to, _)| *to == 1).collect();
    for (_, bytes) in &recorded {
        let outputs = nodes[1].channel.receive(bytes, 0).unwrap_or_default();
        assert!(outputs.iter().all(|o| matches!(o, Output::Send { .. })));
    }
    assert!(nodes[1].channel.counters().refused_replayed > 0);
    let mut reborn = Node::new(1, 3, SECRET);
    for (_, bytes) in &recorded {
        let outputs = reborn.channel.receive(bytes, 0).unwrap_or_default();
        assert!(outputs.iter().all(|o| matches!(o, Output::Send { .. })));
    }
    assert!(reborn.channel.peers()[0].heard_ns.is_none());
}

#[test]
fn a_peer_that_started_again_is_known_again_and_its_former_life_is_not() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    let sent = talk(&mut nodes, hello, 0, NEVER);
    nodes[1].table = vec![record(5)];
    let mut reborn = Node::new(0, 9, SECRET);
    let hello = reborn.channel.join(SECOND);
    nodes[0] = reborn;
    talk(&mut nodes, hello, SECOND, NEVER);
    assert_eq!(nodes[0].learned, [record(5)]);
    let accepted = nodes[1].channel.counters().datagrams_accepted;
    for (_, bytes) in sent.iter().filter(|(to, _)| *to == 1) {
        let _ = nodes[1].channel.receive(bytes, SECOND);
    }
    assert_eq!(nodes[1].channel.counters().datagrams_accepted, accepted);
}

#[test]
fn a_peer_that_leaves_is_known_to_until_it_starts_again() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let is_leaving = |nodes: &[Node]| nodes[1].channel.peers()[0].is_leaving;
    assert!(!is_leaving(&nodes));
    // The first word of it is lost; it is said again with each hello.
    drop(nodes[0].channel.leave());
    tick(&mut nodes, SECOND, 50, || false);
    assert!(is_leaving(&nodes));
    let mut reborn = Node::new(0, 9, SECRET);
    let hello = reborn.channel.join(3 * SECOND);
    nodes[0] = reborn;
    talk(&mut nodes, hello, 3 * SECOND, NEVER);
    tick(&mut nodes, 3 * SECOND, 50, || false);
    assert!(!is_leaving(&nodes));
}

/// Frames to one of them are lost, those from it are not.
#[test]
fn a_peer_that_is_heard_and_hears_nothing_confirms_nothing() {
    let mut nodes = pair();
    tick(&mut nodes, 0, 50, || false);
    let peer = |nodes: &[Node; 2], index: usize| nodes[index].channel.peers()[0].clone();
    for index in [0, 1] {
        assert!(peer(&nodes, index).confirmed_ns > Some(SECOND / 2));
    }
    for nth in 50..150 {
        let now_ns = nth * SECOND / 50;
        let outputs = nodes[1].channel.tick(now_ns);
        deliver(&mut nodes, 1, outputs, now_ns, &mut || false);
        drop(nodes[0].channel.tick(now_ns));
    }
    let deaf = peer(&nodes, 0);
    assert!(deaf.heard_ns > Some(5 * SECOND / 2), "{deaf:?}");
    assert!(deaf.confirmed_ns < Some(2 * SECOND), "{deaf:?}");
    tick(&mut nodes, 3 * SECOND, 50, || false);
    assert!(peer(&nodes, 0).confirmed_ns > Some(7 * SECOND / 2));
}

#[test]
fn nodes_with_different_keys_learn_nothing_of_each_other() {
    let mut nodes = [Node::new(0, 1, SECRET), Node::new(1, 2, OTHER)];
    nodes[0].table = vec![record(1)];
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    assert!(nodes[1].learned.is_empty());
    assert_eq!(nodes[1].channel.counters().refused_unknown_key, 1);
    assert!(!nodes[0].channel.has_joined(SECOND - 1));
    assert!(nodes[0].channel.has_joined(SECOND), "no peer can be asked");
}
