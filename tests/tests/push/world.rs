//! A cluster with a channel, lists and keys of each node's own, and what a test asks of it.
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, OwnFiles, PATIENCE, Settings, Status, lbd_binary, random_secret},
    lab::{Host, Lab, Spec},
    smtp::server::Server,
};
use serde_json::Value;

/// Which of the nodes: the first has the highest priority.
pub(crate) const MASTER: usize = 0;

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) struct World {
    // Before the lab, whose end removes its logs.
    pub(crate) cluster: Cluster,
    pub(crate) own: OwnFiles,
    pub(crate) secret: String,
    _servers: Vec<Server>,
    pub(crate) lab: Lab,
}

impl World {
    pub(crate) fn new(nodes: u8, prepare: impl FnOnce(&OwnFiles)) -> Self {
        let lab = Lab::new(&Spec {
            nodes,
            ..Spec::default()
        })
        .unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let own = OwnFiles::new(&lab).unwrap();
        let secret = random_secret().unwrap();
        for node in &lab.nodes {
            fs::write(own.of(&node.name, "deny"), "# none yet\n198.51.100.0/24\n").unwrap();
            write_key(&own, node, &secret);
        }
        prepare(&own);
        let settings = Settings {
            more: format!("  access: {{deny_file: {}}}\n", own.path("deny").display()),
            secret_file: Some(own.path("key")),
            ipv6: false,
            ..Settings::default()
        };
        let mut cluster = Cluster::new(&lab, settings).unwrap();
        cluster.replace_binary(own.program(&lbd_binary().unwrap()).unwrap());
        for node in 0..lab.nodes.len() {
            cluster.start(node).unwrap();
        }
        cluster.wait_ready().unwrap();
        cluster
            .wait_status(MASTER, "the best is the master", Status::is_master)
            .unwrap();
        Self {
            lab,
            _servers: servers,
            own,
            cluster,
            secret,
        }
    }

    pub(crate) fn name(&self, node: usize) -> &str {
        &self.lab.nodes[node].name
    }

    pub(crate) fn lbd(&self, node: usize, arguments: &[&str]) -> (bool, String) {
        let output = self.cluster.lbd(node, arguments).unwrap();
        (output.status.success(), text(&output))
    }

    pub(crate) fn pushed(&self, arguments: &[&str]) -> String {
        let (done, said) = self.lbd(MASTER, arguments);
        assert!(done, "{arguments:?}: {said}");
        said
    }

    pub(crate) fn refused(&self, arguments: &[&str], expected: &[&str]) {
        let before = self.everything();
        let (done, said) = self.lbd(MASTER, arguments);
        assert!(!done, "{said}");
        for expected in expected {
            assert!(said.contains(expected), "{expected:?} is not in: {said}");
        }
        assert_eq!(self.everything(), before, "something was changed: {said}");
    }

    pub(crate) fn json(&self, node: usize, arguments: &[&str]) -> Value {
        let output = self.cluster.lbd(node, arguments).unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
    }

    /// Every node's configuration and list, and the names in the folders that hold them.
    pub(crate) fn everything(&self) -> Vec<(String, Vec<u8>, Vec<String>)> {
        let of = |node: usize| {
            let mut names = Vec::new();
            for folder in [self.own.of(self.name(node), ""), self.config_folder(node)] {
                let entries = fs::read_dir(folder).unwrap();
                names
                    .extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
            }
            names.sort();
            let config = fs::read_to_string(self.cluster.config(node)).unwrap();
            (
                config,
                fs::read(self.own.of(self.name(node), "deny")).unwrap(),
                names,
            )
        };
        (0..self.cluster.len()).map(of).collect()
    }

    pub(crate) fn config_folder(&self, node: usize) -> std::path::PathBuf {
        self.cluster.config(node).parent().unwrap().to_owned()
    }

    /// Replaces the master's list, and waits until it runs there.
    pub(crate) fn deny(&self, list: &str, entries: u64) {
        let file = self.own.of(self.name(MASTER), "deny");
        fs::write(&file, list).unwrap();
        self.wait("the master has its own edit", || {
            self.json(MASTER, &["access", "--json"])["denied"] == entries
        });
    }

    pub(crate) fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "not so: {what}: {}",
                self.cluster.log(MASTER)
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether a node's maps deny the source.
    pub(crate) fn denies(&self, node: usize, source: &str) -> bool {
        self.json(node, &["access", source, "--json"])["source"]["admitted"] == false
    }

    pub(crate) fn edit_config(&self, from: &str, to: &str) {
        let file = self.cluster.config(MASTER);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        let before = self.loaded();
        fs::write(&file, text.replace(from, to)).unwrap();
        self.wait("the master has its own edit", || self.loaded() != before);
    }

    pub(crate) fn loaded(&self) -> Vec<String> {
        let log = self.cluster.log(MASTER);
        let lines = log
            .lines()
            .filter(|line| line.contains("the edited configuration is in use"));
        lines.map(ToOwned::to_owned).collect()
    }

    /// How a peer's configuration compares with a node's, as that node's status has it.
    pub(crate) fn config_of(&self, node: usize, peer: usize) -> Value {
        let status = self.json(node, &["status", "--json"]);
        let mut peers = status["channel"]["peers"].as_array().unwrap().iter();
        let peer = peers.find(|it| it["name"] == self.name(peer)).unwrap();
        peer["config"].clone()
    }

    pub(crate) fn standing(&self, node: usize, peer: usize) -> Value {
        let list = self.json(node, &["push", "--list", "--json"]);
        let peers = list["peers"].as_array().unwrap();
        let named = peers.iter().find(|it| it["name"] == self.name(peer));
        named.unwrap_or_else(|| panic!("{list}")).clone()
    }
}

pub(crate) fn write_key(own: &OwnFiles, node: &Host, secret: &str) {
    let key = own.of(&node.name, "key");
    fs::write(&key, secret).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
}
