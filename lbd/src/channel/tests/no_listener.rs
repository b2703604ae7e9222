//! What a box says of the services for which it has no listening socket.
use super::*;

fn without(services: &[&str]) -> NoListener {
    let services = services.iter().map(|service| service.parse().unwrap());
    NoListener::new(true, services.collect())
}

#[test]
fn what_a_box_lacks_is_known_when_its_table_is_also_where_the_word_was_lost() {
    // The second datagram to mx1 is the first that mx2 sends after its hello.
    for lost in [0, 3, 4, 5] {
        let mut nodes = pair();
        let lacks = without(&["192.0.2.25:587", "[2001:db8::25]:25"]);
        assert_eq!(nodes[1].channel.tell_no_listener(lacks.clone()), []);
        nodes[1].table = (0..200).map(record).collect();
        let hello = nodes[0].channel.join(0);
        talk(&mut nodes, hello, 0, |count| count == lost);
        tick(&mut nodes, SECOND / 10, 5, || false);
        if nodes[0].channel.has_joined(0) {
            assert_eq!(nodes[0].channel.peers()[0].no_listener, lacks, "{lost}");
        }
        tick(&mut nodes, SECOND, 50, || false);
        assert!(nodes[0].channel.has_joined(0), "{lost}");
        assert_eq!(nodes[0].channel.peers()[0].no_listener, lacks, "{lost}");
    }
}

#[test]
fn a_listener_that_came_back_is_told_as_well_and_another_life_begins_with_all() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let known = |nodes: &[Node; 2]| nodes[1].channel.peers()[0].no_listener.clone();
    let never = nodes[0].channel.tell_no_listener(NoListener::default());
    assert_eq!(never, [], "it never lacked one");
    for lacks in [without(&["192.0.2.25:587"]), NoListener::default()] {
        let told = nodes[0].channel.tell_no_listener(lacks.clone());
        assert_eq!(nodes[0].channel.tell_no_listener(lacks.clone()), []);
        talk(&mut nodes, told, SECOND, NEVER);
        assert_eq!(known(&nodes), lacks);
    }
    // Lost, it comes with the next hello.
    let lacks = without(&["192.0.2.25:25"]);
    drop(nodes[0].channel.tell_no_listener(lacks.clone()));
    tick(&mut nodes, 2 * SECOND, 50, || false);
    assert_eq!(known(&nodes), lacks);
    let mut reborn = Node::new(0, 9, SECRET);
    let hello = reborn.channel.join(4 * SECOND);
    nodes[0] = reborn;
    talk(&mut nodes, hello, 4 * SECOND, NEVER);
    tick(&mut nodes, 4 * SECOND, 50, || false);
    assert_eq!(known(&nodes), NoListener::default());
}
