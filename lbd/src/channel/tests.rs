//! The channel between nodes in memory, and what it refuses.
use std::{collections::VecDeque, net::SocketAddr, num::NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::{
    config::Network,
    units::{Endpoint, Mac, Sockets, WeightPermille},
};

mod datagrams;
mod limits;
mod lives;
mod no_listener;
mod peers;
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
        "no peer is heard"
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
    let unknown = Some(SenderId::of("mx9"));
    nodes[0].channel.queue_history(unknown, &message(3), 0);
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
fn what_no_peer_has_kept_makes_the_table_be_fetched() {
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
    /// Through any loss: of the table, the stream, or of what is told again.
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
