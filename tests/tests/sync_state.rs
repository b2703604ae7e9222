//! Drains and weights between nodes: what one decides, all do.
use std::{
    fs, thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings, Status},
    lab::{Lab, Spec},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

fn is_drained(status: &Status, backend: &str) -> bool {
    let backend = status.backend(backend).unwrap();
    !backend.accepting && backend.operator.as_deref() == Some("drain")
}

fn ordered(cluster: &Cluster, node: usize, arguments: &[&str]) {
    let output = cluster.lbd(node, arguments).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
}

#[test]
fn a_drain_given_anywhere_holds_everywhere_and_outlives_its_node() {
    let name = "a_drain_given_anywhere_holds_everywhere_and_outlives_its_node";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let (backup, other) = ((master + 1) % 3, (master + 2) % 3);
    let drained = lab.nodes[other].name.as_str();
    ordered(&cluster, backup, &["drain", drained]);
    let everywhere = |cluster: &Cluster, what: &str, holds: bool| {
        for node in 0..cluster.len() {
            cluster
                .wait_status(node, what, |status| is_drained(status, drained) == holds)
                .unwrap();
        }
    };
    everywhere(&cluster, "the drain is known", true);
    // The node that is drained dies, is forgotten by no peer, and comes back drained.
    cluster.kill(other);
    cluster.start(other).unwrap();
    everywhere(
        &cluster,
        "the drain is known to the one that was away",
        true,
    );
    // So does the one that was told, and the master.
    for node in [backup, master] {
        cluster.kill(node);
        cluster.start(node).unwrap();
        everywhere(&cluster, "the drain outlives a restart", true);
    }
    ordered(&cluster, other, &["undrain", drained]);
    everywhere(&cluster, "the drain is taken back", false);
    // A node that was away does not bring it back.
    cluster.kill(backup);
    ordered(&cluster, master, &["drain", drained]);
    ordered(&cluster, master, &["undrain", drained]);
    cluster.start(backup).unwrap();
    thread::sleep(Duration::from_secs(6));
    everywhere(&cluster, "it stays taken back", false);
}

#[test]
fn a_backups_weights_are_the_masters_until_it_is_the_master_itself() {
    let name = "a_backups_weights_are_the_masters_until_it_is_the_master_itself";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let weight = |status: &Status| status.backend("mx3").unwrap().weight_permille;
    // Only the master's file says so: its backups would decide otherwise.
    let file = cluster.config(master);
    let text = fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("name: mx3"))
        .unwrap();
    let edited = text.replace(line, &line.replace("weight: 100", "weight: 30"));
    assert_ne!(edited, text);
    let decided = Instant::now();
    fs::write(&file, edited).unwrap();
    for node in 0..3 {
        let status = cluster
            .wait_status(node, "the master's weight", |status| {
                weight(status) == 30_000
            })
            .unwrap();
        if node != master {
            let reason = &status.backend("mx3").unwrap().reason;
            assert!(reason.contains("master"), "{reason}");
        }
    }
    println!(
        "all nodes have the master's weight after {:?}",
        decided.elapsed()
    );
    cluster.kill(master);
    let next = (0..3).find(|node| *node != master).unwrap();
    cluster
        .wait_status(next, "its own decision, as the master", |status| {
            status.is_master() && weight(status) == 100_000
        })
        .unwrap();
}

#[test]
fn a_drain_with_a_deadline_counts_down_and_resets_what_is_left() {
    let name = "a_drain_with_a_deadline_counts_down_and_resets_what_is_left";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(&lab, Settings::default()).unwrap();
    let master = cluster.wait_ready().unwrap();
    let drained = &lab.nodes[(master + 1) % 3].name;
    let mut sessions = Held::open_many(lab.client(), 60).unwrap();
    let on_it = sessions.iter().filter(|held| held.by() == drained).count();
    assert!(on_it > 5, "{on_it} of 60 at {drained}");

    // Without a reset they stay, and the command says so.
    let arguments = ["drain", drained, "--wait", "--timeout", "1s"];
    let output = cluster.lbd(master, &arguments).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("still open"), "{stderr}");
    assert_eq!(survivors(&mut sessions), sessions.len());

    let begun = Instant::now();
    let arguments = [
        "drain",
        drained,
        "--wait",
        "--timeout",
        "4s",
        "--then",
        "reset",
    ];
    let mut command = cluster.command(master, &arguments);
    let waits = thread::spawn(move || command.output().unwrap());
    let status = cluster
        .wait_status(master, "the time that is left", |status| {
            // The drain before this one had a deadline too.
            let drain = &status.backend(drained).unwrap().drain;
            drain.as_ref().is_some_and(|drain| drain.then == "reset")
        })
        .unwrap();
    let drain = status.backend(drained).unwrap().drain.clone().unwrap();
    assert!(drain.left_s <= 4 && drain.then == "reset", "{drain:?}");
    let output = waits.join().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    println!("{stdout}");
    assert!(output.status.success(), "{stdout}{output:?}");
    assert!(
        begun.elapsed() >= Duration::from_secs(3),
        "before the deadline"
    );
    assert!(stdout.contains("left"), "{stdout}");
    assert!(stdout.contains("no session left"), "{stdout}");

    let (mut reset, mut others): (Vec<Held>, Vec<Held>) =
        sessions.into_iter().partition(|held| held.by() == drained);
    let kinds = reset
        .iter_mut()
        .map(|held| held.check().unwrap_err().kind());
    let kinds: Vec<_> = kinds.collect();
    let is_reset = |kind: &std::io::ErrorKind| *kind == std::io::ErrorKind::ConnectionReset;
    assert!(kinds.iter().all(is_reset), "{kinds:?}");
    assert_eq!(survivors(&mut others), others.len());
    assert!(begun.elapsed() < PATIENCE, "resets come at once");
}

#[test]
fn a_denial_holds_on_every_node_and_outlives_the_one_it_was_given_on() {
    let name = "a_denial_holds_on_every_node_and_outlives_the_one_it_was_given_on";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::started(
        &lab,
        Settings {
            more: "  access: {on_deny: reset}\n".to_owned(),
            ..Settings::default()
        },
    )
    .unwrap();
    let master = cluster.wait_ready().unwrap();
    let away = (master + 1) % 3;
    let client = lab.client().address4().to_string();
    // Nothing from a daemon that is not there yet.
    let denied = |cluster: &Cluster, node: usize| {
        let output = cluster.lbd(node, &["access", &client, "--json"]).unwrap();
        let access: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let by_hand = access["by_hand"].as_array().unwrap();
        let is_denied = access["source"]["admitted"] == false;
        assert_eq!(by_hand.is_empty(), !is_denied, "{access}");
        Some(is_denied)
    };
    let everywhere = |cluster: &Cluster, holds: bool| {
        let deadline = Instant::now() + PATIENCE;
        while (0..3).any(|node| denied(cluster, node) != Some(holds)) {
            assert!(Instant::now() < deadline, "denied everywhere: not {holds}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let served = || Held::open_many(lab.client(), 1).is_ok();
    assert!(served());

    // One node is away when it is given, and hears of it when it is back.
    cluster.kill(away);
    ordered(&cluster, master, &["deny", &client, "--for", "10m"]);
    cluster.start(away).unwrap();
    everywhere(&cluster, true);
    assert!(!served(), "the master admits it");
    // It outlives the node that it was given on.
    cluster.kill(master);
    cluster
        .wait_status(away, "another master", |status| {
            status.master.is_some()
                && status.master.as_deref() != Some(lab.nodes[master].name.as_str())
        })
        .unwrap();
    assert!(!served(), "the next master admits it");
    // It is taken back where it was not given, while the node that it was given on is away: that one
    // does not bring it back.
    ordered(&cluster, away, &["undeny", &client]);
    cluster.start(master).unwrap();
    everywhere(&cluster, false);
    cluster
        .wait_status(master, "the first is the master again", Status::is_master)
        .unwrap();
    thread::sleep(Duration::from_secs(6));
    everywhere(&cluster, false);
    assert!(served());
}
