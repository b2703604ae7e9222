use proptest::prelude::*;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const GROUP: IpAddr = IpAddr::V4(super::super::GROUP_V4);

fn advert() -> Advert {
    Advert {
        virtual_router_id: 51,
        priority: Priority(150),
        interval: Interval::DEFAULT,
        addresses: Addresses::V4(vec![Ipv4Addr::new(192, 0, 2, 25)]),
    }
}

fn emitted(advert: &Advert, source: IpAddr, destination: IpAddr, form: ChecksumForm) -> Vec<u8> {
    let mut bytes = Vec::new();
    advert.emit(&mut bytes);
    fill_checksum(
        &mut bytes,
        advert.emitted_bytes(),
        source,
        destination,
        form,
    );
    bytes
}

fn parse(payload: &[u8]) -> Result<Parsed, VrrpError> {
    let received = Received {
        source: SOURCE,
        destination: GROUP,
        ttl: 255,
        payload,
    };
    Advert::parse(&received, 51)
}

/// A good packet with bytes replaced and its checksum made right again.
fn with(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = emitted(&advert(), SOURCE, GROUP, ChecksumForm::default());
    for &(at, value) in changes {
        bytes[at] = value;
    }
    let covered = bytes.len();
    fill_checksum(&mut bytes, covered, SOURCE, GROUP, ChecksumForm::default());
    bytes
}

#[test]
fn each_way_to_be_wrong_has_its_error() {
    let good = with(&[]);
    let mut long = good.clone();
    long.push(0);
    let length = |count, length| VrrpError::Length {
        count,
        expected: 8 + 4 * usize::from(count),
        length,
    };
    let cases: &[(&str, Vec<u8>, VrrpError)] = &[
        ("empty", vec![], VrrpError::Short { length: 0 }),
        (
            "a byte short of a header",
            good[..7].to_vec(),
            VrrpError::Short { length: 7 },
        ),
        (
            "version 2",
            with(&[(0, 0x21)]),
            VrrpError::Version { found: 2 },
        ),
        ("type 2", with(&[(0, 0x32)]), VrrpError::Type { found: 2 }),
        (
            "another VRID",
            with(&[(1, 52)]),
            VrrpError::VirtualRouterId {
                found: 52,
                expected: 51,
            },
        ),
        ("no address", with(&[(3, 0)]), VrrpError::NoAddress),
        (
            "two addresses said, one there",
            with(&[(3, 2)]),
            length(2, 12),
        ),
        ("half an address", good[..10].to_vec(), length(1, 10)),
        ("one byte too many", long, length(1, 13)),
        (
            "interval 0",
            with(&[(4, 0), (5, 0)]),
            VrrpError::ZeroInterval,
        ),
        (
            "interval 0 below reserved bits",
            with(&[(4, 0xf0), (5, 0)]),
            VrrpError::ZeroInterval,
        ),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(parse(bytes), Err(*error), "{name}");
    }
}

#[test]
fn a_ttl_below_255_is_refused() {
    let bytes = with(&[]);
    let received = Received {
        source: SOURCE,
        destination: GROUP,
        ttl: 254,
        payload: &bytes,
    };
    assert_eq!(
        Advert::parse(&received, 51),
        Err(VrrpError::Ttl { found: 254 })
    );
}

#[test]
fn families_are_not_mixed() {
    let bytes = with(&[]);
    let destination = super::super::GROUP_V6.into();
    let received = Received {
        source: SOURCE,
        destination,
        ttl: 255,
        payload: &bytes,
    };
    assert_eq!(Advert::parse(&received, 51), Err(VrrpError::Family));
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut bytes = with(&[]);
    bytes[7] ^= 1;
    let found = u16::from_be_bytes([bytes[6], bytes[7]]);
    assert_eq!(parse(&bytes), Err(VrrpError::Checksum { found }));
}

#[test]
fn both_forms_of_the_ipv4_checksum_are_taken_and_told_apart() {
    for form in [ChecksumForm::WithPseudoHeader, ChecksumForm::MessageOnly] {
        let bytes = emitted(&advert(), SOURCE, GROUP, form);
        assert_eq!(parse(&bytes).unwrap().checksum, form);
    }
}

#[test]
fn ipv6_has_one_form_with_either_switch() {
    let advert = Advert {
        addresses: Addresses::V6(vec!["fe80::50".parse().unwrap()]),
        ..advert()
    };
    let source: IpAddr = "fe80::1".parse().unwrap();
    let group = super::super::GROUP_V6.into();
    let [a, b] = [ChecksumForm::WithPseudoHeader, ChecksumForm::MessageOnly]
        .map(|form| emitted(&advert, source, group, form));
    assert_eq!(a, b);
}

#[test]
fn reserved_bits_are_ignored() {
    let bytes = with(&[(4, 0xf0)]);
    assert_eq!(parse(&bytes).unwrap().advert, advert());
}

#[test]
fn an_interval_is_exact_or_refused() {
    let ms = 1_000_000;
    let cases = [
        (0, None),
        (1, None),
        (10 * ms - 1, None),
        (10 * ms, Some(Interval::MIN)),
        (15 * ms, None),
        (1_000 * ms, Some(Interval::DEFAULT)),
        (40_950 * ms, Some(Interval::MAX)),
        (40_960 * ms, None),
        (u64::MAX, None),
    ];
    for (ns, interval) in cases {
        assert_eq!(Interval::from_ns(ns), interval, "{ns} ns");
        if let Some(interval) = interval {
            assert_eq!(interval.ns(), ns);
        }
    }
}

#[test]
fn lists_are_compared_as_sets() {
    let list = |all: &[&str]| Addresses::V4(all.iter().map(|a| a.parse().unwrap()).collect());
    let both = list(&["192.0.2.1", "192.0.2.2"]);
    assert!(both.same_set(&list(&["192.0.2.2", "192.0.2.1"])));
    assert!(!both.same_set(&list(&["192.0.2.1"])));
    assert!(!both.same_set(&Addresses::V6(vec![])));
}

fn adverts() -> impl Strategy<Value = Advert> {
    let addresses = prop_oneof![
        prop::collection::vec(any::<u32>(), 1..=255)
            .prop_map(|l| Addresses::V4(l.into_iter().map(Into::into).collect())),
        prop::collection::vec(any::<u128>(), 1..=255)
            .prop_map(|l| Addresses::V6(l.into_iter().map(Into::into).collect())),
    ];
    (any::<u8>(), any::<u8>(), 1..=0xfffu16, addresses).prop_map(
        |(virtual_router_id, priority, interval, addresses)| Advert {
            virtual_router_id,
            priority: Priority(priority),
            interval: Interval(interval),
            addresses,
        },
    )
}

fn ends(advert: &Advert) -> (IpAddr, IpAddr) {
    match advert.addresses {
        Addresses::V4(_) => (SOURCE, GROUP),
        Addresses::V6(_) => ("fe80::1".parse().unwrap(), super::super::GROUP_V6.into()),
    }
}

proptest! {
    #[test]
    fn what_is_emitted_parses_to_itself(advert in adverts(), message_only in any::<bool>()) {
        let form = if message_only { ChecksumForm::MessageOnly } else { ChecksumForm::default() };
        let (source, destination) = ends(&advert);
        let payload = emitted(&advert, source, destination, form);
        prop_assert_eq!(payload.len(), advert.emitted_bytes());
        let received = Received { source, destination, ttl: 255, payload: &payload };
        let parsed = Advert::parse(&received, advert.virtual_router_id).unwrap();
        prop_assert_eq!(parsed.advert, advert);
        prop_assert_eq!(parsed.trailer, None);
    }

    #[test]
    fn no_input_panics(
        payload in prop::collection::vec(any::<u8>(), 0..80), ttl in any::<u8>(), six in any::<bool>(),
    ) {
        let (source, destination) = if six {
            ("fe80::1".parse().unwrap(), super::super::GROUP_V6.into())
        } else {
            (SOURCE, GROUP)
        };
        let received = Received { source, destination, ttl, payload: &payload };
        let _ = Advert::parse(&received, 51);
    }

    /// Random bytes hardly ever get beyond the first check: start from a good packet.
    #[test]
    fn no_damaged_packet_panics_and_none_is_taken_for_another(
        advert in adverts(), at in any::<prop::sample::Index>(), flip in 1..=255u8, cut in 0usize..60,
    ) {
        let (source, destination) = ends(&advert);
        let mut payload = emitted(&advert, source, destination, ChecksumForm::default());
        let at = at.index(payload.len());
        payload[at] ^= flip;
        let received = Received { source, destination, ttl: 255, payload: &payload };
        // One changed byte never sums to the same, but the other form of IPv4 may fit by chance:
        // then the packet is what it says.
        if let Ok(parsed) = Advert::parse(&received, advert.virtual_router_id) {
            prop_assert_eq!(parsed.checksum, ChecksumForm::MessageOnly);
        }
        payload.truncate(cut);
        let received = Received { source, destination, ttl: 255, payload: &payload };
        let _ = Advert::parse(&received, advert.virtual_router_id);
    }
}
