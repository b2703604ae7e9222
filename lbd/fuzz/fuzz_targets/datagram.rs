//! Datagrams of the cluster channel that are signed with the cluster's key *after* they were mutated:
//! what stands behind the HMAC. What parses is emitted as the same, and a peer that speaks nonsense
//! with the key stops no machine.
//!
//! The input is datagrams, each behind two bytes of its length.
#![no_main]
use std::num::NonZeroU64;

use lbd::{
    channel::{Channel, Datagram, Epoch, Keys, SenderId, VERSION},
    fuzzing,
};
use libfuzzer_sys::fuzz_target;

const KEY: [u8; 32] = [7; 32];
const STEP_NS: u64 = 300_000_000;

fuzz_target!(|input: &[u8]| {
    let keys = Keys::new(&KEY, &[]);
    let epoch = Epoch(NonZeroU64::MIN);
    let mut node = Channel::new("mx1", epoch, keys.clone(), 0);
    let at = ([192, 0, 2, 12], 9426).into();
    node.configure(keys.clone(), &[("mx2".to_owned(), at)]);
    let mut now_ns = 0;
    let mut rest = input;
    while let [high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (message, after) = more.split_at(length);
        rest = after;
        now_ns += STEP_NS;
        let mut message = message.to_vec();
        if let Some(version) = message.first_mut() {
            *version = VERSION;
        }
        // The peer's name, which no mutation finds.
        if let Some(sender) = message.get_mut(4..12) {
            sender.copy_from_slice(&SenderId::of("mx2").0.to_be_bytes());
        }
        let signed = fuzzing::signed(&keys, message);
        if let Ok(parsed) = Datagram::parse(&signed, &keys) {
            let emitted = parsed.emit(&keys);
            let again = Datagram::parse(&emitted, &keys).expect("what was emitted parses");
            assert_eq!(again, parsed);
        }
        let _ = node.receive(&signed, now_ns);
        let _ = node.tick(now_ns);
        for _ in 0..64 {
            if node.next_flows().is_none() {
                break;
            }
        }
    }
});
