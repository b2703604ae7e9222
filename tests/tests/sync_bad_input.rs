//! What a cluster channel may be sent by those who wish it ill, or are broken.
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    num::NonZeroU64,
    time::{Duration, Instant},
};

use lbd::{
    channel::{
        Body, Change, Datagram, Epoch, FlowRecord, Keys, MAX_BYTES, Part, SenderId, VERSION,
    },
    units::Endpoint,
};
use lbd_tests::{
    cluster::{Cluster, Settings, random_secret},
    lab::{Host, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
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
    for untouched in ["flows_replaced", "flows_in_conflict", "lost"] {
        assert_eq!(after[untouched], 0, "{untouched}");
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
    let known = counters(&cluster, backup)["flows_inserted"];
    let to = SocketAddr::new(lab.nodes[backup].address4().into(), 9426);
    let wrong = keys(&random_secret().unwrap());
    let backend = IpAddr::from(lab.nodes[0].address4());
    let datagram = takeover("mx1", None, backend, lab.client()).emit(&wrong);
    let client = lab.client().clone();
    let flood = std::thread::spawn(move || {
        let (end, mut sent) = (Instant::now() + Duration::from_secs(5), 0_u64);
        while Instant::now() < end {
            send_from(&client, to, &vec![datagram.clone(); 100]);
            sent += 100;
        }
        sent
    });
    let mut sessions = Held::open_many(lab.client(), SESSIONS).unwrap();
    let expected = known + SESSIONS as u64;
    cluster
        .wait_status(
            backup,
            "the master's flows came through the flood",
            |status| status.channel.counters["flows_inserted"] >= expected,
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
