//! A peer of the version before, which knows nothing of what boxes say of their sessions.
use super::*;

/// A hello of mx2 that asks for the table, as version 4 writes it: signed with the cluster's secret, by its layout
/// and key of that time.
const HELLO: &str = "\
    0401014be8698520e62d80d9000000000000000900000000000000000000000000000001000039107d589e7c12b5049e\
    0f02e36cb021e9743d4abeb27939ace410be7c71d0af";
/// A session that its client has opened at mx2, likewise, to the first life of mx1.
const FLOWS: &str = "\
    0402004be8698520e62d80d9000000000000000900000000000000010000000000000002000101c63364070fa0c00002\
    190019c000020c1d43a75dafb677b42355546e3f134c6bdf752792d77ab737a48e0687e58590af";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

#[test]
fn a_peer_of_version_4_is_refused_by_a_sentence_and_is_a_box_that_tells_nothing() {
    let mut node = Node::new(0, 1, SECRET);
    for (recorded, count) in [(HELLO, 1), (FLOWS, 2)] {
        let heard = bytes(recorded);
        assert_eq!(heard[0], 4);
        let refused = node.channel.receive(&heard, SECOND).unwrap_err();
        assert_eq!(refused, Refused::Version { found: 4 });
        let said = "cluster channel version 4; this lbd speaks 5";
        assert_eq!(refused.to_string(), said);
        assert_eq!(node.channel.counters().refused_version, count);
    }
    let peer = &node.channel.peers()[0];
    assert_eq!((peer.heard_ns, peer.tells_sessions), (None, false));
    assert_eq!(node.channel.counters().datagrams_accepted, 0);
    // It does not wait for it for longer than for a silent peer, and goes on saying who is there.
    drop(node.channel.join(SECOND));
    assert!(node.channel.has_joined(2 * SECOND));
    assert!(!node.channel.tick(3 * SECOND).is_empty());
}

/// The same with the number of this version on it: the signature covers the number.
#[test]
fn what_version_4_has_signed_is_forged_for_this_one() {
    let mut node = Node::new(0, 1, SECRET);
    let mut relabelled = bytes(FLOWS);
    relabelled[0] = VERSION;
    assert!(node.channel.receive(&relabelled, SECOND).is_err());
    assert_eq!(node.channel.counters().datagrams_accepted, 0);
}
