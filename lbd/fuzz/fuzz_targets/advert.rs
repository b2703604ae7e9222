//! Any bytes as an advert, with and without a trailer. What parses is emitted as the same again, and
//! nothing is believed that was not signed.
#![no_main]
use std::net::{IpAddr, Ipv6Addr};

use lbd::vrrp::{
    Advert, AuthMode, Authenticator, GROUP_V4, GROUP_V6, Key, Moment, Received, TTL,
    advert::fill_checksum,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, payload)) = bytes.split_first() else {
        return;
    };
    // Half of the inputs get a right checksum: few would find one.
    let (is_v6, is_filled) = (first & 1 != 0, first & 2 != 0);
    let (source, destination): (IpAddr, IpAddr) = if is_v6 {
        (
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9).into(),
            GROUP_V6.into(),
        )
    } else {
        ([192, 0, 2, 9].into(), GROUP_V4.into())
    };
    let mut payload = payload.to_vec();
    if is_filled && payload.len() >= 8 {
        let entry = if is_v6 { 16 } else { 4 };
        let pdu = (8 + usize::from(payload[3]) * entry).min(payload.len());
        let form = lbd::vrrp::ChecksumForm::WithPseudoHeader;
        fill_checksum(&mut payload, pdu, source, destination, form);
    }
    let received = Received {
        source,
        destination,
        ttl: TTL,
        payload: &payload,
    };
    let virtual_router_id = payload.get(1).copied().unwrap_or(0);
    let Ok(parsed) = Advert::parse(&received, virtual_router_id) else {
        return;
    };
    let mut again = Vec::new();
    parsed.advert.emit(&mut again);
    let bytes = parsed.advert.emitted_bytes();
    assert_eq!(again.len(), bytes);
    fill_checksum(&mut again, bytes, source, destination, parsed.checksum);
    let emitted = Received {
        payload: &again,
        ..received
    };
    let reparsed = Advert::parse(&emitted, virtual_router_id).expect("what was emitted parses");
    assert_eq!(reparsed.advert, parsed.advert);

    let key = Key::new(1, [7; 32]);
    let mut authenticator = Authenticator::new(AuthMode::Enforce, vec![key], 60).expect("a key");
    assert!(
        authenticator
            .verify(
                &received,
                &parsed,
                Moment {
                    unix_ns: 0,
                    boot_ns: 0
                }
            )
            .is_err()
    );
});
