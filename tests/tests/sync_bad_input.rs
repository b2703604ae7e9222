//! What a cluster channel may be sent by those who wish it ill, or are broken.
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    num::NonZeroU64,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lbd::{
    channel::{
        Body, Change, Datagram, Epoch, FlowRecord, Keys, MAX_BYTES, Part, Proof, SenderId, Station,
        VERSION,
    },
    units::Endpoint,
};
use lbd_tests::{
    cluster::{Cluster, Settings, Status, random_secret},
    lab::{Host, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
    tables::Tables,
};

const SESSIONS: usize = 30;

/// Keys from 64 hex digits.
fn keys(secret: &str) -> Keys {
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(secret.trim().as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).unwrap();
        *byte = u8::from_str_radix(digits, 16).unwrap();
    }
    Keys::new(&key, &[key])
}

fn counters(cluster: &Cluster, node: usize) -> BTreeMap<String, u64> {
    cluster.status(node).unwrap().channel.counters
}

fn send_from(host: &Host, to: SocketAddr, datagrams: &[Vec<u8>]) {
    let socket = host
        .inside(|| UdpSocket::bind("0.0.0.0:0"))
        .unwrap()
        .unwrap();
    for datagram in datagrams {
        socket.send_to(datagram, to).unwrap();
    }
}

/// Flows that would take every session of the client away, as a peer would tell them.
fn takeover(from: &str, to_epoch: Option<Epoch>, backend: IpAddr, client: &Host) -> Datagram {
    let record = |port: u16| FlowRecord {
        change: Change::Opened,
        source: SocketAddr::new(client.address4().into(), port),
        vip: SocketAddr::new(addresses::VIP4.into(), 25),
        backend: Endpoint::of_virtual(backend),
    };
    Datagram {
        sender: SenderId::of(from),
        epoch: Epoch(NonZeroU64::MAX),
        to_epoch,
        sequence: 1,
        body: Body::Flows {
            part: Part::Stream,
            repeats: None,
            records: (40_000..40_060).map(record).collect(),
        },
    }
}

#[test]
fn hostile_datagrams_are_counted_by_their_kind_and_change_nothing() {
    let name = "hostile_datagrams_are_counted_by_their_kind_and_change_nothing";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let mut sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
    let secret = fs::read_to_string(cluster.config(master).with_file_name("cluster.key")).unwrap();
    let (right, wrong) = (keys(&secret), keys(&random_secret().unwrap()));
    let peer = &lab.nodes[(master + 1) % 3].name;
    let backend = IpAddr::from(lab.nodes[(master + 2) % 3].address4());
    let forge = |keys: &Keys, from: &str| takeover(from, None, backend, lab.client()).emit(keys);
    let signed = forge(&right, peer);
    let mut future = signed.clone();
    future[0] = VERSION + 1;
    let mut forged = signed.clone();
    forged[60] ^= 1;
    let kinds: [(&str, Vec<u8>); 7] = [
        ("refused_version", future),
        ("refused_forged", forged),
        ("refused_malformed", signed[..40].to_vec()),
        ("refused_malformed", vec![VERSION; MAX_BYTES + 100]),
        ("refused_unknown_key", forge(&wrong, peer)),
        ("refused_stranger", forge(&right, "nobody")),
        // Signed rightly, as by one who has recorded it: it is for no start of this daemon.
        ("refused_other_epoch", signed.clone()),
    ];
    let to = SocketAddr::new(lab.nodes[master].address4().into(), 9426);
    let untouched = ["flows_replaced", "flows_in_conflict", "lost"];
    let at_first = counters(&cluster, master);
    for (counter, datagram) in &kinds {
        let before = counters(&cluster, master)[*counter];
        send_from(lab.client(), to, &vec![datagram.clone(); 50]);
        // One that is answered is no refusal: who asks is told who we are, ten times a second.
        let status = cluster.wait_status(master, counter, |status| {
            status.channel.counters[*counter] >= before + 40
        });
        let status = status.unwrap();
        println!(
            "50 sent, {counter} {}",
            status.channel.counters[*counter] - before
        );
    }
    let after = counters(&cluster, master);
    for name in untouched {
        assert_eq!(after[name], at_first[name], "{name}");
    }
    assert_eq!(survivors(&mut sessions), SESSIONS);
}

#[test]
fn a_flood_of_datagrams_stops_neither_sessions_nor_the_stream() {
    let name = "a_flood_of_datagrams_stops_neither_sessions_nor_the_stream";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let backup = (master + 1) % 3;
    let to = SocketAddr::new(lab.nodes[backup].address4().into(), 9426);
    let wrong = keys(&random_secret().unwrap());
    let backend = IpAddr::from(lab.nodes[0].address4());
    let datagram = takeover("mx1", None, backend, lab.client()).emit(&wrong);
    let client = lab.client().clone();
    let flood = thread::spawn(move || {
        let (end, mut sent) = (Instant::now() + Duration::from_secs(5), 0_u64);
        while Instant::now() < end {
            send_from(&client, to, &vec![datagram.clone(); 100]);
            sent += 100;
        }
        sent
    });
    let mut sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
    // Those with the backup itself it knows by itself, so its table tells and no counter of the channel.
    cluster
        .wait_status(
            backup,
            "the master's flows came through the flood",
            |status| status.sessions() >= SESSIONS as u64,
        )
        .unwrap();
    let sent = flood.join().unwrap();
    let status = cluster.status(backup).unwrap();
    let refused = status.channel.counters["refused_unknown_key"];
    println!(
        "{sent} datagrams with a wrong key in 5 s, {refused} refused, the rest dropped by the kernel"
    );
    assert!(refused > 0);
    assert!(cluster.status(master).unwrap().is_master());
    assert_eq!(survivors(&mut sessions), SESSIONS);
}

/// One that has the cluster's secret and speaks in a peer's name.
struct Speaker {
    socket: UdpSocket,
    keys: Keys,
    name: String,
    backend: IpAddr,
}

/// The peer that it speaks to.
struct Listener {
    address: SocketAddr,
    epoch: Epoch,
    sequence: u64,
}

impl Speaker {
    /// In a node's place, whose daemon is not there.
    fn instead_of(node: &Host, secret: &str) -> Self {
        let socket = node.inside(|| UdpSocket::bind((node.address4(), 9426)));
        let socket = socket.unwrap().unwrap();
        let patience = Some(Duration::from_secs(20));
        socket.set_read_timeout(patience).unwrap();
        Self {
            socket,
            keys: keys(secret),
            name: node.name.clone(),
            backend: node.address4().into(),
        }
    }

    /// Asks a node which start of it this is, as a peer does, and shows it that this is no recording.
    fn ask(&self, node: &Host) -> Listener {
        let address = SocketAddr::new(node.address4().into(), 9426);
        let asks = self.datagram(None, 1, Vec::new());
        self.socket.send_to(&asks, address).unwrap();
        let mut bytes = [0; 2048];
        loop {
            let (length, from) = self.socket.recv_from(&mut bytes).unwrap();
            if from != address {
                continue;
            }
            let heard = Datagram::parse(&bytes[..length], &self.keys).unwrap();
            let Body::Hello {
                proof,
                clock_unix_ns,
                ..
            } = heard.body
            else {
                continue;
            };
            // Hellos to the life of the daemon that was killed ask for nothing.
            if proof.challenge.is_none() {
                continue;
            }
            let answer = Body::Hello {
                want_table: false,
                edition: None,
                tells_sessions: false,
                hears: true,
                checks_succeed: false,
                clock_unix_ns,
                station: Station::default(),
                proof: Proof {
                    challenge: None,
                    answer: proof.challenge,
                },
                missing: Vec::new(),
            };
            let answer = self.saying(Some(heard.epoch), 1, answer);
            self.socket.send_to(&answer, address).unwrap();
            return Listener {
                address,
                epoch: heard.epoch,
                sequence: 1,
            };
        }
    }

    fn datagram(&self, to: Option<Epoch>, sequence: u64, records: Vec<FlowRecord>) -> Vec<u8> {
        let flows = Body::Flows {
            part: Part::Stream,
            repeats: None,
            records,
        };
        self.saying(to, sequence, flows)
    }

    fn saying(&self, to: Option<Epoch>, sequence: u64, body: Body) -> Vec<u8> {
        let datagram = Datagram {
            sender: SenderId::of(&self.name),
            epoch: Epoch(NonZeroU64::MAX),
            to_epoch: to,
            sequence,
            body,
        };
        datagram.emit(&self.keys)
    }

    /// Sessions that no node has.
    fn next(&self, to: &mut Listener) -> Vec<u8> {
        to.sequence += 1;
        let record = |nth: u64| FlowRecord {
            change: Change::Opened,
            source: SocketAddr::new(
                Ipv4Addr::from(0x0a4e_0000 + u32::try_from(nth >> 15).unwrap()).into(),
                10_000 + u16::try_from(nth & 0x7fff).unwrap(),
            ),
            vip: SocketAddr::new(addresses::VIP4.into(), 25),
            backend: Endpoint::of_virtual(self.backend),
        };
        let records = (0..RECORDS).map(|nth| record(RECORDS * to.sequence + nth));
        self.datagram(Some(to.epoch), to.sequence, records.collect())
    }

    /// Says as much as it can until it is stopped. Returns how many datagrams.
    fn flood(&self, listeners: &mut [Listener], stopped: &AtomicBool) -> u64 {
        let signed = |to: &mut Listener| -> Vec<_> { (0..AHEAD).map(|_| self.next(to)).collect() };
        let ahead: Vec<_> = listeners.iter_mut().map(signed).collect();
        let mut sent = 0;
        // What does not find room with the receiver is a flood all the same.
        for nth in 0..AHEAD {
            for (to, ahead) in listeners.iter().zip(&ahead) {
                sent += u64::from(self.socket.send_to(&ahead[nth], to.address).is_ok());
            }
        }
        while !stopped.load(Ordering::Relaxed) {
            for to in &mut *listeners {
                let next = self.next(to);
                sent += u64::from(self.socket.send_to(&next, to.address).is_ok());
            }
        }
        sent
    }
}

/// Ends the flood, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Flows in a datagram of the flood, and datagrams signed before it, so that it is one.
const RECORDS: u64 = 2;
const AHEAD: usize = 50_000;
/// What a peer may say: at once, and in a second beyond that.
const BURST: u64 = 16_384;
const A_SECOND: u64 = 8_000;

/// Memory of a process's own, in KiB.
fn anonymous_kib(cluster: &Cluster, node: usize) -> u64 {
    let path = format!("/proc/{}/status", cluster.pid(node).unwrap());
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let digits = line.unwrap().trim().trim_end_matches(" kB");
    digits.parse().unwrap()
}

#[test]
fn a_peer_with_the_key_that_floods_is_held_to_its_limit_and_named() {
    let name = "a_peer_with_the_key_that_floods_is_held_to_its_limit_and_named";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        // What the flood may bring fits, so that all of it can be counted.
        flows: 1_000_000,
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    let (flooder, backup) = ((master + 1) % 3, (master + 2) % 3);
    let client = lab.client();
    let mut sessions = Held::open_to(client, addresses::VIP4.into(), SESSIONS).unwrap();
    cluster.kill(flooder);
    let victims = [master, backup];
    let memory = victims.map(|node| anonymous_kib(&cluster, node));
    let before = victims.map(|node| counters(&cluster, node));
    let secret = fs::read_to_string(cluster.config(master).with_file_name("cluster.key")).unwrap();
    let speaker = Speaker::instead_of(&lab.nodes[flooder], &secret);
    let mut listeners = victims.map(|node| speaker.ask(&lab.nodes[node]));
    let stopped = AtomicBool::new(false);
    let (sent, begun) = thread::scope(|scope| {
        let _stop = Stop(&stopped);
        let flood = scope.spawn(|| {
            let begun = Instant::now();
            (speaker.flood(&mut listeners, &stopped), begun)
        });
        let over = lbd_tests::Over(&stopped);
        for node in victims {
            let refuses = |status: &Status| status.channel.counters["refused_flood"] > 0;
            let refused = cluster.wait_status(node, "it refuses the flood", refuses);
            refused.unwrap();
        }
        // All along the flood, which both take.
        sessions.extend(Held::open_to(client, addresses::VIP4.into(), SESSIONS).unwrap());
        let there = Tables::open(cluster.pin_dir(backup)).unwrap();
        let source = client.address4();
        let told = || {
            let flows = there.v4();
            let of_client = flows.iter().filter(|flow| flow.key.source == source);
            of_client.count()
        };
        cluster
            .wait_status(backup, "the master's flows come through the flood", |_| {
                told() >= 2 * SESSIONS
            })
            .unwrap();
        assert_eq!(survivors(&mut sessions), 2 * SESSIONS, "in the flood");
        assert!(cluster.status(master).unwrap().is_master());
        drop(over);
        flood.join().unwrap()
    });
    for ((node, before), memory) in victims.into_iter().zip(before).zip(memory) {
        let of = |counters: &BTreeMap<String, u64>, names: &[&str]| -> u64 {
            names.iter().map(|name| counters[*name]).sum()
        };
        // From before the first datagram until after the last: no less than it may have brought.
        let after = counters(&cluster, node);
        let may = BURST + A_SECOND * (begun.elapsed().as_secs() + 1);
        let flows = ["flows_inserted", "flows_replaced", "flows_no_room"];
        let new = of(&after, &flows) - of(&before, &flows);
        let grown = anonymous_kib(&cluster, node).saturating_sub(memory);
        println!(
            "node {node}: {} datagrams sent to it, {} refused in {:.1?}; {new} flows taken, {} are \
             the limit; {grown} KiB more",
            sent / 2,
            after["refused_flood"],
            begun.elapsed(),
            may * RECORDS,
        );
        assert!(new <= may * RECORDS + 4 * SESSIONS as u64);
        assert!(after["refused_flood"] > 0);
        assert!(grown < 64 << 10, "{grown} KiB");
        let named = format!("datagrams from {}", lab.nodes[flooder].name);
        let log = cluster.log(node);
        let lines = log.lines().filter(|line| line.contains(&named)).count();
        let minutes = usize::try_from(begun.elapsed().as_secs() / 60).unwrap();
        assert!((1..=minutes + 1).contains(&lines), "{log}");
        let shown = cluster.lbd(node, &["status"]).unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout);
        assert!(shown.contains("above the rate limit for a peer"), "{shown}");
    }
    drop(speaker);
    cluster.start(flooder).unwrap();
    for node in 0..3 {
        cluster
            .wait_status(node, "all know all again", Status::knows_all_peers)
            .unwrap();
    }
    assert_eq!(survivors(&mut sessions), 2 * SESSIONS);
}
