//! Forged adverts, sent to real daemons: they change nothing and are counted.
use std::{
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lbd::{
    units::Priority,
    vrrp::{
        Addresses, Advert, AuthMode, Authenticator, ChecksumForm, GROUP_V4, Interval, Key,
        PROTOCOL, TTL, advert::fill_checksum,
    },
};
use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings, Status, random_secret},
    election::packets::Packets,
    lab::{Lab, Spec, addresses},
    smtp::{held::Held, server::Server},
};

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
/// `01:00:5e:00:00:12`, the group's (RFC 1112, 6.4).
const GROUP_MAC: [u8; 6] = [1, 0, 0x5e, 0, 0, 0x12];
/// How often each is sent.
const TIMES: usize = 20;

fn settings() -> Settings {
    Settings {
        advertisement_interval: "100ms",
        more: "  authentication: enforce\n".to_owned(),
        ..Settings::default()
    }
}

fn start(lab: &Lab) -> (Cluster, Vec<Server>) {
    let servers = Server::start_all(&lab.nodes).unwrap();
    (Cluster::started(lab, settings()).unwrap(), servers)
}

/// A frame with an advert "of" `source`, from the attacker's MAC.
fn frame(mac: [u8; 6], source: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&GROUP_MAC[..], &mac, &[0x08, 0x00]].concat();
    let length = u16::try_from(IPV4_BYTES + payload.len()).unwrap();
    let mut header = [0x45, 0xc0, 0, 0, 0, 0, 0, 0, ttl, PROTOCOL, 0, 0].to_vec();
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header.extend(source.octets());
    header.extend(GROUP_V4.octets());
    let sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(header);
    frame.extend(payload);
    frame
}

fn advert(source: Ipv4Addr, priority: Priority, sign: Option<[u8; 32]>) -> Vec<u8> {
    let advert = Advert {
        virtual_router_id: 51,
        priority,
        interval: Interval::from_centiseconds(10).unwrap(),
        addresses: Addresses::V4(vec![addresses::VIP4]),
    };
    let mut message = Vec::new();
    advert.emit(&mut message);
    if let Some(secret) = sign {
        let key = Key::new(7, secret);
        let mut forger = Authenticator::new(AuthMode::Enforce, vec![key], 60).unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let now_ns = u64::try_from(now.as_nanos()).unwrap();
        forger.sign(&mut message, source.into(), now_ns);
    }
    let bytes = advert.emitted_bytes();
    let form = ChecksumForm::WithPseudoHeader;
    fill_checksum(&mut message, bytes, source.into(), GROUP_V4.into(), form);
    message
}

/// The next advert that is on the wire, as its payload.
fn overhear(packets: &Packets) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [MaybeUninit::uninit(); 2048];
    while Instant::now() < deadline {
        match packets.next(&mut buffer).unwrap() {
            Some(frame)
                if frame[12..14] == [0x08, 0x00] && frame[ETHERNET_BYTES + 9] == PROTOCOL =>
            {
                return frame[ETHERNET_BYTES + IPV4_BYTES..].to_vec();
            }
            Some(_) => {}
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
    panic!("no advert within {PATIENCE:?}");
}

/// Both nodes' statuses once their counters no longer move from how they came to agree on a master: the counters
/// are told a moment after what they count.
fn settled(cluster: &Cluster) -> [Status; 2] {
    let look = || [0, 1].map(|index| cluster.status(index).unwrap());
    let counted = |both: &[Status; 2]| {
        [0, 1].map(|index| CALM.map(|counter| both[index].election_counters[counter]))
    };
    let mut before = look();
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(1500));
        let now = look();
        if counted(&now) == counted(&before) {
            return now;
        }
        before = now;
    }
    panic!("two nodes do not agree on a master: {before:?}");
}

/// What counts nothing while there is one master.
const CALM: [&str; 3] = ["yields", "stops_heard", "rivals"];

#[test]
fn forged_replayed_and_routed_adverts_change_nothing_and_are_counted() {
    let name = "forged_replayed_and_routed_adverts_change_nothing_and_are_counted";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let (cluster, _servers) = start(&lab);
    let client = lab.client();
    let mac = client.mac.0;
    let packets = Packets::open(client).unwrap();
    let (master, stranger) = (lab.nodes[0].address4(), Ipv4Addr::new(10, 77, 0, 99));
    let before = settled(&cluster);

    let real = overhear(&packets);
    let mut damaged = real.clone();
    damaged[8] ^= 1;
    let stop = Priority::STOPPING;
    let attacks: [(&str, &str, Vec<u8>); 6] = [
        (
            "an unsigned priority 0 of the master",
            "auth_missing",
            frame(mac, master, TTL, &advert(master, stop, None)),
        ),
        (
            "a better master, signed with another key",
            "auth_unknown",
            frame(
                mac,
                stranger,
                TTL,
                &advert(stranger, Priority::OWNER, Some([9; 32])),
            ),
        ),
        (
            "the master's own advert once more",
            "auth_replayed",
            frame(mac, master, TTL, &real),
        ),
        (
            "the same from beyond a router",
            "wrong_ttl",
            frame(mac, master, TTL - 1, &real),
        ),
        (
            "a damaged one",
            "wrong_checksum",
            frame(mac, master, TTL, &damaged),
        ),
        (
            "one cut short",
            "wrong_length",
            frame(mac, master, TTL, &real[..7]),
        ),
    ];
    for _ in 0..TIMES {
        for (_, _, frame) in &attacks {
            packets.send(frame).unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
    for (what, counter, _) in &attacks {
        // The master drops what seems to be its own: only the backup counts everything.
        let count = |status: &Status| status.election_counters[*counter];
        let was = count(&before[1]);
        let status = cluster
            .wait_status(1, what, |status| count(status) >= was + TIMES as u64)
            .unwrap();
        println!("{what}: {counter} {} more", count(&status) - was);
    }
    for (index, before) in before.iter().enumerate() {
        let after = cluster.status(index).unwrap();
        assert_eq!(after.role, before.role, "node {index}");
        assert_eq!(after.election.times_master, before.election.times_master);
        for counter in CALM {
            let (now, was) = (&after.election_counters, &before.election_counters);
            assert_eq!(now[counter], was[counter], "node {index}: {counter}");
        }
    }
    let vip = IpAddr::from(addresses::VIP4);
    assert_eq!(cluster.holders(vip).unwrap(), [0]);
}

#[test]
fn a_cluster_that_starts_under_junk_and_recordings_elects_and_serves() {
    let name = "a_cluster_that_starts_under_junk_and_recordings_elects_and_serves";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let (mut cluster, _servers) = start(&lab);
    let client = lab.client();
    let packets = Packets::open(client).unwrap();
    let stranger = Ipv4Addr::new(10, 77, 0, 99);
    settled(&cluster);
    let owner = |key| advert(stranger, Priority::OWNER, key);
    let frame = |source, payload: &[u8]| frame(client.mac.0, source, TTL, payload);
    let frames = [
        frame(stranger, &owner(None)),
        frame(stranger, &owner(Some([9; 32]))),
        frame(lab.nodes[0].address4(), &overhear(&packets)),
    ];
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for frame in &frames {
                    packets.send(frame).unwrap();
                }
                // Ten of each in a second.
                thread::sleep(Duration::from_millis(100));
            }
        });
        let _over = lbd_tests::Over(&over);
        for index in [0, 1] {
            assert!(cluster.stop(index).unwrap().success());
        }
        for index in [0, 1] {
            cluster.start(index).unwrap();
        }
        cluster.wait_ready().unwrap();
        cluster
            .wait_status(0, "the best is the master", Status::is_master)
            .unwrap();
        let sessions = Held::open_many(client, 20).unwrap();
        assert_eq!(sessions.len(), 20);
        for counter in ["auth_missing", "auth_unknown", "auth_replayed"] {
            let is_counted = |status: &Status| status.election_counters[counter] > 0;
            cluster.wait_status(1, counter, is_counted).unwrap();
        }
    });
    let vip = IpAddr::from(addresses::VIP4);
    assert_eq!(cluster.holders(vip).unwrap(), [0]);
}

#[test]
fn a_node_with_another_key_does_not_become_a_second_master_and_says_why() {
    let name = "a_node_with_another_key_does_not_become_a_second_master_and_says_why";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::new(&lab, settings()).unwrap();
    cluster.write_secret(0, &random_secret().unwrap()).unwrap();
    // The lower priority is there first: the better one would take over, had it the key.
    cluster.start(1).unwrap();
    cluster.wait_status(1, "master", Status::is_master).unwrap();
    cluster.start(0).unwrap();
    let contested = |status: &Status| status.election_counters.get("contested") > Some(&20);
    let status = cluster.wait_status(0, "contested", contested).unwrap();
    assert!(!status.is_master());
    assert!(
        status.election.reason.contains("cluster.secret_file"),
        "{}",
        status.election.reason
    );
    assert!(cluster.log(0).contains("not becoming a second master"));
    let vips: [IpAddr; 2] = [addresses::VIP4.into(), addresses::VIP6.into()];
    for vip in vips {
        assert_eq!(cluster.holders(vip).unwrap(), [1], "{vip}");
    }
    // The other one hears of it on the cluster channel.
    cluster
        .wait_status(1, "counts it", |status| {
            let refused = ["refused_unknown_key", "refused_forged"];
            refused
                .iter()
                .any(|counter| status.channel.counters[*counter] > 0)
        })
        .unwrap();

    // One of them has to serve when the other one is gone.
    cluster.stop(1).unwrap();
    cluster
        .wait_status(0, "master, alone", Status::is_master)
        .unwrap();
}
