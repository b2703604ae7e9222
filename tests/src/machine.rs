//! A Debian box with a real systemd: the packages of this machine, and nothing that it does to them is
//! seen outside.
//!
//! Its root is an overlay of this machine's, its processes and its network are its own, and its systemd
//! is the first of them. It starts D-Bus and what it is told to, and nothing else.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cluster::{Cluster, PATIENCE, Status, lbd_binary},
    lab::{Host, Lab, Process},
};

/// What a box needs on this machine.
pub const PROGRAMS: [&str; 2] = ["systemctl", "dbus-daemon"];
/// What its units stand on, all empty.
const TARGETS: [&str; 7] = [
    "basic",
    "multi-user",
    "network-online",
    "shutdown",
    "sockets",
    "sysinit",
    "timers",
];
/// Makes the box of `$1`, a folder with `units` and a `log`, and becomes its systemd.
const BOOT: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
# What this machine's own units would start.
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires
rm -rf lib/systemd/system/*.target.wants lib/systemd/system/*.target.requires
rm -f usr/sbin/policy-rc.d
# What an lbd of this machine's own has left.
rm -rf etc/lbd var/lib/lbd
cp "$1"/units/* etc/systemd/system/
mkdir old
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount --bind "$1/log" dev/console
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
pivot_root . old
umount -l /old
rmdir /old
container=lbd SYSTEMD_UNIT_PATH=/etc/systemd/system:/lib/systemd/system \
    exec /lib/systemd/systemd --unit=box.target --log-target=console
"#;

/// A booted box; dropping it ends all of it.
#[derive(Debug)]
pub struct Machine {
    host: Host,
    process: Process,
    /// systemd's, seen from here.
    pid: u32,
    log: PathBuf,
}

impl Machine {
    /// Boots one in the network of `host`. A test asks before whether [`PROGRAMS`] are there.
    pub fn boot(lab: &Lab, host: &Host) -> Result<Self> {
        let folder = lab.folder().join(format!("box-{}", host.name));
        let units = folder.join("units");
        fs::create_dir_all(&units)?;
        for name in TARGETS {
            let unit = format!("[Unit]\nDescription={name}\nDefaultDependencies=no\n");
            fs::write(units.join(format!("{name}.target")), unit)?;
        }
        let boot = "[Unit]\nDescription=a box\nWants=dbus.socket\n";
        fs::write(units.join("box.target"), boot)?;
        let log = folder.join("log");
        let output = fs::File::create(&log)?;
        let mut command = host.command("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--cgroup"])
            .args(["--uts", "--ipc", "sh", "-c", BOOT, "box"])
            .arg(&folder)
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut process = host.spawn(&mut command)?;
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let deadline = Instant::now() + PATIENCE;
        let pid = loop {
            let children = fs::read_to_string(&children).unwrap_or_default();
            let first = children.split_whitespace().next();
            if let Some(pid) = first.and_then(|pid| pid.parse().ok()) {
                break pid;
            }
            ensure!(
                process.status().is_none() && Instant::now() < deadline,
                "unshare made no process: {}",
                fs::read_to_string(&log)?
            );
            thread::sleep(Duration::from_millis(20));
        };
        let machine = Self {
            host: host.clone(),
            process,
            pid,
            log,
        };
        machine.wait("systemd answers", || {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.trim() == "systemd")
                && machine
                    .output(&["systemctl", "is-active", "dbus.socket"])
                    .is_ok_and(|output| output.status.success())
        });
        Ok(machine)
    }

    /// Its file of this path, as it is seen from outside.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// Writes a file of its.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let file = self.path(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, bytes).with_context(|| path.to_owned())
    }

    /// Runs a program inside and ignores its result.
    pub fn output(&self, arguments: &[&str]) -> Result<Output> {
        let pid = self.pid.to_string();
        let mut command = self.host.command("nsenter");
        command.args(["--target", &pid, "--all", "--root", "--wd", "--"]);
        Ok(command.args(arguments).env("LC_ALL", "C").output()?)
    }

    /// Runs a program inside that must succeed; what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {output:?}\n{}",
            self.said()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What its systemd and its services said last.
    #[must_use]
    pub fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits for a condition.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not: {what}\n{}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Installs lbd as the package does, by its own script, for who does not test the package.
    pub fn install_lbd(&self) -> Result<()> {
        fs::copy(lbd_binary()?, self.path("/usr/bin/lbd"))?;
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        for entry in fs::read_dir(&deploy)? {
            let file = entry?.path();
            if file
                .extension()
                .is_some_and(|it| it == "service" || it == "timer")
            {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                self.write(&format!("/lib/systemd/system/{name}"), fs::read(&file)?)?;
            }
        }
        self.write("/tmp/postinst", fs::read(deploy.join("debian/postinst"))?)?;
        self.run(&["sh", "/tmp/postinst", "configure"])?;
        self.show_log_of("lbd")
    }

    /// Gives it the configuration and the key that the cluster has written for a node, at the places of
    /// the packaged configuration. Root writes them, as a person does.
    pub fn configure(&self, cluster: &Cluster, index: usize) -> Result<()> {
        let own = cluster.config(index);
        let folder = own.parent().context("a file has a folder")?;
        let node = folder.display().to_string();
        let pins = cluster.pin_dir(index).display().to_string();
        let text = fs::read_to_string(&own)?
            .replace(&pins, "/sys/fs/bpf/lbd")
            .replace(&format!("{node}/state"), "/var/lib/lbd")
            .replace(&format!("{node}/lbd.sock"), "/run/lbd/lbd.sock")
            .replace(&format!("{node}/cluster.key"), "/etc/lbd/cluster.key")
            .replace(&format!("{node}/spool"), "/var/lib/lbd/spool");
        ensure!(!text.contains(&node), "{text}");
        self.write("/etc/lbd/lbd.yaml", text)?;
        self.write(
            "/etc/lbd/cluster.key",
            fs::read(folder.join("cluster.key"))?,
        )?;
        self.run(&["chmod", "600", "/etc/lbd/cluster.key"])
            .map(drop)
    }

    /// What `lbd status` says inside, while it says anything.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let output = self.output(&["lbd", "status", "--json"]).ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until its lbd is the master.
    pub fn wait_master(&self) {
        self.wait("it is the master", || {
            self.status().is_some_and(|status| status.is_master())
        });
    }

    /// Has a service write to the console, as there is no journal.
    pub fn show_log_of(&self, service: &str) -> Result<()> {
        let lines = "[Service]\nStandardOutput=append:/dev/console\nStandardError=inherit\n";
        let drop_in = format!("/etc/systemd/system/{service}.service.d/log.conf");
        self.write(&drop_in, lines)?;
        self.run(&["systemctl", "daemon-reload"]).map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.kill();
    }
}
