//! Any bytes as an ARP packet or a neighbour advertisement.
#![no_main]
use lbd::vrrp::announce::{announcement, parse_claim};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    if let Some(claim) = parse_claim(frame) {
        let announced = announcement(claim.address, claim.mac);
        assert_eq!(parse_claim(&announced), Some(claim));
    }
});
