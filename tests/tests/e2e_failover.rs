//! A master that dies.
use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings},
    lab::{Lab, Spec, addresses},
    probe::{Probe, longest_gap},
    smtp::server::Server,
};

/// The advertisement interval of this test: the default, long against the noise of a busy machine.
const INTERVAL: Duration = Duration::from_secs(1);

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
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
    let _servers: Vec<Server> = lab
        .nodes
        .iter()
        .map(|node| Server::start(node, None).unwrap())
        .collect();
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
    let sources = [IpAddr::from(client.address4()), client.address6().into()];
    let probes: Vec<Probe> = sources
        .into_iter()
        .map(|source| {
            let vip = SocketAddr::new(addresses::vip_like(source), 25);
            Probe::start(client, source, vip, Duration::from_millis(10)).unwrap()
        })
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
    thread::sleep(INTERVAL * 2);
    for (probe, vip) in probes.into_iter().zip(vips) {
        let answers = probe.finish();
        let gap = longest_gap(&answers, begun, Instant::now()).unwrap();
        let intervals = gap.as_secs_f64() / INTERVAL.as_secs_f64();
        println!(
            "kill -9 of the master: {vip} unserved for {intervals:.2} advertisement intervals"
        );
        let after = answers.iter().filter(|at| **at > killed + gap).count();
        assert!(after > 10, "{vip} is not served after the kill");
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
