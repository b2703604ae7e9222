//! Who sent a frame, and whom it is for: a switch that floods, addresses that a stranger claims, boxes
//! of the cluster that send mail themselves.
use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::maps::{Array, Map, MapData};
use lbd::vrrp::announce;
use lbd_common::{maps, prefilter::Prefilter};
use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    election::packets::Packets,
    lab::{Host, Lab, Spec, addresses},
    smtp::{
        client::{Close, Outcome, Session, run, served_by},
        server::Server,
    },
    until,
};

/// Sessions of a run, half of them IPv6, each a message.
fn mails(host: &Host, count: u16) -> Vec<Session> {
    let session = |nth: u16| {
        let source: IpAddr = if nth.is_multiple_of(2) {
            host.addresses4[usize::from(nth / 2) % host.addresses4.len()].into()
        } else {
            host.addresses6[usize::from(nth / 2) % host.addresses6.len()].into()
        };
        let target = SocketAddr::new(addresses::vip_like(source), 25);
        Session {
            close: if nth % 4 < 2 { Close::Fin } else { Close::Rst },
            pause: Duration::from_millis(100),
            messages: 3,
            ..Session::new(source, target)
        }
    };
    (0..count).map(session).collect()
}

/// Has the switch forget where every box is, five times a second, and never learn it of one box: what is
/// sent to that box is flooded to all, as after a spanning tree's change.
fn flooded<T: Send>(lab: &Lab, host: &Host, work: impl FnOnce() -> T + Send) -> T {
    let port = format!("p-{}", host.name);
    let learn = |how| {
        let arguments = ["link", "set", "dev", &port, "learning", how];
        lab.switch.output("bridge", &arguments).unwrap();
    };
    learn("off");
    let over = AtomicBool::new(false);
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                lab.switch
                    .ip("link set br0 type bridge fdb_flush")
                    .expect("the switch forgets");
                thread::sleep(Duration::from_millis(200));
            }
        });
        let _over = lbd_tests::Over(&over);
        work()
    });
    learn("on");
    done
}

/// Runs of which every session was served.
fn clean_runs(lab: &Lab, runs: u32) -> u32 {
    let run = |_: &u32| served_by(lab.client(), mails(lab.client(), 40)).is_ok();
    u32::try_from((0..runs).filter(run).count()).unwrap()
}

/// The runs of a test, more of them by `LBD_RUNS`.
fn runs() -> u32 {
    std::env::var("LBD_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(5)
}

#[test]
fn frames_that_the_switch_floods_hurt_no_session() {
    let Some(_turn) = lbd_tests::turn("frames_that_the_switch_floods_hurt_no_session") else {
        return;
    };
    let lab = Lab::new(&Spec {
        sources: 40,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let runs = runs();
    let quiet = clean_runs(&lab, runs);
    let clean = flooded(&lab, &lab.nodes[1], || clean_runs(&lab, runs));
    let counted: u64 = (0..cluster.len())
        .map(|node| cluster.counter(node, "pass_other_mac").unwrap())
        .sum();
    // The same with programs that do not know their own MACs, as the control.
    for node in 0..cluster.len() {
        let data = MapData::from_pin(cluster.pin_dir(node).join(maps::PREFILTER)).unwrap();
        let mut map: Array<MapData, Prefilter> =
            Map::from_map_data(data).unwrap().try_into().unwrap();
        let before = map.get(&0, 0).unwrap();
        let blind = Prefilter {
            macs: Prefilter::NONE.macs,
            ..before
        };
        map.set(0, blind, 0).unwrap();
    }
    let control = flooded(&lab, &lab.nodes[1], || clean_runs(&lab, runs));
    println!(
        "runs of 40 sessions of which all were served: {quiet} of {runs} with a switch that learns, {clean} of \
         {runs} with one that floods ({counted} flooded frames left alone), {control} of {runs} so without a \
         look at the destination"
    );
    assert_eq!((quiet, clean), (runs, runs));
    assert!(counted > 0, "nothing was flooded");
}

#[test]
fn an_interface_that_gets_another_mac_goes_on() {
    let Some(_turn) = lbd_tests::turn("an_interface_that_gets_another_mac_goes_on") else {
        return;
    };
    let lab = Lab::new(&Spec {
        sources: 40,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let client = lab.client();
    served_by(client, mails(client, 40)).unwrap();
    // The master's, as a bond's changes with its active port. It announces itself: nothing else tells the
    // clients.
    let master = cluster.master().unwrap();
    let node = &lab.nodes[master];
    node.ip("link set eth0 address 02:00:00:00:99:01").unwrap();
    until("sessions are served again", || {
        served_by(client, mails(client, 8)).is_ok()
    });
    let before = cluster.counter(master, "pass_other_mac").unwrap();
    let by = served_by(client, mails(client, 80)).unwrap();
    assert_eq!(by.len(), 3, "{by:?}");
    let after = cluster.counter(master, "pass_other_mac").unwrap();
    println!("{by:?}, {} frames left alone", after - before);
    assert_eq!(after, before, "its own frames were taken for another's");
}

/// How many of these sessions are served.
fn count_served(client: &Host, sessions: Vec<Session>) -> usize {
    let work = async move || {
        let mut running = tokio::task::JoinSet::new();
        for session in sessions {
            running.spawn(async move { run(&session).await });
        }
        running.join_all().await
    };
    let outcomes = client.runtime(work).unwrap().join().unwrap().unwrap();
    let served = |outcome: &&Outcome| matches!(outcome, Outcome::Served { .. });
    outcomes.iter().filter(served).count()
}

/// Names the boxes' addresses with the client's MAC once a second, as any host of the segment can, while
/// `work` is done.
fn claimed<T: Send>(lab: &Lab, work: impl FnOnce() -> T + Send) -> T {
    let client = lab.client();
    let packets = Packets::open(client).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for node in &lab.nodes {
                    let claim = announce::announcement(node.address4().into(), client.mac);
                    packets.send(&claim).unwrap();
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_host_that_answers_for_the_boxes_addresses_is_no_box() {
    let Some(_turn) = lbd_tests::turn("a_host_that_answers_for_the_boxes_addresses_is_no_box")
    else {
        return;
    };
    let lab = Lab::new(&Spec {
        sources: 40,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let client = lab.client();
    let denied = client.addresses4[39];
    let order = cluster.lbd(master, &["deny", &denied.to_string()]).unwrap();
    assert!(order.status.success(), "{order:?}");
    let from_denied = || -> Vec<Session> {
        let target = SocketAddr::new(addresses::VIP4.into(), 25);
        let session = |_| Session {
            patience: Duration::from_secs(3),
            ..Session::new(denied.into(), target)
        };
        (0..10).map(session).collect()
    };
    assert_eq!(count_served(client, from_denied()), 0, "it is denied");
    let (bypassed, served, named) = claimed(&lab, || {
        // Until the kernel's own entries would have followed.
        thread::sleep(Duration::from_secs(4));
        let bypassed = count_served(client, from_denied());
        let served = count_served(client, mails(client, 60));
        let named = cluster.wait_status(master, "the claim is named", |status: &Status| {
            status.channel.counters.get("neighbours_refused") > Some(&0)
        });
        (bypassed, served, named)
    });
    println!("{bypassed} of 10 denied sessions and {served} of 60 others were served");
    assert_eq!((bypassed, served), (0, 60));
    let warnings = named.unwrap().channel.warnings;
    let mac = client.mac.to_string();
    assert!(
        warnings.iter().any(|warning| warning.contains(&mac)),
        "{warnings:?}"
    );
    assert_eq!(cluster.master(), Some(master));
}

#[test]
fn a_box_of_the_cluster_is_served_as_a_client() {
    let Some(_turn) = lbd_tests::turn("a_box_of_the_cluster_is_served_as_a_client") else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 4,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes[2..]).unwrap();
    let settings = Settings {
        directors: vec![0, 1],
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let master = cluster.wait_ready().unwrap();
    assert_eq!(master, 0);
    // The director that stands by sends mail of its own.
    let client = &lab.nodes[1];
    let served = count_served(client, mails(client, 50));
    let by = served_by(client, mails(client, 50)).unwrap();
    println!(
        "{served} of 50 sessions of a director that stands by were served, the next 50 by {by:?}"
    );
    assert_eq!(served, 50);
    let boxes: Vec<&String> = by.keys().collect();
    assert_eq!(boxes, [&lab.nodes[2].name, &lab.nodes[3].name]);
}
