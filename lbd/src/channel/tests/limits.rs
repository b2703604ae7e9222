//! What a peer may say, and may have told again.
use super::{
    super::bucket::{BURST, TABLE},
    *,
};

/// A node, and peers that send anything.
struct Victim {
    channel: Channel,
    /// Of the peers' datagrams.
    sequences: [u64; 2],
}

const PEERS: [&str; 2] = ["mx2", "mx3"];
/// When all begins; the buckets are full.
const BEGIN_NS: u64 = SECOND;

impl Victim {
    fn new() -> Self {
        let mut channel = Channel::new("mx1", epoch(1), keys(SECRET), 0);
        let peers = [0, 1].map(|index| (PEERS[index].to_owned(), address(index)));
        channel.configure(keys(SECRET), &peers);
        let mut the = Self {
            channel,
            sequences: [0; 2],
        };
        for peer in PEERS {
            the.prove(peer);
        }
        the
    }

    /// Shows that a peer's life is no recording, as that would.
    fn prove(&mut self, from: &str) {
        let asked = self.hear(from, hello(false), 0).unwrap();
        let answer = challenge(&asked[0]);
        assert!(answer.is_some());
        assert!(self.hear(from, answering(answer), 0).is_ok());
    }

    /// The next datagram of a peer.
    fn datagram(&mut self, from: &str, body: Body) -> Vec<u8> {
        let sequence = &mut self.sequences[usize::from(from == PEERS[1])];
        *sequence += 1;
        let datagram = Datagram {
            sender: SenderId::of(from),
            epoch: epoch(5),
            to_epoch: Some(epoch(1)),
            sequence: *sequence,
            body,
        };
        datagram.emit(&keys(SECRET))
    }

    fn hear(&mut self, from: &str, body: Body, now_ns: u64) -> Result<Vec<Output>, Refused> {
        let bytes = self.datagram(from, body);
        self.channel.receive(&bytes, now_ns)
    }

    /// How many of so many are taken.
    fn taken(&mut self, from: &str, body: &Body, count: u64, now_ns: u64) -> u64 {
        let heard = (0..count).map(|_| self.hear(from, body.clone(), now_ns));
        heard.flatten().count() as u64
    }
}

fn flows(part: Part) -> Body {
    Body::Flows {
        part,
        repeats: None,
        records: vec![record(1)],
    }
}

fn table(first: bool, last: bool) -> Body {
    flows(Part::Table { first, last })
}

#[test]
fn a_peer_that_floods_is_taken_up_to_its_limit_and_others_wholly() {
    let mut the = Victim::new();
    let stream = flows(Part::Stream);
    let beyond = 500;
    let taken = the.taken(PEERS[0], &stream, BURST + beyond, BEGIN_NS);
    assert_eq!(taken, BURST);
    assert_eq!(
        the.hear(PEERS[0], hello(false), BEGIN_NS),
        Err(Refused::Flood)
    );
    assert_eq!(the.channel.counters().refused_flood, beyond + 1);
    assert_eq!(the.taken(PEERS[1], &stream, 1000, BEGIN_NS), 1000);
    let flooded = the
        .channel
        .peers()
        .into_iter()
        .map(|peer| peer.refused_flood);
    assert_eq!(flooded.collect::<Vec<_>>(), [beyond + 1, 0]);
    assert_eq!(
        the.taken(PEERS[0], &stream, 3 * BURST / 2, BEGIN_NS + SECOND),
        8000,
        "as much as a second may bring"
    );
}

#[test]
fn datagrams_without_a_key_use_up_nothing_of_a_peer_s_rate() {
    let mut the = Victim::new();
    let recorded = the.datagram(PEERS[0], flows(Part::Stream));
    assert!(the.channel.receive(&recorded, BEGIN_NS).is_ok());
    let mut forged = the.datagram(PEERS[0], flows(Part::Stream));
    forged[60] ^= 1;
    let mut of_another_start = recorded.clone();
    of_another_start[27] ^= 1;
    for _ in 0..=BURST {
        assert_eq!(
            the.channel.receive(&recorded, BEGIN_NS),
            Err(Refused::Replayed)
        );
        assert_eq!(the.channel.receive(&forged, BEGIN_NS), Err(Refused::Forged));
        assert_eq!(
            the.channel.receive(&of_another_start, BEGIN_NS),
            Err(Refused::Forged)
        );
    }
    let taken = the.taken(PEERS[0], &flows(Part::Stream), BURST + 9, BEGIN_NS);
    assert_eq!(taken, BURST - 1, "the recorded one was one");
    assert_eq!(
        the.channel.receive(&forged, BEGIN_NS),
        Err(Refused::Flood),
        "no HMAC is spent on what is refused anyway"
    );
    assert!(the.hear(PEERS[0], hello(false), BEGIN_NS + SECOND).is_ok());
}

#[test]
fn a_table_that_is_lacking_counts_by_itself_and_another_like_the_rest() {
    let mut the = Victim::new();
    let middle = table(false, false);
    assert!(the.hear(PEERS[0], table(true, false), BEGIN_NS).is_ok());
    let size = 3 * BURST;
    const { assert!(3 * BURST < TABLE) };
    assert_eq!(the.taken(PEERS[0], &middle, size, BEGIN_NS), size);
    let stream = flows(Part::Stream);
    assert_eq!(the.taken(PEERS[0], &stream, 100, BEGIN_NS), 100);
    assert!(the.hear(PEERS[0], table(false, true), BEGIN_NS).is_ok());
    assert!(the.channel.peers()[0].complete);
    assert_eq!(the.taken(PEERS[0], &middle, size, BEGIN_NS), BURST - 100);
}

/// As many datagrams as flows, so that it takes few.
fn one_by_one(nodes: &mut [Node; 2], count: u16) -> Vec<Vec<u8>> {
    let one = |port| {
        nodes[0].channel.queue(&[record(port)], 0);
        match nodes[0].channel.next_flows() {
            Some(Output::Send { bytes, .. }) => bytes,
            other => panic!("{other:?}"),
        }
    };
    (0..count).map(one).collect()
}

#[test]
fn what_a_right_peer_sends_beyond_its_limit_is_late_and_not_lost() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let count = u16::try_from(BURST).unwrap() + 3000;
    nodes[0].table = (0..count).map(record).collect();
    let mut learned = 0;
    for bytes in one_by_one(&mut nodes, count) {
        let outputs = nodes[1].channel.receive(&bytes, 0).unwrap_or_default();
        learned += outputs.len();
    }
    let heard = nodes[1].channel.counters();
    assert!(heard.refused_flood >= 3000, "{heard:?}");
    assert_eq!(
        learned + usize::try_from(heard.refused_flood).unwrap(),
        usize::from(count)
    );
    // A word from which it sees what it lacks, and the time to ask for it.
    tick(&mut nodes, SECOND, 100, || false);
    assert_eq!(learned + nodes[1].learned.len(), usize::from(count));
    let told_again = nodes[1].channel.counters();
    assert_eq!(told_again.lost, 0, "{told_again:?}");
    assert_eq!(told_again.repaired, heard.refused_flood);
    assert_eq!(told_again.tables_asked, 1, "the one of the start");
}

#[test]
fn what_is_told_again_does_not_pile_up_and_comes_when_it_is_asked_for_again() {
    let mut nodes = pair();
    let hello = nodes[0].channel.join(0);
    talk(&mut nodes, hello, 0, NEVER);
    let count = 6000;
    nodes[0].table = (0..count).map(record).collect();
    let lost = one_by_one(&mut nodes, count);
    let first = Datagram::parse(&lost[0], &keys(SECRET)).unwrap().sequence;
    let mut sequence = 1000;
    let mut ask = |nodes: &mut [Node; 2], has: usize, now_ns| {
        sequence += 1;
        let has = u32::try_from(has).unwrap();
        let asks = Datagram {
            sender: SenderId::of(NAMES[1]),
            epoch: epoch(2),
            to_epoch: Some(epoch(1)),
            sequence,
            body: Body::Hello {
                want_table: false,
                edition: None,
                tells_sessions: false,
                hears: true,
                checks_succeed: false,
                clock_unix_ns: 0,
                station: Station::default(),
                proof: Proof::default(),
                missing: vec![Missing {
                    first: first + u64::from(has),
                    count: u32::from(count) - has,
                }],
            },
        };
        let asked = nodes[0].channel.receive(&asks.emit(&keys(SECRET)), now_ns);
        asked
            .unwrap()
            .into_iter()
            .for_each(|output| nodes[0].read(output));
    };
    let mut told = Vec::new();
    for round in 1..=3 {
        // Impatiently.
        for nth in 0..5 {
            let now_ns = round * SECOND + nth * SECOND / 20;
            ask(&mut nodes, told.len(), now_ns);
        }
        let before = told.len();
        while let Some(Output::Send { bytes, .. }) = nodes[0].channel.next_flows() {
            match Datagram::parse(&bytes, &keys(SECRET)).unwrap().body {
                Body::Flows { repeats, .. } => told.extend(repeats),
                other => panic!("{other:?}"),
            }
        }
        let waited = told.len() - before;
        assert!(waited <= 2048, "{waited} in round {round}");
    }
    let expected: Vec<u64> = (first..first + u64::from(count)).collect();
    // Where there was room, what was asked for twice is told twice.
    assert_eq!(told[..expected.len()], expected, "all, in three rounds");
}
