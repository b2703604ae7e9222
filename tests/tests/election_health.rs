//! What makes a real node give mastership up, and get it back.
use std::{
    fs,
    net::{IpAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Cut, INTERFACE, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

struct World {
    cluster: Cluster,
    servers: Vec<Server>,
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
            health: "{interval: 200ms, timeout: 1s, rise: 1, fall: 2}".to_owned(),
            ..Settings::default()
        };
        let cluster = Cluster::started(&lab, settings).unwrap();
        Self {
            cluster,
            servers,
            lab,
        }
    }

    /// The first may not be master, says why, and the second is.
    fn assert_given_up(&self, why: &str) {
        let status = self.cluster.wait_status(0, why, |status| {
            !status.is_master() && status.election.reason.contains(why)
        });
        status.unwrap();
        self.cluster
            .wait_status(1, "master", Status::is_master)
            .unwrap();
        let log = self.cluster.log(0);
        assert!(log.contains(&format!("may not be master: {why}")), "{log}");
        for vip in vips() {
            self.only_holder(vip, 1);
        }
    }

    fn assert_cured(&self) {
        self.cluster
            .wait_status(0, "master again", Status::is_master)
            .unwrap();
        for vip in vips() {
            self.only_holder(vip, 0);
        }
    }

    fn only_holder(&self, vip: IpAddr, index: usize) {
        for _ in 0..500 {
            if self.cluster.holders(vip).unwrap() == [index] {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{vip} is not held by node {index} alone");
    }
}

fn vips() -> [IpAddr; 2] {
    [addresses::VIP4.into(), addresses::VIP6.into()]
}

#[test]
fn without_a_carrier_a_node_is_not_master_and_with_it_it_is_again() {
    let name = "without_a_carrier_a_node_is_not_master_and_with_it_it_is_again";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new();
    world.lab.cut(&world.lab.nodes[0], Cut::Carrier).unwrap();
    world
        .cluster
        .wait_status(1, "master", Status::is_master)
        .unwrap();
    world.assert_given_up("the link is down");
    world.lab.restore(&world.lab.nodes[0]).unwrap();
    world.assert_cured();
}

#[test]
fn an_interface_that_is_gone_and_made_anew_gets_its_program_back() {
    let name = "an_interface_that_is_gone_and_made_anew_gets_its_program_back";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new();
    world.lab.replug(&world.lab.nodes[0]).unwrap();
    world.assert_cured();
    let log = world.cluster.log(0);
    assert!(log.contains("may not be master"), "{log}");
    assert!(log.contains("the XDP program is attached again"), "{log}");
    let status = world.cluster.status(0).unwrap();
    assert_eq!(status.interfaces[0].xdp_mode, "native");
}

#[test]
fn a_node_whose_data_plane_was_detached_is_no_master() {
    let name = "a_node_whose_data_plane_was_detached_is_no_master";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new();
    let node = &world.lab.nodes[0];
    // Another program takes the place before lbd has noticed.
    let mut taken = false;
    for _ in 0..20 {
        for entry in fs::read_dir(world.cluster.pin_dir(0)).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("link")
            {
                fs::remove_file(path).unwrap();
            }
        }
        taken = world.lab.attach_foreign_xdp(node).is_ok();
        if taken {
            break;
        }
    }
    assert!(taken, "no foreign program could be attached");
    world.assert_given_up("the XDP program is not attached");
    node.ip(&format!("link set dev {INTERFACE} xdpdrv off"))
        .unwrap();
    world.assert_cured();
}

#[test]
fn a_program_that_is_attached_and_does_not_run_is_attached_anew() {
    let name = "a_program_that_is_attached_and_does_not_run_is_attached_anew";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let world = World::new();
    world
        .cluster
        .wait_status(0, "master", Status::is_master)
        .unwrap();
    let mut sessions = Held::open_many(world.lab.client(), 40).unwrap();
    let link = world.cluster.pin_dir(0).join(format!("link_{INTERFACE}"));
    world.lab.disable_xdp_of(&link).unwrap();
    let said = "does not run: it saw none of";
    let log = || world.cluster.log(0);
    let patience = Instant::now() + Duration::from_mins(1);
    while !log().contains("the XDP program is attached again") {
        assert!(Instant::now() < patience, "it was not attached anew");
        thread::sleep(Duration::from_millis(100));
    }
    world.assert_cured();
    assert_eq!(survivors(&mut sessions), 40);
    let steered = |status: &Status| status.sessions() >= 40;
    world.cluster.wait_status(0, "sessions", steered).unwrap();

    // It runs now, and is left alone: also with frames alone that are nothing to lbd.
    let node = (world.lab.nodes[0].address4(), 9);
    let client = world.lab.client();
    let socket = client
        .inside(|| UdpSocket::bind("0.0.0.0:0"))
        .unwrap()
        .unwrap();
    for _ in 0..60 {
        // The port is closed: the answer to the one before may be an error.
        let _ = socket.send_to(b"x", node);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(log().matches(said).count(), 1, "{}", log());
    let report = world.cluster.lbd(0, &["report"]).unwrap();
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.contains("does not run"), "{report}");
}

#[test]
fn without_a_healthy_backend_the_priority_falls_to_1() {
    let name = "without_a_healthy_backend_the_priority_falls_to_1";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let mut world = World::new();
    // The first sees no mail server any more; the second sees them.
    world.lab.nodes[0]
        .output(
            "nft",
            &[
                "add table inet mute; add chain inet mute out { type filter hook output priority 0; }; \
             add rule inet mute out tcp dport 25 drop",
            ],
        )
        .unwrap();
    let status = world.cluster.wait_status(0, "relieved", |status| {
        !status.is_master() && status.election.advertised_priority == 1
    });
    assert_eq!(status.unwrap().election.priority, 200);
    world
        .cluster
        .wait_status(1, "master", Status::is_master)
        .unwrap();
    assert!(world.cluster.log(0).contains("no backend is healthy"));
    world.lab.nodes[0]
        .output("nft", &["delete table inet mute"])
        .unwrap();
    world.assert_cured();

    // With no mail server at all a box still answers, and resets: the senders try their next MX.
    world.servers.clear();
    for index in [0, 1] {
        world
            .cluster
            .wait_status(index, "priority 1", |status| {
                status.election.advertised_priority == 1
            })
            .unwrap();
    }
    assert!(world.cluster.master().is_some());
}

#[test]
fn an_address_that_the_operator_configured_for_good_is_said_and_left_alone() {
    let name = "an_address_that_the_operator_configured_for_good_is_said_and_left_alone";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec {
        nodes: 1,
        ..Spec::default()
    })
    .unwrap();
    let _server = Server::start(&lab.nodes[0], None).unwrap();
    let (node, vip) = (&lab.nodes[0], addresses::VIP4);
    node.ip(&format!("addr add {vip}/32 dev {INTERFACE}"))
        .unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let log = cluster.log(0);
    assert!(log.contains("is configured permanently"), "{log}");
    assert!(!log.contains("handed over"), "{log}");
    cluster.stop(0).unwrap();
    assert_eq!(cluster.holders(vip.into()).unwrap(), [0]);
}
