//! The packaged unit under a real systemd, in boxes of their own.
use std::{fs, os::unix::fs::MetadataExt as _, process::Output, sync::MutexGuard};

use lbd_tests::{
    cluster::{Cluster, Settings, Status},
    lab::{Lab, Spec, addresses},
    machine::{self, Machine},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

/// A box with the packaged unit, configured for a node of the cluster as OPERATIONS.md says.
fn installed(lab: &Lab, cluster: &Cluster, index: usize) -> Machine {
    let machine = Machine::boot(lab, &lab.nodes[index]).unwrap();
    machine.install_lbd().unwrap();
    machine.configure(cluster, index).unwrap();
    machine.run(&["chown", "-R", "lbd:", "/etc/lbd"]).unwrap();
    machine
}

/// This test's turn; none where it has to be skipped.
fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    lbd_tests::turn(test).filter(|_| lbd_tests::programs::or_skip(test, &machine::PROGRAMS))
}

fn two_nodes() -> Lab {
    Lab::new(&Spec {
        nodes: 2,
        ..Spec::default()
    })
    .unwrap()
}

#[test]
fn systemctl_restart_loses_no_session_and_systemctl_stop_leaves_nothing() {
    let name = "systemctl_restart_loses_no_session_and_systemctl_stop_leaves_nothing";
    let Some(_turn) = turn(name) else {
        return;
    };
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::new(&lab, Settings::default()).unwrap();
    let machine = installed(&lab, &cluster, 0);
    for other in [1, 2] {
        cluster.start(other).unwrap();
    }
    machine.run(&["systemctl", "start", "lbd"]).unwrap();
    machine.wait_master();
    machine.wait("it takes sessions everywhere", || {
        let status = machine.status();
        status.is_some_and(|status| status.backends.iter().all(|backend| backend.accepting))
    });
    let mut sessions = Held::open_many(lab.client(), 60).unwrap();
    let times_master =
        |cluster: &Cluster| [1, 2].map(|node| cluster.status(node).unwrap().election.times_master);
    let before = times_master(&cluster);
    for nth in 1..=3 {
        machine.run(&["systemctl", "restart", "lbd"]).unwrap();
        assert_eq!(survivors(&mut sessions), sessions.len(), "at restart {nth}");
        machine.wait_master();
        assert_eq!(
            survivors(&mut sessions),
            sessions.len(),
            "after restart {nth}"
        );
        sessions.extend(Held::open_many(lab.client(), 10).unwrap());
    }
    assert_eq!(times_master(&cluster), before, "another node became master");
    println!(
        "3 times systemctl restart: {} sessions, none lost",
        sessions.len()
    );

    machine.run(&["systemctl", "stop", "lbd"]).unwrap();
    cluster
        .wait_status(1, "it is the master", Status::is_master)
        .unwrap();
    assert_eq!(cluster.holders(addresses::VIP4.into()).unwrap(), [1]);
    let left = machine.run(&["ls", "-A", "/sys/fs/bpf/lbd"]).unwrap();
    assert!(left.trim().is_empty(), "pins are left: {left}");
    sessions.retain(|session| session.by() != "mx1");
    assert_eq!(survivors(&mut sessions), sessions.len(), "after the stop");
}

/// Two boxes with the packaged unit; the first is the master.
struct Pair {
    boxes: [Machine; 2],
    /// Without a healthy backend both ask to be relieved, and the second one may stay the master.
    _servers: Vec<Server>,
    _lab: Lab,
}

const CONFIG: &str = "/etc/lbd/lbd.yaml";

impl Pair {
    fn start() -> Self {
        let lab = Lab::new(&Spec {
            nodes: 2,
            ..Spec::default()
        })
        .unwrap();
        let servers = Server::start_all(&lab.nodes).unwrap();
        let settings = Settings {
            more: "  access: {deny_file: /etc/lbd/deny}\n".to_owned(),
            ..Settings::default()
        };
        let cluster = Cluster::new(&lab, settings).unwrap();
        let boxes = [0, 1].map(|index| installed(&lab, &cluster, index));
        for machine in &boxes {
            machine.write("/etc/lbd/deny", "198.51.100.1\n").unwrap();
            machine.run(&["chown", "lbd:", "/etc/lbd/deny"]).unwrap();
            machine.run(&["systemctl", "start", "lbd"]).unwrap();
        }
        boxes[0].wait_master();
        Self {
            boxes,
            _servers: servers,
            _lab: lab,
        }
    }

    /// What a push of an edit is to change on the second box: each file of /etc/lbd, whose it is, its mode
    /// and its text.
    fn seen(&self) -> Vec<(String, u32, u32, String)> {
        let folder = self.boxes[1].path("/etc/lbd");
        let entries = fs::read_dir(folder).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let metadata = fs::metadata(&path).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            (name, metadata.uid(), metadata.mode() & 0o7777, text)
        });
        let mut seen: Vec<_> = entries.collect();
        seen.sort();
        seen
    }

    /// Pushes from the first box, which is the master: on a busy machine the other one takes its place for
    /// a moment.
    fn push(&self, arguments: &[&str]) -> Output {
        let arguments = [&["lbd", "push", "--yes"][..], arguments].concat();
        for _ in 0..3 {
            self.boxes[0].wait_master();
            let output = self.boxes[0].output(&arguments).unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            if !said.contains("this node is not the master") {
                return output;
            }
        }
        panic!("the first box does not stay master");
    }

    fn pushed(&self, arguments: &[&str]) {
        let output = self.push(arguments);
        assert!(
            output.status.success(),
            "{output:?}\n{}",
            self.boxes[1].said()
        );
    }

    fn refused(&self, expected: &[&str]) {
        let before = self.seen();
        let output = self.push(&[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        // A terminal's width breaks the sentence anywhere.
        let said: Vec<&str> = said.split_whitespace().collect();
        let said = said.join(" ");
        for expected in expected {
            assert!(said.contains(expected), "{expected:?} is not in: {said}");
        }
        assert_eq!(self.seen(), before, "something was changed: {said}");
        println!("refused: {said}");
    }
}

#[test]
fn a_push_works_under_the_packaged_unit_or_says_whose_file_stands_in_its_way() {
    let name = "a_push_works_under_the_packaged_unit_or_says_whose_file_stands_in_its_way";
    let Some(_turn) = turn(name) else {
        return;
    };
    let pair = Pair::start();
    let [first, second] = &pair.boxes;
    let uid: u32 = second
        .run(&["id", "-u", "lbd"])
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(uid > 0);
    let edited = |from: &str, to: &str| {
        let text = fs::read_to_string(first.path(CONFIG)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(first.path(CONFIG), text.replace(from, to)).unwrap();
    };

    // As OPERATIONS.md has it: all of /etc/lbd is lbd's.
    edited("ports: [25]", "ports: [25, 587]");
    first.write("/etc/lbd/deny", "198.51.100.2\n").unwrap();
    let before = pair.seen();
    pair.pushed(&[]);
    let after = pair.seen();
    for ((name, was, mode_was, _), (same, is, mode, text)) in before.iter().zip(&after) {
        assert_eq!(
            (name, was, mode_was),
            (same, is, mode),
            "owner and mode stay"
        );
        assert_eq!(*is, uid, "{name}");
        let new = text.contains("[25, 587]") || text == "198.51.100.2\n";
        assert_eq!(new, name != "cluster.key", "{name}: {text}");
    }
    second.wait("it runs there", || {
        let output = second.output(&["lbd", "access", "198.51.100.2"]).unwrap();
        String::from_utf8_lossy(&output.stdout).contains("denied")
    });

    // A file that root copied there stays root's, so it cannot be replaced.
    second.run(&["chown", "root:", CONFIG]).unwrap();
    edited("[25, 587]", "[25, 465]");
    pair.refused(&[
        "mx2",
        "lbd.yaml belongs to root",
        "`chown lbd /etc/lbd/lbd.yaml`",
    ]);
    // A folder that lbd may not write into.
    second.run(&["chown", "lbd:", CONFIG]).unwrap();
    second.run(&["chown", "root:lbd", "/etc/lbd"]).unwrap();
    second.run(&["chmod", "750", "/etc/lbd"]).unwrap();
    pair.refused(&[
        "mx2",
        "lbd runs as lbd, who must be able to write in /etc/lbd",
    ]);
    second.run(&["chown", "lbd:", "/etc/lbd"]).unwrap();
    pair.pushed(&[]);
    // The master's own files, which going back changes.
    first.run(&["chown", "root:", CONFIG]).unwrap();
    let output = pair.push(&["--back"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    first.run(&["chown", "lbd:", CONFIG]).unwrap();
    pair.pushed(&["--back"]);
    let text = fs::read_to_string(first.path(CONFIG)).unwrap();
    assert!(text.contains("[25, 587]"), "{text}");
    assert_eq!(fs::metadata(first.path(CONFIG)).unwrap().uid(), uid);
}

#[test]
fn the_journal_has_fields_of_what_happens() {
    let name = "the_journal_has_fields_of_what_happens";
    let Some(_turn) = turn(name) else {
        return;
    };
    let lab = two_nodes();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::new(&lab, Settings::default()).unwrap();
    let machine = installed(&lab, &cluster, 0);
    // As the package leaves it: these boxes' logs go to a file otherwise.
    machine
        .write(
            "/etc/systemd/system/lbd.service.d/zz-journal.conf",
            "[Service]\nStandardOutput=journal\nStandardError=journal\n",
        )
        .unwrap();
    machine.run(&["systemctl", "daemon-reload"]).unwrap();
    machine
        .run(&["systemctl", "start", "systemd-journald"])
        .unwrap();
    cluster.start(1).unwrap();
    machine.run(&["systemctl", "start", "lbd"]).unwrap();
    machine.wait_master();
    let logged = |fields: &[&str]| {
        let journal = ["journalctl", "--quiet", "--no-pager", "--output=cat"];
        machine.run(&[&journal[..], fields].concat()).unwrap()
    };
    let roles = logged(&["EVENT=role"]);
    assert!(
        roles.lines().any(|line| line.starts_with("master: ")),
        "{roles}"
    );
    assert!(!roles.contains("mx2 takes"), "another event: {roles}");
    machine.wait("the other backend is told of", || {
        logged(&["BACKEND=mx2"]).contains("mx2 takes sessions")
    });
    machine.run(&["lbd", "drain", "mx2"]).unwrap();
    let drained = logged(&["EVENT=operator", "BACKEND=mx2", "_SYSTEMD_UNIT=lbd.service"]);
    assert!(drained.contains("operator: mx2 is drained"), "{drained}");
    assert_eq!(logged(&["EVENT=operator", "BACKEND=mx1"]), "");
}

#[test]
fn check_is_fine_for_root_and_for_the_service_when_the_files_are_the_services() {
    let name = "check_is_fine_for_root_and_for_the_service_when_the_files_are_the_services";
    let Some(_turn) = turn(name) else {
        return;
    };
    let lab = two_nodes();
    let cluster = Cluster::new(&lab, Settings::default()).unwrap();
    // With the `chown -R lbd:` of OPERATIONS.
    let machine = installed(&lab, &cluster, 0);
    let service = ["runuser", "-u", "lbd", "--", "lbd", "check"];
    for check in [&["lbd", "check"][..], &service] {
        let said = machine.run(check).unwrap();
        assert!(said.contains("is fine"), "{check:?}: {said}");
    }
    // Another user's key is still refused.
    let key = "/etc/lbd/cluster.key";
    machine.run(&["chown", "nobody", key]).unwrap();
    let refused = machine.run(&["lbd", "check"]).unwrap_err();
    assert!(
        format!("{refused:#}").contains("another user"),
        "{refused:#}"
    );
}

#[test]
fn the_packaged_agent_tells_a_director_of_its_boxs_sessions() {
    let name = "the_packaged_agent_tells_a_director_of_its_boxs_sessions";
    let Some(_turn) = turn(name) else {
        return;
    };
    let lab = two_nodes();
    let mail = &lab.nodes[1];
    mail.hold_vips().unwrap();
    let _server = Server::start(mail, None).unwrap();
    // One director, which is no backend, and a box that runs the agent's unit and nothing else of lbd.
    let settings = Settings {
        directors: vec![0],
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&lab, settings).unwrap();
    let machine = installed(&lab, &cluster, 1);
    machine.run(&["chown", "-R", "root:", "/etc/lbd"]).unwrap();
    machine.show_log_of("lbd-agent").unwrap();
    let listen = format!(
        "[Service]\nExecStart=\nExecStart=/usr/bin/lbd agent --listen {}:9426\n",
        mail.address4()
    );
    machine
        .write(
            "/etc/systemd/system/lbd-agent.service.d/listen.conf",
            listen,
        )
        .unwrap();
    machine.run(&["systemctl", "daemon-reload"]).unwrap();
    machine.run(&["systemctl", "start", "lbd-agent"]).unwrap();
    cluster.start(0).unwrap();
    let tells = |expected| {
        let what = "whether the agent tells";
        let told = cluster.wait_status(0, what, |status| {
            let peers = &status.channel.peers;
            status.is_master()
                && peers.iter().any(|peer| peer.tells_sessions == expected)
                && status.backends.iter().all(|backend| backend.accepting)
        });
        assert!(told.is_ok(), "{told:?}\n{}", machine.said());
    };
    tells(true);
    // Their clients have sent no data: nothing but the box's own word makes these sessions.
    let sessions = Held::open_many(lab.client(), 20).unwrap();
    let counts = |expected| {
        let what = "the sessions that the box has";
        cluster
            .wait_status(0, what, |status| status.sessions() == expected)
            .unwrap();
    };
    counts(20);
    // That their clients close them is a mark; that the server does so too is the end.
    drop(sessions);
    counts(0);
    let user = machine
        .run(&["systemctl", "show", "-p", "MainPID", "--value", "lbd-agent"])
        .unwrap();
    let status =
        fs::read_to_string(machine.path(&format!("/proc/{}/status", user.trim()))).unwrap();
    let uid = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    println!("told by the unit as a user of its own, {uid}");
    assert!(!uid.contains("\t0"), "{uid}");
    machine.run(&["systemctl", "stop", "lbd-agent"]).unwrap();
}
