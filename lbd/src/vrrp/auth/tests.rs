use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::advert::fill_checksum;
use super::super::{Addresses, Advert, ChecksumForm, GROUP_V4, Interval};
use super::*;
use crate::units::Priority;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const GROUP: IpAddr = IpAddr::V4(GROUP_V4);
const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 0x6800_0000 * SECOND;

fn moment(unix_ns: u64) -> Moment {
    Moment {
        unix_ns,
        boot_ns: unix_ns - NOW + 3600 * SECOND,
    }
}

fn key(id: u8) -> Key {
    Key::new(
        id,
        std::array::from_fn(|i| u8::try_from(i).unwrap() ^ (id - 1)),
    )
}

fn authenticator(mode: AuthMode, keys: &[u8]) -> Authenticator {
    Authenticator::new(mode, keys.iter().map(|id| key(*id)).collect(), 5).unwrap()
}

fn message() -> Vec<u8> {
    let mut bytes = Vec::new();
    Advert {
        virtual_router_id: 51,
        priority: Priority(200),
        interval: Interval::DEFAULT,
        addresses: Addresses::V4(vec![Ipv4Addr::new(192, 0, 2, 25)]),
    }
    .emit(&mut bytes);
    bytes
}

fn signed(by: &mut Authenticator, unix_ns: u64) -> Vec<u8> {
    let mut bytes = message();
    let pdu = bytes.len();
    by.sign(&mut bytes, SOURCE, unix_ns);
    fill_checksum(&mut bytes, pdu, SOURCE, GROUP, ChecksumForm::default());
    bytes
}

fn hear(by: &mut Authenticator, payload: &[u8], unix_ns: u64) -> Result<(), AuthError> {
    let received = Received {
        source: SOURCE,
        destination: GROUP,
        ttl: 255,
        payload,
    };
    let parsed = Advert::parse(&received, 51).expect("a good packet");
    by.verify(&received, &parsed, moment(unix_ns))
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The draft's vectors: key 00..1f, sent at 0x68000000.5 s to a unicast peer in IPv6.
#[test]
fn the_vectors_of_the_draft_are_signed_and_verified_as_there() {
    let vectors = [
        (
            "198.51.100.10",
            "224.0.0.18",
            "3133c80100644402c0000264010100006800000080000000",
            "1b84bc4e8e43892dc6d98448f8ee2265",
            ChecksumForm::MessageOnly,
        ),
        (
            "fe80::10",
            "fe80::20",
            "3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000",
            "c8c56146ebfd66ee10ec4d8186461b78",
            ChecksumForm::WithPseudoHeader,
        ),
    ];
    for (source, destination, packet, hmac, form) in vectors {
        let whole = unhex(&[packet, hmac].concat());
        let source: IpAddr = source.parse().unwrap();
        let destination: IpAddr = destination.parse().unwrap();
        let received = Received {
            source,
            destination,
            ttl: 255,
            payload: &whole,
        };
        let parsed = Advert::parse(&received, 51).unwrap();
        assert_eq!(parsed.checksum, form);
        let unix_ns = NOW + SECOND / 2;
        let mut ours = authenticator(AuthMode::Enforce, &[1]);
        assert_eq!(ours.verify(&received, &parsed, moment(unix_ns)), Ok(()));

        let mut bytes = Vec::new();
        parsed.advert.emit(&mut bytes);
        ours.sign(&mut bytes, source, unix_ns);
        fill_checksum(
            &mut bytes,
            parsed.advert.emitted_bytes(),
            source,
            destination,
            form,
        );
        assert_eq!(bytes, whole);
    }
}

#[test]
fn each_mode_takes_and_sends_what_it_should() {
    let unsigned = {
        let mut bytes = message();
        let pdu = bytes.len();
        fill_checksum(&mut bytes, pdu, SOURCE, GROUP, ChecksumForm::default());
        bytes
    };
    let cases = [
        (AuthMode::ReceiveOnly, false, Ok(())),
        (AuthMode::Permissive, true, Ok(())),
        (AuthMode::Enforce, true, Err(AuthError::Missing)),
    ];
    for (mode, signs, takes_unsigned) in cases {
        let mut ours = authenticator(mode, &[1]);
        assert_eq!(hear(&mut ours, &unsigned, NOW), takes_unsigned, "{mode:?}");
        let sent = signed(&mut ours, NOW);
        assert_eq!(sent.len() > unsigned.len(), signs, "{mode:?}");
        // In every mode a trailer that is there must be right.
        let forged = signed(&mut authenticator(AuthMode::Enforce, &[2]), NOW);
        assert_eq!(
            hear(&mut ours, &forged, NOW),
            Err(AuthError::UnknownKey { found: 2 })
        );
    }
}

#[test]
fn a_roll_over_loses_no_advert() {
    let (old, both_old_first) = (&[1][..], &[1, 2][..]);
    let (both_new_first, new) = (&[2, 1][..], &[2][..]);
    // Step 1: some nodes know the second key too. Step 2: some sign with it. Step 3: the first goes.
    for (sender, receiver) in [
        (old, both_old_first),
        (both_old_first, old),
        (both_old_first, both_new_first),
        (both_new_first, both_old_first),
        (both_new_first, new),
        (new, both_new_first),
    ] {
        let packet = signed(&mut authenticator(AuthMode::Enforce, sender), NOW);
        let mut receiver = authenticator(AuthMode::Enforce, receiver);
        assert_eq!(hear(&mut receiver, &packet, NOW), Ok(()));
    }
}

/// The number of a key is its line in the key file: two files in another order still agree.
#[test]
fn a_known_key_under_another_number_verifies() {
    let renamed = Key { id: 9, ..key(1) };
    let mut ours = Authenticator::new(AuthMode::Enforce, vec![renamed], 5).unwrap();
    let packet = signed(&mut authenticator(AuthMode::Enforce, &[1]), NOW);
    assert_eq!(hear(&mut ours, &packet, NOW), Ok(()));
}

#[test]
fn a_replay_is_refused_and_so_is_a_late_advert() {
    let mut sender = authenticator(AuthMode::Enforce, &[1]);
    let mut ours = authenticator(AuthMode::Enforce, &[1]);
    let first = signed(&mut sender, NOW);
    let second = signed(&mut sender, NOW);
    assert_ne!(first, second, "the counter moves when the clock does not");
    assert_eq!(hear(&mut ours, &first, NOW), Ok(()));
    assert_eq!(hear(&mut ours, &second, NOW), Ok(()));
    assert_eq!(hear(&mut ours, &first, NOW), Err(AuthError::Replay));
    assert_eq!(hear(&mut ours, &second, NOW), Err(AuthError::Replay));
    let late = hear(&mut ours, &signed(&mut sender, NOW), NOW + 6 * SECOND);
    assert_eq!(
        late,
        Err(AuthError::Stale {
            skew_s: -6,
            window_s: 5
        })
    );
}

/// One pair in 256 has one number: a roll-over that met such a pair was refused.
#[test]
fn two_keys_of_one_number_both_verify() {
    let secret = |i: u32| {
        let mut secret = [7; 32];
        secret[..4].copy_from_slice(&i.to_be_bytes());
        secret
    };
    let first = Key::of_cluster(&secret(0));
    let other = (1..10_000)
        .map(|i| Key::of_cluster(&secret(i)))
        .find(|key| key.id == first.id)
        .expect("one in 256 has the number");
    assert_ne!(first, other);
    let both = vec![first.clone(), other.clone()];
    for signing in [first, other] {
        let mut sender = Authenticator::new(AuthMode::Enforce, vec![signing], 5).unwrap();
        let mut ours = Authenticator::new(AuthMode::Enforce, both.clone(), 5).unwrap();
        let packet = signed(&mut sender, NOW);
        assert_eq!(hear(&mut ours, &packet, NOW), Ok(()));
    }
    // At a reload as at a start.
    let mut ours = Authenticator::new(AuthMode::Enforce, both[..1].to_vec(), 5).unwrap();
    let mut new = Authenticator::new(AuthMode::Enforce, both[1..].to_vec(), 5).unwrap();
    let packet = signed(&mut new, NOW);
    assert_eq!(hear(&mut ours, &packet, NOW), Err(AuthError::Forged));
    assert!(ours.set_keys(AuthMode::Enforce, both));
    assert_eq!(hear(&mut ours, &packet, NOW), Ok(()));
}

/// As `printf 'lbd adverts' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0001..1f` says.
#[test]
fn the_key_of_adverts_is_what_the_documented_command_derives() {
    let secret: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let derived = unhex("f30a5192f6a5510ba2a2057007cabd78be890ba40c40e628319d49643651fc36");
    let expected = Key::new(Key::of_cluster(&secret).id, derived.try_into().unwrap());
    assert_eq!(Key::of_cluster(&secret), expected);
    assert_ne!(Key::of_cluster(&secret), Key::new(expected.id, secret));
}

#[test]
fn a_clock_set_back_far_is_followed() {
    let mut sender = authenticator(AuthMode::Enforce, &[1]);
    signed(&mut sender, NOW + 3600 * SECOND);
    let packet = signed(&mut sender, NOW);
    let mut ours = authenticator(AuthMode::Enforce, &[1]);
    assert_eq!(hear(&mut ours, &packet, NOW), Ok(()));
}

#[test]
fn no_keys_is_no_authenticator() {
    assert!(Authenticator::new(AuthMode::Enforce, vec![], 5).is_none());
}

#[test]
fn a_key_is_not_printed() {
    assert_eq!(format!("{:?}", key(1)), "Key { id: 1, .. }");
}

proptest! {
    #[test]
    fn no_forged_packet_is_believed(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = signed(&mut authenticator(AuthMode::Enforce, &[1]), NOW);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        // A forger would make the checksum right again.
        let pdu = bytes.len() - TRAILER_BYTES;
        fill_checksum(&mut bytes, pdu, SOURCE, GROUP, ChecksumForm::default());
        let received = Received { source: SOURCE, destination: GROUP, ttl: 255, payload: &bytes };
        let vrid = bytes[1];
        let Ok(parsed) = Advert::parse(&received, vrid) else { return Ok(()) };
        let mut ours = authenticator(AuthMode::Enforce, &[1]);
        let verdict = ours.verify(&received, &parsed, moment(NOW));
        // The checksum's own bytes are not signed: changed there, the packet is whole again.
        prop_assert_eq!(verdict.is_ok(), CHECKSUM_FIELD.contains(&at));
    }
}
