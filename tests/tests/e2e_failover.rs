//! A master that dies.
use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings},
    lab::{Host, Lab, Spec, addresses},
    probe::{Probe, longest_gap},
    smtp::server::Server,
    until,
};

/// The advertisement interval of this test: the default, long against the noise of a busy machine.
const INTERVAL: Duration = Duration::from_secs(1);

/// Connects to `vip` every 10 ms from each of the client's addresses in turn.
fn probe(client: &Host, vip: IpAddr) -> Probe {
    let sources = client.addresses(vip.is_ipv6());
    let gap = Duration::from_millis(10);
    Probe::start(client, sources, SocketAddr::new(vip, 25), gap).unwrap()
}

#[test]
fn a_killed_master_is_replaced_and_leaves_no_address_behind() {
    let name = "a_killed_master_is_replaced_and_leaves_no_address_behind";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        advertisement_interval: "1s",
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let vips = [IpAddr::from(addresses::VIP4), addresses::VIP6.into()];
    let master = cluster.wait_ready().unwrap();
    assert_eq!(master, 0, "the highest priority");
    for vip in vips {
        until("the master alone holds the address", || {
            cluster.holders(vip).unwrap() == [master]
        });
    }
    let client = lab.client();
    let sources4 = client.addresses(false);
    let sources6 = client.addresses(true);
    let start = |(sources, vip)| {
        let gap = Duration::from_millis(10);
        Probe::start(client, sources, SocketAddr::new(vip, 25), gap).unwrap()
    };
    let probes: Vec<Probe> = [sources4, sources6]
        .into_iter()
        .zip(vips)
        .map(start)
        .collect();
    for probe in &probes {
        until("the address is served", || probe.answers().len() > 20);
    }
    // The first answers tell nothing: the client had yet to resolve the address.
    let begun = Instant::now();
    thread::sleep(INTERVAL);
    let killed = Instant::now();
    cluster.kill(master);
    cluster
        .wait_status(1, "master", lbd_tests::cluster::Status::is_master)
        .unwrap();
    for vip in vips {
        until("the new master alone holds the address", || {
            cluster.holders(vip).unwrap() == [1]
        });
    }
    let alone = killed.elapsed();
    thread::sleep(INTERVAL * 3);
    for (probe, vip) in probes.into_iter().zip(vips) {
        let answers = probe.finish();
        let gap = longest_gap(&answers, begun, Instant::now()).unwrap();
        let intervals = gap.as_secs_f64() / INTERVAL.as_secs_f64();
        println!(
            "kill -9 of the master: {vip} unserved for {intervals:.2} advertisement intervals"
        );
        // To the end: a gap that is not over has no second neighbour.
        let end = Instant::now().checked_sub(INTERVAL).unwrap();
        assert!(
            answers.iter().any(|at| *at > end),
            "{vip} is not served at the end"
        );
        assert!(intervals < 4.0, "{vip}: {intervals}");
    }
    println!(
        "  the killed node's addresses were gone by themselves within {:.2} intervals",
        alone.as_secs_f64() / INTERVAL.as_secs_f64()
    );

    // The dead one returns: with its higher priority it is master again, alone.
    cluster.start(master).unwrap();
    cluster
        .wait_status(
            master,
            "master again",
            lbd_tests::cluster::Status::is_master,
        )
        .unwrap();
    for vip in vips {
        until("the returned master alone holds the address", || {
            cluster.holders(vip).unwrap() == [master]
        });
    }
}

#[test]
fn a_dead_master_does_not_draw_the_senders_back() {
    let Some(_turn) = lbd_tests::turn("a_dead_master_does_not_draw_the_senders_back") else {
        return;
    };
    // Its kernel keeps the addresses for some seconds, and names its own link-layer address for
    // them whenever it asks for that of a sender it has not met. There have to be such senders.
    let lab = Lab::new(&Spec {
        nodes: 2,
        sources: 300,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        advertisement_interval: "100ms",
        ..Settings::default()
    };
    let mut cluster = Cluster::started(&lab, settings).unwrap();
    let vips = [IpAddr::from(addresses::VIP4), addresses::VIP6.into()];
    let begun = Instant::now();
    let probes = vips.map(|vip| probe(lab.client(), vip));
    for probe in &probes {
        until("the address is served", || probe.answers().len() > 20);
    }
    let master = cluster.wait_ready().unwrap();
    let killed = Instant::now();
    cluster.kill(master);
    until("the new master alone holds the addresses", || {
        vips.iter()
            .all(|vip| cluster.holders(*vip).unwrap() == [1 - master])
    });
    let lingered = killed.elapsed();
    thread::sleep(lingered);
    for (probe, vip) in probes.into_iter().zip(vips) {
        let answers = probe.finish();
        // To the end: a gap that is not over has no second neighbour.
        let gap = longest_gap(
            &[answers, vec![Instant::now()]].concat(),
            begun,
            Instant::now(),
        );
        let share = gap.unwrap().as_secs_f64() / lingered.as_secs_f64();
        println!(
            "{vip}: the longest gap is {share:.2} of the time that the dead master kept the addresses"
        );
        assert!(share < 0.5, "{vip}: {share}");
    }
}
