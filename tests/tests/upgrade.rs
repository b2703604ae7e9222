//! A cluster of the version before this one that is upgraded box by box, as CHANGELOG.md tells operators.
//!
//! By name, since it builds the former version from the repository:
//! `cargo test -p lbd-tests --test upgrade -- --ignored --nocapture`. `LBD_PREVIOUS` names its binary where
//! there is one already.
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lbd_tests::{
    cluster::{Cluster, Settings, Status, lbd_binary},
    lab::{Lab, Spec, addresses::VIP4},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// The version before this one.
const PREVIOUS: &str = "f505c6d";
const SESSIONS: usize = 40;
/// How long a box of the other version may take to take over.
const PATIENCE: Duration = Duration::from_mins(1);

/// The former `lbd`, built from git next to the target folder's own.
fn previous() -> Result<PathBuf> {
    if let Some(path) = env::var_os("LBD_PREVIOUS") {
        return Ok(path.into());
    }
    let target = lbd_binary()?;
    let target = target.ancestors().nth(2).context("a target folder")?;
    let sources = target.join("previous");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if !sources.exists() {
        let made = Command::new("git")
            .current_dir(&repository)
            .args(["worktree", "add", "--detach"])
            .arg(&sources)
            .arg(PREVIOUS)
            .status()?;
        ensure!(made.success(), "git worktree add of {PREVIOUS}");
    }
    let built = Command::new("cargo")
        .current_dir(&sources)
        .args(["build", "--package", "lbd", "--target-dir"])
        .arg(sources.join("target"))
        .status()?;
    ensure!(built.success(), "{PREVIOUS} does not build");
    Ok(sources.join("target/debug/lbd"))
}

/// Waits until exactly one box has the VIP on its interface.
fn holder(cluster: &Cluster) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let holders = cluster.holders(VIP4.into())?;
        if let [one] = holders[..] {
            return Ok(one);
        }
        ensure!(Instant::now() < deadline, "the VIP is on {holders:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "builds the former version"]
fn a_cluster_is_upgraded_box_by_box_and_takes_sessions_all_the_while() {
    let name = "a_cluster_is_upgraded_box_by_box_and_takes_sessions_all_the_while";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let former = previous().unwrap();
    let new = lbd_binary().unwrap();
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let settings = Settings {
        // As CHANGELOG.md says: the same on both versions until every box is upgraded.
        more: "  authentication: off\n".to_owned(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    cluster.replace_binary(former);
    for index in 0..cluster.len() {
        cluster.start(index).unwrap();
    }
    cluster.wait_ready().unwrap();
    cluster
        .wait_status(0, "the best is the master", Status::is_master)
        .unwrap();
    assert_eq!(holder(&cluster).unwrap(), 0);
    let client = lab.client();
    let mut sessions = open(client);
    // Backups first, the master last.
    for index in (0..cluster.len()).rev() {
        let node = &lab.nodes[index].name;
        assert!(cluster.stop(index).unwrap().success(), "{node}");
        let pins = cluster.pin_dir(index);
        assert!(
            !pins.exists(),
            "{node}: a stop leaves nothing of another layout"
        );
        cluster.replace_binary(new.clone());
        cluster.start(index).unwrap();
        let master = holder(&cluster).unwrap();
        let before = sessions.len();
        let live = survivors(&mut sessions);
        println!(
            "{node} is upgraded: {} has the VIP, {live} of {before} sessions live on",
            lab.nodes[master].name
        );
        sessions = open(client);
        assert_eq!(survivors(&mut sessions), SESSIONS, "{node}: new sessions");
    }
    let master = cluster.wait_ready().unwrap();
    cluster
        .wait_status(0, "the best is the master", Status::is_master)
        .unwrap();
    for index in 0..cluster.len() {
        cluster
            .wait_status(index, "it knows its peers' flows", Status::knows_all_peers)
            .unwrap();
    }
    let mut sessions = open(client);
    cluster.kill(0);
    cluster.wait_another_master(0).unwrap();
    assert_eq!(
        survivors(&mut sessions),
        SESSIONS,
        "the upgraded cluster loses none"
    );
    println!("master {master} was killed: {SESSIONS} of {SESSIONS} sessions live on");
}

/// New sessions: each is tried again as a sender would, until all are served.
fn open(client: &lbd_tests::lab::Host) -> Vec<Held> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Held::open_many(client, SESSIONS) {
            Ok(sessions) => return sessions,
            Err(error) => assert!(Instant::now() < deadline, "no new sessions: {error}"),
        }
        thread::sleep(Duration::from_millis(200));
    }
}
