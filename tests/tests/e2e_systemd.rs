//! The packaged unit under a real systemd, which is the first process of a namespace of its own: it
//! knows nothing but the unit, D-Bus, and a target that wants that.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    thread,
    time::{Duration, Instant},
};

use lbd_tests::{
    cluster::{Cluster, PATIENCE, Settings, Status, lbd_binary},
    lab::{Host, Lab, Process, Spec, addresses},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

const SYSTEMD: &str = "/lib/systemd/systemd";
/// What its units stand on, all empty.
const TARGETS: [&str; 6] = [
    "basic",
    "multi-user",
    "network-online",
    "shutdown",
    "sockets",
    "sysinit",
];
/// Makes a box of `$1`, a folder with `units`, `etc-lbd` and `lbd`, and becomes its systemd. Nothing of
/// it is seen outside: /etc, /run, /var/lib, control groups and the BPF file system are its own.
const BOX: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
cp -a /etc /mnt/etc
cp -a "$1" /mnt/box
rm -rf /mnt/etc/lbd /mnt/etc/systemd
mv /mnt/box/etc-lbd /mnt/etc/lbd
echo 'lbd:x:980:980::/var/lib/lbd:/usr/sbin/nologin' >> /mnt/etc/passwd
echo 'lbd:x:980:' >> /mnt/etc/group
chown -R 980:980 /mnt/etc/lbd
chmod 755 /mnt /mnt/box /mnt/box/lbd
mount --bind /mnt/etc /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t proc proc /proc
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount --bind "$1/log" /dev/console
container=lbd SYSTEMD_UNIT_PATH=/mnt/box/units exec "$2" --unit=box.target --log-target=console
"#;

/// A node whose daemon is systemd's.
struct Machine {
    host: Host,
    process: Process,
    /// systemd's, seen from here.
    pid: u32,
    log: PathBuf,
}

impl Machine {
    /// Boots one with the configuration and the key that the cluster has written for node `index`.
    fn boot(lab: &Lab, cluster: &Cluster, index: usize) -> Self {
        let host = lab.nodes[index].clone();
        let folder = lab.folder().join("box");
        let [units, etc] = ["units", "etc-lbd"].map(|name| folder.join(name));
        fs::create_dir_all(&units).unwrap();
        fs::create_dir_all(&etc).unwrap();
        fs::copy(lbd_binary().unwrap(), folder.join("lbd")).unwrap();
        for name in TARGETS {
            let unit = format!("[Unit]\nDescription={name}\nDefaultDependencies=no\n");
            fs::write(units.join(format!("{name}.target")), unit).unwrap();
        }
        let boot = "[Unit]\nDescription=a box\nWants=dbus.socket\n";
        fs::write(units.join("box.target"), boot).unwrap();
        for name in ["dbus.service", "dbus.socket"] {
            let from = Path::new("/lib/systemd/system").join(name);
            fs::copy(from, units.join(name)).unwrap();
        }
        let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/lbd.service");
        let unit = fs::read_to_string(packaged).unwrap();
        let unit = unit.replace("/usr/bin/lbd", "/mnt/box/lbd");
        fs::write(units.join("lbd.service"), unit).unwrap();
        // There is no journal.
        let drop_in = units.join("lbd.service.d");
        fs::create_dir_all(&drop_in).unwrap();
        let lines = "[Service]\nStandardOutput=append:/dev/console\nStandardError=inherit\n";
        fs::write(drop_in.join("log.conf"), lines).unwrap();
        // The places that the packaged configuration has.
        let (own, node) = (cluster.config(index), cluster.config(index));
        let node = node.parent().unwrap().display().to_string();
        let text = fs::read_to_string(&own).unwrap();
        let pins = cluster.pin_dir(index).display().to_string();
        let text = text
            .replace(&pins, "/sys/fs/bpf/lbd")
            .replace(&format!("{node}/state"), "/var/lib/lbd")
            .replace(&format!("{node}/lbd.sock"), "/run/lbd/lbd.sock")
            .replace(&format!("{node}/cluster.key"), "/etc/lbd/cluster.key")
            .replace(&format!("{node}/spool"), "/var/lib/lbd/spool");
        assert!(!text.contains(&node), "{text}");
        fs::write(etc.join("lbd.yaml"), text).unwrap();
        fs::copy(own.with_file_name("cluster.key"), etc.join("cluster.key")).unwrap();

        let log = folder.join("log");
        let output = fs::File::create(&log).unwrap();
        let mut command = host.command("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--cgroup"])
            .args(["--uts", "--ipc", "sh", "-c", BOX, "box"])
            .arg(&folder)
            .arg(SYSTEMD)
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let process = host.spawn(&mut command).unwrap();
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let deadline = Instant::now() + PATIENCE;
        let pid = loop {
            let children = fs::read_to_string(&children).unwrap_or_default();
            let first = children.split_whitespace().next();
            if let Some(pid) = first.and_then(|pid| pid.parse().ok()) {
                break pid;
            }
            assert!(Instant::now() < deadline, "unshare made no process");
            thread::sleep(Duration::from_millis(20));
        };
        let machine = Self {
            host,
            process,
            pid,
            log,
        };
        machine.wait("systemd answers", || {
            machine
                .run(&["systemctl", "is-active", "dbus.socket"])
                .status
                .success()
        });
        machine
    }

    /// Runs a program inside.
    fn run(&self, arguments: &[&str]) -> Output {
        let pid = self.pid.to_string();
        let mut command = self.host.command("nsenter");
        command.args(["--target", &pid, "--mount", "--pid", "--ipc"]);
        command.args(arguments).output().unwrap()
    }

    fn systemctl(&self, verb: &str) {
        let output = self.run(&["systemctl", verb, "lbd"]);
        assert!(
            output.status.success(),
            "{verb}: {output:?}\n{}",
            self.said()
        );
    }

    fn status(&self) -> Option<Status> {
        let output = self.run(&["/mnt/box/lbd", "status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    fn said(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not: {what}\n{}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_master(&self) {
        self.wait("it is the master", || {
            self.status().is_some_and(|status| status.is_master())
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.kill();
    }
}

#[test]
fn systemctl_restart_loses_no_session_and_systemctl_stop_leaves_nothing() {
    let name = "systemctl_restart_loses_no_session_and_systemctl_stop_leaves_nothing";
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    if !Path::new(SYSTEMD).exists() || !Path::new("/usr/bin/dbus-daemon").exists() {
        eprintln!("skipped: {name} needs systemd and dbus-daemon");
        return;
    }
    let lab = Lab::new(&Spec::default()).unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let mut cluster = Cluster::new(&lab, Settings::default()).unwrap();
    let machine = Machine::boot(&lab, &cluster, 0);
    for other in [1, 2] {
        cluster.start(other).unwrap();
    }
    machine.systemctl("start");
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
        machine.systemctl("restart");
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

    machine.systemctl("stop");
    cluster
        .wait_status(1, "it is the master", Status::is_master)
        .unwrap();
    assert_eq!(cluster.holders(addresses::VIP4.into()).unwrap(), [1]);
    let pins = machine.run(&["ls", "-A", "/sys/fs/bpf/lbd"]);
    let left = String::from_utf8_lossy(&pins.stdout);
    assert!(left.trim().is_empty(), "pins are left: {left}");
    sessions.retain(|session| session.by() != "mx1");
    assert_eq!(survivors(&mut sessions), sessions.len(), "after the stop");
}
