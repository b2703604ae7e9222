//! Real daemons that are killed or stopped while their kernels, and their data planes, live on: at
//! no moment two boxes answer for a VIP.
use std::{net::IpAddr, thread, time::Duration};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    election::answers::{Answered, Asker},
    lab::{Lab, Spec, addresses},
    smtp::server::Server,
};

struct World {
    cluster: Cluster,
    _servers: Vec<Server>,
    lab: Lab,
}

impl World {
    fn new() -> Self {
        let lab = Lab::new(&Spec {
            nodes: 2,
            ..Spec::default()
        })
        .unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            advertisement_interval: "100ms",
            more: "  preempt: false\n".to_owned(),
            ..Settings::default()
        };
        let mut cluster = Cluster::new(&lab, settings).unwrap();
        cluster.start(0).unwrap();
        cluster
            .wait_status(0, "the first is master", Status::is_master)
            .unwrap();
        cluster.start(1).unwrap();
        cluster.wait_ready().unwrap();
        // The second has asked the first's box at least once, and heard it on the channel.
        cluster
            .wait_status(1, "knows the first", |status| {
                status.knows_all_peers() && status.election_counters.get("probes") > Some(&0)
            })
            .unwrap();
        thread::sleep(Duration::from_secs(2));
        Self {
            cluster,
            _servers: servers,
            lab,
        }
    }

    fn ask(&self) -> Asker {
        Asker::start(self.lab.client(), &vips()).unwrap()
    }

    /// Of each VIP: the first node answered, then the second one, and never the first again, but for answers
    /// that were on their way. It is asked every 2 ms: a lease that lasts on would have it answer by the dozen.
    fn assert_moved_once(&self, answers: &[Answered]) {
        let [first, second] = [0, 1].map(|index: usize| self.lab.nodes[index].mac);
        for vip in vips() {
            let by: Vec<_> = answers
                .iter()
                .filter(|answer| answer.vip == vip)
                .map(|answer| answer.by)
                .collect();
            assert!(by.contains(&first), "{vip}: the first answered");
            let moved = by.iter().position(|mac| *mac == second);
            let moved = moved.unwrap_or_else(|| panic!("{vip}: the second never answered"));
            let late = by[moved..].iter().filter(|mac| **mac == first).count();
            assert!(
                late <= 2,
                "{vip}: {late} answers of the first after the second's"
            );
            println!("{vip}: {moved} answers of the first, then of the second; {late} came late");
        }
    }
}

fn vips() -> [IpAddr; 2] {
    [addresses::VIP4.into(), addresses::VIP6.into()]
}

#[test]
fn a_killed_daemon_s_box_answers_until_its_lease_ends_and_then_never_again() {
    let name = "a_killed_daemon_s_box_answers_until_its_lease_ends_and_then_never_again";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new();
    let asker = world.ask();
    thread::sleep(Duration::from_millis(300));
    world.cluster.kill(0);
    let status = world
        .cluster
        .wait_status(1, "master", Status::is_master)
        .unwrap();
    thread::sleep(Duration::from_secs(2));
    world.assert_moved_once(&asker.finish().unwrap());
    // Its box answered the questions, so its lease was waited for, and no longer.
    assert!(
        status.election.reason.contains("its lease has ended"),
        "{}",
        status.election.reason
    );
}

#[test]
fn a_stopped_daemon_is_replaced_and_finds_itself_deposed_without_a_fight() {
    let name = "a_stopped_daemon_is_replaced_and_finds_itself_deposed_without_a_fight";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new();
    let asker = world.ask();
    thread::sleep(Duration::from_millis(300));
    world.cluster.signal(0, libc::SIGSTOP).unwrap();
    world
        .cluster
        .wait_status(1, "master", Status::is_master)
        .unwrap();
    thread::sleep(Duration::from_secs(3));
    world.cluster.signal(0, libc::SIGCONT).unwrap();
    let deposed = world
        .cluster
        .wait_status(0, "deposed", |status| !status.is_master())
        .unwrap();
    assert_eq!(deposed.master.as_deref(), Some("mx2"), "{deposed:?}");
    thread::sleep(Duration::from_secs(2));
    world.assert_moved_once(&asker.finish().unwrap());
    for (index, times) in [(0, 1), (1, 1)] {
        let status = world.cluster.status(index).unwrap();
        assert_eq!(status.election.times_master, times, "node {index}");
    }
    let rivals = world.cluster.status(1).unwrap().election_counters["rivals"];
    assert_eq!(rivals, 0, "the continued one advertised");
}
