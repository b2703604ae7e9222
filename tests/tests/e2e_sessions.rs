//! Real SMTP sessions through the virtual address.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Host, Lab, Spec, addresses},
    percent,
    postfix::{Sink, smtp_source},
    smtp::{
        client::{self, Close, Outcome, Session},
        server::Server,
    },
};

/// Holds the sessions, `at_once` at a time, inside `host`.
fn hold(host: &Host, sessions: Vec<Session>, at_once: usize) -> Vec<Outcome> {
    let work = async move || {
        let mut outcomes = Vec::new();
        let mut running = tokio::task::JoinSet::new();
        for session in sessions {
            if running.len() >= at_once
                && let Some(outcome) = running.join_next().await
            {
                outcomes.push(outcome.unwrap());
            }
            running.spawn(async move { client::run(&session).await });
        }
        outcomes.extend(running.join_all().await);
        outcomes
    };
    host.runtime(work).unwrap().join().unwrap().unwrap()
}

/// Sessions of a round.
const TOTAL: u32 = 5000;

#[test]
fn five_thousand_sessions_are_shared_by_weight_and_none_fails() {
    let name = "five_thousand_sessions_are_shared_by_weight_and_none_fails";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    if !lbd_tests::programs::or_skip(name, &["smtp-source", "smtp-sink"]) {
        return;
    }
    let lab = Lab::new(&Spec::default()).unwrap();
    let weights = vec![100, 50, 50];
    let settings = Settings {
        weights: weights.clone(),
        ..Settings::default()
    };
    let start = |host| Sink::start(host, lab.folder()).unwrap();
    let sinks: Vec<Sink> = lab.nodes.iter().map(start).collect();
    let cluster = Cluster::started(&lab, settings).unwrap();
    let weight_sum: u32 = weights.iter().sum();
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    let counts = || -> Vec<u64> {
        let messages = sinks.iter().map(|sink| sink.messages().unwrap());
        messages.map(|by| by.values().sum()).collect()
    };
    // When the machine has other work, one box is slower than another, and is rightly steered
    // around: a round with such a pause says nothing of the weights.
    for rounds_left in (0..3).rev() {
        let before = counts();
        let begun = Instant::now();
        smtp_source(lab.client(), vip, TOTAL, 20).unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let after = counts();
        let served: Vec<u64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        let sum: u64 = served.iter().sum();
        assert_eq!(sum, u64::from(TOTAL), "{served:?}");
        println!("5,000 smtp-source sessions in {seconds:.1} s, none failed:");
        let mut furthest = 0.0_f64;
        for (index, count) in served.iter().enumerate() {
            let share = percent(*count, sum);
            let wanted = percent(weights[index].into(), weight_sum.into());
            let name = &lab.nodes[index].name;
            println!("  {name}: {count} sessions, {share:.1} % (weight: {wanted:.0} %)");
            furthest = furthest.max((share - wanted).abs());
        }
        if furthest <= 3.0 {
            break;
        }
        assert!(rounds_left > 0, "{furthest:.1} points from the weights");
    }
    let messages: Vec<_> = sinks.iter().map(|sink| sink.messages().unwrap()).collect();
    // The client's own address is what each mail server sees.
    let seen: BTreeSet<IpAddr> = messages.iter().flat_map(|by| by.keys().copied()).collect();
    let own = BTreeSet::from([IpAddr::from(lab.client().address4())]);
    assert_eq!(seen, own);
    println!(
        "  every mail server saw the client's own address, {:?}",
        own.first().unwrap()
    );
    drop(cluster);
}

#[test]
fn both_families_and_both_ways_to_close_are_served_with_their_own_addresses() {
    let name = "both_families_and_both_ways_to_close_are_served_with_their_own_addresses";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        sources: 100,
        ..Spec::default()
    })
    .unwrap();
    let servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let client = lab.client();
    for ipv6 in [false, true] {
        for close in [Close::Fin, Close::Rst] {
            let session = |nth: usize| {
                let source: IpAddr = if ipv6 {
                    client.addresses6[nth % 100].into()
                } else {
                    client.addresses4[nth % 100].into()
                };
                let vip = SocketAddr::new(addresses::vip_like(source), 25);
                Session {
                    close,
                    ..Session::new(source, vip)
                }
            };
            let outcomes = hold(client, (0..500).map(session).collect(), 20);
            let mut by_server: BTreeMap<String, u32> = BTreeMap::new();
            for outcome in &outcomes {
                let Outcome::Served { by, .. } = outcome else {
                    panic!("IPv6 {ipv6}, {close:?}: {outcome}");
                };
                *by_server.entry(by.clone()).or_default() += 1;
            }
            println!(
                "IPv{} {close:?}: 500 sessions, none failed: {by_server:?}",
                if ipv6 { 6 } else { 4 }
            );
            assert_eq!(by_server.len(), servers.len(), "{by_server:?}");
        }
    }
    let mut seen: BTreeMap<IpAddr, u64> = BTreeMap::new();
    for (address, sessions) in servers.iter().flat_map(Server::peers) {
        *seen.entry(address).or_default() += sessions;
    }
    let v4 = client
        .addresses4
        .iter()
        .map(|address| IpAddr::from(*address));
    let v6 = client
        .addresses6
        .iter()
        .map(|address| IpAddr::from(*address));
    let sent: BTreeMap<IpAddr, u64> = v4.chain(v6).map(|address| (address, 10)).collect();
    assert_eq!(seen, sent, "the addresses that the servers saw");
    drop(cluster);
}

#[test]
fn closed_sessions_leave_no_load_behind() {
    let Some(_turn) = lbd_tests::turn("closed_sessions_leave_no_load_behind") else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let source = IpAddr::from(lab.client().address4());
    let vip = SocketAddr::new(addresses::VIP4.into(), 25);
    let sessions = |pause: Duration, close| {
        let session = Session {
            pause,
            close,
            ..Session::new(source, vip)
        };
        vec![session; 30]
    };
    let client = lab.client().clone();
    let long = sessions(Duration::from_secs(4), Close::Fin);
    let thread = std::thread::spawn(move || hold(&client, long, 30));
    let open = |status: &lbd_tests::cluster::Status| -> u64 {
        status.backends.iter().map(|backend| backend.sessions).sum()
    };
    cluster
        .wait_status(master, "30 open sessions", |status| open(status) == 30)
        .unwrap();
    let outcomes = thread.join().unwrap();
    let served = |outcome: &Outcome| matches!(outcome, Outcome::Served { .. });
    assert!(outcomes.iter().all(served), "{outcomes:?}");
    let outcomes = hold(lab.client(), sessions(Duration::ZERO, Close::Rst), 10);
    assert!(outcomes.iter().all(served), "{outcomes:?}");
    let status = cluster
        .wait_status(master, "no open session", |status| open(status) == 0)
        .unwrap();
    println!(
        "30 open sessions were counted as 30, and as 0 after their end: {}",
        open(&status)
    );
}
