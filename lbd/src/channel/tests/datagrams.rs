//! Any datagram, as its bytes.
use std::num::{NonZeroU16, NonZeroU64};

use proptest::prelude::*;

use super::*;

fn any_record() -> impl Strategy<Value = FlowRecord> {
    let change = prop_oneof![
        Just(Change::Opening),
        Just(Change::Opened),
        Just(Change::Closed),
        Just(Change::Confirmed),
        Just(Change::Held),
        Just(Change::Ended),
        any::<u16>().prop_map(|age| Change::Alive { age }),
    ];
    let sockets = prop_oneof![
        Just(Sockets::Virtual),
        any::<u16>().prop_map(|port| Sockets::Own {
            port: NonZeroU16::new(port)
        }),
    ];
    let ends = any::<(SocketAddr, SocketAddr, std::net::IpAddr)>();
    let fields = (change, ends, sockets);
    fields.prop_map(|(change, (source, vip, address), sockets)| FlowRecord {
        change,
        source: SocketAddr::new(source.ip(), source.port()),
        vip: SocketAddr::new(vip.ip(), vip.port()),
        backend: Endpoint { address, sockets },
    })
}

fn any_weights() -> impl Strategy<Value = Weights> {
    let backend = any::<(std::net::IpAddr, u32, u32)>();
    let backend = backend.prop_map(|(backend, weight, in_ring)| BackendWeight {
        backend,
        weight: WeightPermille(weight),
        in_ring: WeightPermille(in_ring),
    });
    let fields = any::<(u64, u16)>();
    (fields, proptest::collection::vec(backend, 0..50)).prop_map(|((round, total), backends)| {
        Weights {
            round,
            total,
            backends,
        }
    })
}

fn any_order() -> impl Strategy<Value = OrderRecord> {
    let word = prop_oneof![
        Just(Word::Released),
        any::<u16>().prop_map(Word::Weight),
        (proptest::option::of(1_u64..), any::<bool>()).prop_map(|(until_unix_s, then_reset)| {
            Word::Drain {
                until_unix_s,
                then_reset,
            }
        }),
    ];
    ("[a-z0-9.-]{0,40}", any::<u64>(), word).prop_map(|(backend, version, word)| OrderRecord {
        backend,
        version,
        word,
    })
}

fn any_denial() -> impl Strategy<Value = DenialRecord> {
    let verdict = prop_oneof![
        Just(Verdict::Released),
        (any::<u64>(), proptest::option::of(1_u64..)).prop_map(|(since_unix_s, until_unix_s)| {
            Verdict::Denied {
                since_unix_s,
                until_unix_s,
            }
        }),
    ];
    (
        any::<std::net::IpAddr>(),
        any::<u8>(),
        any::<u64>(),
        verdict,
    )
        .prop_map(|(address, prefix_len, version, verdict)| DenialRecord {
            network: Network::of(address, prefix_len),
            version,
            verdict,
        })
}

fn any_nonce() -> impl Strategy<Value = Option<NonZeroU64>> {
    any::<u64>().prop_map(NonZeroU64::new)
}

fn any_station() -> impl Strategy<Value = Station> {
    let macs = proptest::collection::vec(any::<[u8; 6]>().prop_map(Mac), 0..40);
    let home = any::<Option<[u8; 6]>>().prop_map(|home| home.map(Mac));
    (home, macs).prop_map(|(home, macs)| Station::new(home, &macs))
}

fn any_no_listener() -> impl Strategy<Value = NoListener> {
    let services = proptest::collection::vec(any::<(std::net::IpAddr, u16)>(), 0..70);
    (any::<bool>(), services).prop_map(|(refuses, services)| {
        let services = services.into_iter().map(SocketAddr::from).collect();
        NoListener::new(refuses, services)
    })
}

fn any_body() -> impl Strategy<Value = Body> {
    let part = prop_oneof![
        Just(Part::Stream),
        any::<(bool, bool)>().prop_map(|(first, last)| Part::Table { first, last })
    ];
    let missing = any::<(u64, u32)>().prop_map(|(first, count)| Missing { first, count });
    prop_oneof![
        (
            any::<bool>(),
            any::<Option<(u64, u64)>>(),
            any::<[bool; 3]>(),
            (any::<u64>(), any_station(), any_nonce(), any_nonce()),
            proptest::collection::vec(missing, 0..64)
        )
            .prop_map(
                |(
                    want_table,
                    edition,
                    [tells_sessions, hears, checks_succeed],
                    (clock_unix_ns, station, challenge, answer),
                    missing,
                )| Body::Hello {
                    clock_unix_ns,
                    station,
                    proof: Proof { challenge, answer },
                    want_table,
                    tells_sessions,
                    hears,
                    checks_succeed,
                    edition: edition.map(|(number, digest)| Edition { number, digest }),
                    missing
                }
            ),
        Just(Body::Gone),
        Just(Body::Leaving),
        (
            part,
            any::<Option<u64>>(),
            proptest::collection::vec(any_record(), 0..23)
        )
            .prop_map(|(part, repeats, records)| Body::Flows {
                part,
                repeats,
                records
            }),
        any_weights().prop_map(Body::Weights),
        proptest::collection::vec(any_order(), 0..20).prop_map(Body::Orders),
        crate::history::any_message().prop_map(Body::History),
        proptest::collection::vec(any_denial(), 0..25).prop_map(Body::Denials),
        any_no_listener().prop_map(Body::NoListener),
    ]
}

fn any_datagram() -> impl Strategy<Value = Datagram> {
    let numbers = (any::<u64>(), 1_u64.., any::<u64>(), any::<u64>());
    (numbers, any_body()).prop_map(|((sender, own, to, sequence), body)| Datagram {
        sender: SenderId(sender),
        epoch: epoch(own),
        to_epoch: NonZeroU64::new(to).map(Epoch),
        sequence,
        body,
    })
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed(datagram in any_datagram()) {
        let bytes = datagram.emit(&keys(SECRET));
        prop_assert!(bytes.len() <= MAX_BYTES);
        prop_assert_eq!(Datagram::parse(&bytes, &keys(SECRET)), Ok(datagram));
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_refused(
        datagram in any_datagram(), at: prop::sample::Index, change in 1_u8..
    ) {
        let bytes = datagram.emit(&keys(SECRET));
        let at = at.index(bytes.len());
        prop_assert!(Datagram::parse(&bytes[..at], &keys(SECRET)).is_err());
        let mut forged = bytes;
        forged[at] ^= change;
        prop_assert!(Datagram::parse(&forged, &keys(SECRET)).is_err());
    }

    #[test]
    fn any_signed_bytes_are_a_datagram_or_an_error(
        mut bytes in proptest::collection::vec(any::<u8>(), 38..200)
    ) {
        bytes[0] = VERSION;
        bytes[1] = 1 + bytes[1] % 8;
        bytes[3] = keys(SECRET).signing_number();
        bytes.extend(keys(SECRET).sign(&bytes));
        let parsed = Datagram::parse(&bytes, &keys(SECRET));
        if let Ok(datagram) = parsed {
            prop_assert_eq!(datagram.emit(&keys(SECRET)), bytes);
        }
    }

    #[test]
    fn any_bytes_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        let mut node = Node::new(0, 1, SECRET);
        prop_assert!(node.channel.receive(&bytes, 0).is_err());
        prop_assert!(node.channel.peers().iter().all(|peer| peer.heard_ns.is_none()));
    }
}
