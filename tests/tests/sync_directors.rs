//! Flows between directors that are no backends.
use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{INTERFACE, Lab, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// Sessions held open.
const SESSIONS: usize = 60;
const DIRECTORS: [usize; 2] = [0, 1];

/// Waits until so many sessions are in a node's table.
fn knows(cluster: &Cluster, node: usize, sessions: usize) {
    cluster
        .wait_status(node, "the master's flows arrived", |status| {
            status.sessions() >= sessions as u64
        })
        .unwrap();
}

/// What is behind the directors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Backends {
    /// Mail servers that have the virtual addresses.
    Plain,
    /// Mail servers that know of nothing, and whose way to the clients leads through the VIP.
    BehindNat,
    /// Boxes that run lbd too, and stand for no election.
    WithLbd,
}

fn sessions_outlive_a_pure_director(backends: Backends) {
    let lab = Lab::new(&Spec {
        nodes: 4,
        ..Spec::default()
    })
    .unwrap();
    let nat = backends == Backends::BehindNat;
    let start = |node| match backends {
        Backends::BehindNat => Server::start_behind_nat(node).unwrap(),
        _ => Server::start(node, None).unwrap(),
    };
    let servers: Vec<Server> = lab.nodes[2..].iter().map(start).collect();
    let settings = Settings {
        directors: DIRECTORS.to_vec(),
        backends_only: vec![2, 3],
        ipv6: !nat,
        more: if nat { "  forwarding: nat\n" } else { "" }.to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    for (index, node) in lab.nodes.iter().enumerate() {
        match backends {
            _ if DIRECTORS.contains(&index) => cluster.start(index).unwrap(),
            Backends::WithLbd => cluster.start(index).unwrap(),
            Backends::Plain => node.hold_vips().unwrap(),
            Backends::BehindNat => {
                for source in lab.client().addresses(false) {
                    let way = format!("via {} dev {INTERFACE}", addresses::VIP4);
                    node.ip(&format!("route add {source} {way}")).unwrap();
                }
            }
        }
    }
    let [first, second] = DIRECTORS;
    cluster
        .wait_status(first, "it is the master", Status::is_master)
        .unwrap();
    assert_eq!(cluster.wait_ready().unwrap(), first);
    // Translation needs a VIP of the backends' own family.
    let open = || {
        if nat {
            Held::open_to(lab.client(), addresses::VIP4.into(), SESSIONS).unwrap()
        } else {
            Held::open_many(lab.client(), SESSIONS).unwrap()
        }
    };
    let mut sessions = open();
    knows(&cluster, second, SESSIONS);
    cluster.kill(first);
    assert_eq!(cluster.wait_another_master(first).unwrap(), second);
    let after = "after the failover";
    assert_eq!(survivors(&mut sessions), SESSIONS, "{after}");
    let adopted = cluster.status(second).unwrap().counters["flow_adopted"];
    assert_eq!(adopted, 0, "every session was known");
    // Back again, it asks before it takes over. These it has never seen.
    sessions.extend(open());
    cluster.start(first).unwrap();
    cluster
        .wait_status(first, "it is the master again", Status::is_master)
        .unwrap();
    knows(&cluster, first, SESSIONS);
    assert_eq!(survivors(&mut sessions), 2 * SESSIONS, "after the return");
    for held in &mut sessions {
        held.deliver().unwrap();
    }
    let messages: Vec<u64> = servers.iter().map(Server::messages).collect();
    let all = 2 * SESSIONS as u64;
    assert_eq!(messages.iter().sum::<u64>(), all, "{messages:?}");
    if backends == Backends::WithLbd {
        // The directors know each other by their addresses, also to push.
        let output = cluster.lbd(first, &["push", "--dry-run"]).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let other = lab.nodes[second].address4().to_string();
        assert!(output.status.success(), "{said}{output:?}");
        assert!(said.contains(&format!("{other}: would take it")), "{said}");
    }
    println!(
        "two directors that are no backends, {backends:?}: {all} of {all} sessions went on \
         after a failover and the return, {messages:?} messages"
    );
}

#[test]
fn sessions_outlive_a_director_that_is_no_backend() {
    let Some(_turn) = lbd_tests::turn("sessions_outlive_a_director_that_is_no_backend") else {
        return;
    };
    sessions_outlive_a_pure_director(Backends::Plain);
}

#[test]
fn backends_with_lbd_know_the_directors_frames() {
    let Some(_turn) = lbd_tests::turn("backends_with_lbd_know_the_directors_frames") else {
        return;
    };
    sessions_outlive_a_pure_director(Backends::WithLbd);
}

#[test]
fn translated_sessions_outlive_their_director() {
    let Some(_turn) = lbd_tests::turn("translated_sessions_outlive_their_director") else {
        return;
    };
    sessions_outlive_a_pure_director(Backends::BehindNat);
}

/// As where adverts go by one network and the channel by another.
#[test]
fn a_director_whose_adverts_come_from_another_address_than_its_channel_leads_by_its_weights() {
    let name =
        "a_director_whose_adverts_come_from_another_address_than_its_channel_leads_by_its_weights";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let backend = &lab.nodes[2];
    backend.hold_vips().unwrap();
    let _server = Server::start(backend, None).unwrap();
    let settings = Settings {
        directors: DIRECTORS.to_vec(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    for index in DIRECTORS {
        let own = lab.nodes[index].address4();
        let other = format!("10.77.1.{}", own.octets()[3]);
        lab.nodes[index]
            .ip(&format!(
                "addr add {other}/{} dev {INTERFACE}",
                addresses::PREFIX4
            ))
            .unwrap();
        cluster
            .edit(&format!("\"{own}\""), &format!("\"{other}\""))
            .unwrap();
        let file = cluster.config(index);
        let text = std::fs::read_to_string(&file).unwrap();
        let channel = text.replace(&format!("\"{own}:9426\""), &format!("\"{other}:9426\""));
        assert_ne!(text, channel);
        std::fs::write(file, channel).unwrap();
    }
    let [first, second] = DIRECTORS;
    // Its own decision would be another one.
    let file = cluster.config(second);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text.replace("weight: 100", "weight: 40")).unwrap();
    for index in DIRECTORS {
        cluster.start(index).unwrap();
    }
    cluster
        .wait_status(first, "it is the master", Status::is_master)
        .unwrap();
    let weighs = |node: usize, permille: u32| {
        cluster
            .wait_status(node, "the backend's weight", |status| {
                status.backend("mx3").unwrap().weight_permille == permille
            })
            .unwrap()
    };
    let shown = weighs(second, 100_000);
    let leader = shown.master.unwrap();
    assert!(
        !leader.starts_with("10.77.1."),
        "{leader}: not by its channel"
    );
    // With no master to follow it decides itself.
    cluster.kill(first);
    let permille = |status: &Status| status.backend("mx3").unwrap().weight_permille;
    cluster
        .wait_status(second, "its own weight", |status| {
            status.is_master() && permille(status) == 40_000
        })
        .unwrap();
}
