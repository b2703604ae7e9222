//! The channel between nodes in memory, and what it refuses.
use std::{
    collections::VecDeque,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU64},
};

use proptest::prelude::*;

use super::*;
use crate::{
    config::Network,
    units::{Endpoint, Mac, Sockets, WeightPermille},
};

mod limits;
mod lives;
mod no_listener;
mod version_4;

const SECRET: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];

fn keys(secret: [u8; 32]) -> Keys {
    Keys::new(&secret, &[secret])
}

fn epoch(number: u64) -> Epoch {
    Epoch(NonZeroU64::new(number).unwrap())
}

fn record(port: u16) -> FlowRecord {
    FlowRecord {
        change: Change::Opened,
        source: SocketAddr::new([198, 51, 100, 7].into(), port),
        vip: "192.0.2.25:25".parse().unwrap(),
        backend: Endpoint::of_virtual([192, 0, 2, 11].into()),
    }
}

fn hello(want_table: bool) -> Body {
    Body::Hello {
        want_table,
        edition: None,
        tells_sessions: false,
        hears: false,
        checks_succeed: false,
        clock_unix_ns: 0,
        station: Station::default(),
        proof: Proof::default(),
        missing: Vec::new(),
    }
}

fn answering(answer: Option<NonZeroU64>) -> Body {
    let proof = Proof {
        challenge: None,
        answer,
    };
    Body::Hello {
        want_table: false,
        edition: None,
        tells_sessions: false,
        hears: false,
        checks_succeed: false,
        clock_unix_ns: 0,
        station: Station::default(),
        proof,
        missing: Vec::new(),
    }
}

/// What a datagram asks to be said again.
fn challenge(output: &Output) -> Option<NonZeroU64> {
    let Output::Send { bytes, .. } = output else {
        return None;
    };
    match Datagram::parse(bytes, &keys(SECRET)).unwrap().body {
        Body::Hello { proof, .. } => proof.challenge,
        _ => None,
    }
}

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

#[test]
fn each_wrong_datagram_is_refused_by_its_reason() {
    let datagram = Datagram {
        sender: SenderId::of("mx2"),
        epoch: epoch(1),
        to_epoch: None,
        sequence: 1,
        body: hello(true),
    };
    let right = datagram.emit(&keys(SECRET));
    let parse = |bytes: &[u8]| Datagram::parse(bytes, &keys(SECRET));
    let mut future = right.clone();
    future[0] = VERSION + 1;
    let found = VERSION + 1;
    assert_eq!(parse(&future), Err(Refused::Version { found }));
    let mut forged = right.clone();
    forged[2] = 0;
    assert_eq!(parse(&forged), Err(Refused::Forged));
    let number = keys(OTHER).signing_number();
    assert_eq!(
        parse(&datagram.emit(&keys(OTHER))),
        Err(Refused::UnknownKey { number })
    );
    assert!(matches!(parse(&right[..50]), Err(Refused::Malformed(_))));
    assert!(matches!(parse(&[]), Err(Refused::Malformed(_))));
    let long = [right.clone(), vec![0; MAX_BYTES]].concat();
    assert!(matches!(parse(&long), Err(Refused::Malformed(_))));
    assert_eq!(parse(&right), Ok(datagram));
}

#[test]
fn a_key_that_is_rolled_over_still_verifies() {
    let both = Keys::new(&OTHER, &[OTHER, SECRET]);
    let datagram = Datagram {
        sender: SenderId::of("mx2"),
        epoch: epoch(1),
        to_epoch: None,
        sequence: 1,
        body: hello(false),
    };
    for signing in [SECRET, OTHER] {
        assert!(Datagram::parse(&datagram.emit(&keys(signing)), &both).is_ok());
    }
}

const NAMES: [&str; 2] = ["mx1", "mx2"];

fn address(index: usize) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 11].into(), 9426 + u16::try_from(index).unwrap())
}

/// A node whose table is a list.
struct Node {
    channel: Channel,
    table: Vec<FlowRecord>,
    learned: Vec<FlowRecord>,
    weights: Vec<BackendWeight>,
    orders: Vec<OrderRecord>,
    history: Vec<crate::history::Message>,
    denials: Vec<DenialRecord>,
}

impl Node {
    fn new(index: usize, life: u64, secret: [u8; 32]) -> Self {
        let mut channel = Channel::new(NAMES[index], epoch(life), keys(secret), 0);
        let other = 1 - index;
        channel.configure(keys(secret), &[(NAMES[other].to_owned(), address(other))]);
        Self {
            channel,
            table: Vec::new(),
            learned: Vec::new(),
            weights: Vec::new(),
            orders: Vec::new(),
            history: Vec::new(),
            denials: Vec::new(),
        }
    }

    /// What the thread does with its tables.
    fn read(&mut self, output: Output) {
        match output {
            Output::TableWanted { peer } => {
                let ends: Vec<usize> = (0..=self.table.len()).step_by(60).collect();
                for from in &ends {
                    let to = (from + 60).min(self.table.len());
                    let place = Place {
                        of: Table::Flows4,
                        from: *from,
                        to,
                    };
                    let ends = (*from == 0, Some(from) == ends.last());
                    let records = &self.table[*from..to];
                    self.channel.queue_table(peer, ends, place, records);
                }
            }
            Output::Again {
                peer,
                sequence,
                kept,
            } => {
                let records: Vec<FlowRecord> = match &kept {
                    Content::Word => Vec::new(),
                    Content::Stream(records) => {
                        records.iter().map(|one| self.present(one)).collect()
                    }
                    Content::Table(_, place) => self.table[place.from..place.to].to_vec(),
                };
                self.channel.queue_again(peer, sequence, &kept, &records);
            }
            _ => {}
        }
    }

    fn present(&self, record: &FlowRecord) -> FlowRecord {
        let found = self.table.iter().find(|one| one.source == record.source);
        found.copied().unwrap_or(FlowRecord {
            change: Change::Closed,
            ..*record
        })
    }
}

/// Delivers what the nodes send until none has anything to send. `is_lost` by the count of
/// datagrams. Returns all datagrams.
fn talk(
    nodes: &mut [Node; 2],
    first: Vec<Output>,
    now_ns: u64,
    is_lost: impl Fn(usize) -> bool,
) -> Vec<(usize, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut outputs: VecDeque<(usize, Output)> = first.into_iter().map(|o| (0, o)).collect();
    loop {
        let next = outputs
            .pop_front()
            .or_else(|| (0..2).find_map(|index| Some((index, nodes[index].channel.next_flows()?))));
        let Some((from, output)) = next else {
            return sent;
        };
        match output {
            Output::Send { to, bytes } => {
                let index = 1 - from;
                assert_eq!(to, address(index));
                sent.push((index, bytes.clone()));
                if is_lost(sent.len()) {
                    continue;
                }
                let more = nodes[index].channel.receive(&bytes, now_ns);
                outputs.extend(more.unwrap_or_default().into_iter().map(|o| (index, o)));
            }
            Output::Learn { records, .. } => nodes[from].learned.extend(records),
            Output::Weights { backends, .. } => nodes[from].weights = backends,
            Output::Orders(orders) => nodes[from].orders.extend(orders),
            Output::History { message, .. } => nodes[from].history.push(message),
            Output::Denials(denials) => nodes[from].denials.extend(denials),
            output => nodes[from].read(output),
        }
        assert!(sent.len() < 1000, "they never end");
    }
}

fn pair() -> [Node; 2] {
    [Node::new(0, 1, SECRET), Node::new(1, 2, SECRET)]
}

const NEVER: fn(usize) -> bool = |_| false;
const SECOND: u64 = 1_000_000_000;

#[test]
fn a_node_that_joins_has_the_whole_table_and_then_the_stream() {
    let mut nodes = pair();
    nodes[1].table = (0..200).map(record).collect();
    assert!(!nodes[0].channel.has_joined(0));
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    assert_eq!(nodes[0].learned, nodes[1].table);
    assert!(nodes[0].channel.has_joined(0));
    nodes[1].channel.queue(&[record(300)], 0);
    talk(&mut nodes, Vec::new(), 0, NEVER);
    assert_eq!(nodes[0].learned.last(), Some(&record(300)));
    assert_eq!(nodes[0].channel.counters().lost, 0);
}

#[test]
fn weights_orders_and_denials_by_the_thousand_arrive_whole() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let backend = |number: u32| BackendWeight {
        backend: std::net::Ipv6Addr::from(u128::from(number)).into(),
        weight: WeightPermille(number),
        in_ring: WeightPermille(number + 1),
    };
    let weights: Vec<_> = (0..1000).map(backend).collect();
    let told = nodes[0].channel.tell_weights(&weights, 0);
    talk(&mut nodes, told, 0, NEVER);
    assert_eq!(nodes[1].weights, weights);
    let order = |number: u32| OrderRecord {
        backend: format!("a-backend-of-some-length-{number}"),
        version: u64::from(number),
        word: Word::Drain {
            until_unix_s: Some(1),
            then_reset: true,
        },
    };
    let orders: Vec<_> = (0..1000).map(order).collect();
    let told = nodes[0].channel.tell_orders(&orders, 0);
    talk(&mut nodes, told, 0, NEVER);
    assert_eq!(nodes[1].orders, orders);
    let denial = |number: u32| DenialRecord {
        network: Network::of(std::net::Ipv6Addr::from(u128::from(number)).into(), 128),
        version: u64::from(number),
        verdict: Verdict::Released,
    };
    let denials: Vec<_> = (0..1000).map(denial).collect();
    let told = nodes[0].channel.tell_denials(&denials, 0);
    talk(&mut nodes, told, 0, NEVER);
    assert_eq!(nodes[1].denials, denials);
    assert!(
        nodes[0]
            .channel
            .tell_orders(&orders, 60 * SECOND)
            .is_empty(),
        "nobody is heard"
    );
}

/// Both nodes tick so many times, 20 ms apart; `is_lost` by the count of all datagrams.
fn tick(nodes: &mut [Node; 2], from_ns: u64, times: u64, mut is_lost: impl FnMut() -> bool) {
    for nth in 0..times {
        let now_ns = from_ns + nth * SECOND / 50;
        for from in [0, 1] {
            let outputs = nodes[from].channel.tick(now_ns);
            deliver(nodes, from, outputs, now_ns, &mut is_lost);
        }
    }
}

#[test]
fn history_goes_to_whom_it_is_for_after_the_flows_and_is_bounded() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let message = |hour| crate::history::Message::AskMinutes {
        node: "mx1".to_owned(),
        hour,
    };
    nodes[0].channel.queue_history(None, &message(1), 0);
    let to = Some(SenderId::of(NAMES[1]));
    nodes[0].channel.queue_history(to, &message(2), 0);
    let nobody = Some(SenderId::of("mx9"));
    nodes[0].channel.queue_history(nobody, &message(3), 0);
    nodes[0].channel.queue(&[record(7)], 0);
    assert_eq!(nodes[0].channel.next_history(), None, "flows first");
    talk(&mut nodes, Vec::new(), 0, NEVER);
    while let Some(told) = nodes[0].channel.next_history() {
        talk(&mut nodes, vec![told], 0, NEVER);
    }
    assert_eq!(nodes[1].history, [message(1), message(2)]);
    for hour in 0..2000 {
        nodes[0].channel.queue_history(None, &message(hour), 0);
    }
    assert_eq!(nodes[0].channel.counters().history_overrun, 2000 - 1024);
    nodes[0].channel.tick(60 * SECOND);
    assert!(!nodes[0].channel.has_history(), "a silent peer asks again");
}

#[test]
fn what_was_lost_is_told_again_as_it_is_by_then() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let opened: Vec<FlowRecord> = (0..10).map(record).collect();
    nodes[0].channel.queue(&opened, 0);
    talk(&mut nodes, Vec::new(), 0, |_| true);
    assert!(nodes[1].learned.is_empty());
    // Half of them have ended since.
    nodes[0].table = opened[..5].to_vec();
    nodes[0].channel.queue(&[record(77)], 0);
    tick(&mut nodes, SECOND, 20, || false);
    let mut expected: Vec<FlowRecord> = vec![record(77)];
    expected.extend(opened.iter().map(|one| nodes[0].present(one)));
    assert_eq!(nodes[1].learned, expected);
    let (told, heard) = (nodes[0].channel.counters(), nodes[1].channel.counters());
    assert_eq!((told.repeated, heard.repaired, heard.lost), (1, 1, 0));
    assert_eq!(heard.tables_asked, 1, "the one of the start");
}

#[test]
fn what_nobody_remembers_makes_the_table_be_fetched() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    nodes[0].table = (0..10).map(record).collect();
    nodes[0].channel.note_lost_events();
    tick(&mut nodes, SECOND, 120, || false);
    assert_eq!(nodes[1].learned, nodes[0].table);
    let counters = nodes[1].channel.counters();
    assert_eq!((counters.lost, counters.tables_received), (1, 2));
}

#[test]
fn a_peer_that_is_removed_and_comes_back_is_believed() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    nodes[0].channel.configure(keys(SECRET), &[]);
    let peers = [(NAMES[1].to_owned(), address(1))];
    nodes[0].channel.configure(keys(SECRET), &peers);
    tick(&mut nodes, SECOND, 60, || false);
    nodes[0].channel.queue(&[record(7)], 2 * SECOND);
    talk(&mut nodes, Vec::new(), 2 * SECOND, NEVER);
    assert_eq!(nodes[1].learned, [record(7)]);
    assert_eq!(nodes[1].channel.counters().refused_replayed, 0);
}

#[test]
fn a_table_whose_beginning_was_given_up_is_asked_for_again_at_its_end() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    nodes[1].table = (0..120).map(record).collect();
    for output in nodes[0].channel.ask_for_tables(1) {
        let Output::Send { bytes, .. } = output else {
            panic!("{output:?}");
        };
        let wanted = nodes[1].channel.receive(&bytes, 1).unwrap();
        assert!(matches!(wanted[..], [Output::TableWanted { .. }]));
    }
    let to = SenderId::of(NAMES[0]);
    let tell = |nodes: &mut [Node; 2], from: usize, ends| {
        let place = Place {
            of: Table::Flows4,
            from,
            to: from + 60,
        };
        let part = nodes[1].table[from..from + 60].to_vec();
        nodes[1].channel.queue_table(to, ends, place, &part);
    };
    tell(&mut nodes, 0, (true, false));
    tick(&mut nodes, SECOND, 10, || false);
    nodes[1].channel.note_lost_events();
    tick(&mut nodes, 2 * SECOND, 100, || false);
    assert_eq!(nodes[0].channel.counters().lost, 1, "given up half way");
    tell(&mut nodes, 60, (false, true));
    tick(&mut nodes, 4 * SECOND, 200, || false);
    assert!(nodes[0].channel.peers()[0].complete);
    assert_eq!(nodes[0].channel.counters().tables_received, 2);
}

proptest! {
    /// Whatever is lost, of the table, the stream, or of what is told again.
    #[test]
    fn a_table_comes_whole_through_any_loss(
        seed in any::<u64>(), percent in 0_u64..40, size in 0_u16..3000
    ) {
        let mut random = seed;
        let mut is_lost = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % 100 < percent
        };
        let mut nodes = pair();
        nodes[1].table = (0..size).map(record).collect();
        let hello = nodes[0].channel.join(0);
        deliver(&mut nodes, 0, hello, 0, &mut is_lost);
        for port in 0..50 {
            let opened = record(10_000 + port);
            nodes[1].table.push(opened);
            nodes[1].channel.queue(&[opened], u64::from(port));
            tick(&mut nodes, u64::from(port) * SECOND / 10, 5, &mut is_lost);
        }
        tick(&mut nodes, 6 * SECOND, 300, || false);
        let known = |nodes: &[Node; 2]| -> std::collections::BTreeSet<SocketAddr> {
            nodes[0].learned.iter().map(|one| one.source).collect()
        };
        let expected = nodes[1].table.iter().map(|one| one.source);
        prop_assert_eq!(known(&nodes), expected.collect());
        prop_assert!(nodes[0].channel.peers()[0].complete);
        prop_assert!(nodes[0].learned.iter().all(|one| one.change != Change::Closed));
    }
}

fn deliver(
    nodes: &mut [Node; 2],
    from: usize,
    outputs: Vec<Output>,
    now_ns: u64,
    is_lost: &mut impl FnMut() -> bool,
) {
    let mut outputs: VecDeque<(usize, Output)> = outputs.into_iter().map(|o| (from, o)).collect();
    loop {
        let next = outputs
            .pop_front()
            .or_else(|| (0..2).find_map(|index| Some((index, nodes[index].channel.next_flows()?))));
        let Some((from, output)) = next else {
            return;
        };
        if let Output::Send { bytes, .. } = output {
            if is_lost() {
                continue;
            }
            let more = nodes[1 - from].channel.receive(&bytes, now_ns);
            for output in more.unwrap_or_default() {
                match output {
                    Output::Send { .. } => outputs.push_back((1 - from, output)),
                    Output::Learn { records, .. } => nodes[1 - from].learned.extend(records),
                    output => nodes[1 - from].read(output),
                }
            }
        }
    }
}

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
    assert!(nodes[0].channel.has_joined(SECOND), "nobody can be asked");
}
