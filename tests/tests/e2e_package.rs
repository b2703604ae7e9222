//! The packages in a box of their own: installed, upgraded under sessions, removed, purged.
//!
//! `cargo test --workspace --test e2e_package -- --ignored --nocapture`; it packs the built program. The box is
//! a Debian, also for the RPM, so that what an RPM asks of its distribution is not looked at.
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use lbd_tests::{
    cluster::{Cluster, Settings, lbd_binary},
    history::keep_yesterday,
    lab::{Lab, Spec},
    machine::{self, Machine},
    smtp::{
        held::{Held, survivors},
        server::Server,
    },
};

const UNITS: [&str; 5] = [
    "lbd.service",
    "lbd-agent.service",
    "lbd-report.service",
    "lbd-report.timer",
    "lbd-report-mail.service",
];
/// Where a package leaves things.
const PLACES: [&str; 8] = [
    "/etc",
    "/var/lib",
    "/var/spool",
    "/usr/bin",
    "/usr/lib",
    "/usr/share",
    "/run",
    "/sys/fs/bpf",
];

/// Who installs it.
#[derive(Clone, Copy)]
enum Kind {
    Deb,
    Rpm,
}

impl Kind {
    fn is_rpm(self) -> bool {
        matches!(self, Self::Rpm)
    }

    /// Packs the built program as this version.
    fn pack(self, lab: &Lab, version: &str) -> PathBuf {
        let target = lab.folder().join("target");
        if !target.exists() {
            fs::create_dir_all(target.join("release")).unwrap();
            symlink(lbd_binary().unwrap(), target.join("release/lbd")).unwrap();
        }
        let (folder, extension, options) = match self {
            Self::Deb => (
                "debian",
                "deb",
                ["--fast".to_owned(), format!("--deb-version={version}-1")],
            ),
            Self::Rpm => (
                "rpm",
                "rpm",
                [
                    "--payload-compress=none".to_owned(),
                    format!("--set-metadata=version = '{version}'"),
                ],
            ),
        };
        let file = lab.folder().join(format!("lbd-{version}.{extension}"));
        let script = format!("{}/../deploy/{folder}/build.sh", env!("CARGO_MANIFEST_DIR"));
        let mut build = Command::new("sh");
        build
            .arg(script)
            .args(["--no-build", "release"])
            .args(options)
            .arg("--output")
            .arg(&file)
            .env("CARGO_TARGET_DIR", &target);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        file
    }

    fn install(self, machine: &Machine, package: &Path) {
        fs::copy(package, machine.path("/tmp/lbd.package")).unwrap();
        let output = match self {
            Self::Deb => machine.run(&["dpkg", "--install", "/tmp/lbd.package"]),
            // No package of this box's is known to rpm.
            Self::Rpm => machine.run(&["rpm", "--upgrade", "--nodeps", "/tmp/lbd.package"]),
        };
        output.unwrap();
    }

    fn remove(self, machine: &Machine) {
        let output = match self {
            Self::Deb => machine.run(&["apt-get", "--yes", "remove", "lbd"]),
            Self::Rpm => machine.run(&["rpm", "--erase", "lbd"]),
        };
        output.unwrap();
    }
}

/// Every file and folder of lbd's in the box, by its name.
fn of_lbd(machine: &Machine) -> String {
    let mut find = vec!["find"];
    find.extend(PLACES);
    find.extend(["-name", "*lbd*"]);
    machine.run(&find).unwrap()
}

/// Who owns a file of the box, as numbers, and its mode.
fn owner(machine: &Machine, path: &str) -> (u32, u32, u32) {
    let metadata = fs::metadata(machine.path(path)).unwrap();
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

fn main_pid(machine: &Machine) -> String {
    let show = ["systemctl", "show", "lbd", "--value", "--property=MainPID"];
    machine.run(&show).unwrap()
}

/// Whether systemctl says `word` of a unit.
fn is(machine: &Machine, verb: &str, unit: &str, word: &str) -> bool {
    let output = machine.output(&["systemctl", verb, unit]).unwrap();
    String::from_utf8_lossy(&output.stdout).trim() == word
}

#[test]
#[ignore = "half a minute long: makes two packages"]
fn the_package_installs_upgrades_and_leaves() {
    installs_upgrades_and_leaves("the_package_installs_upgrades_and_leaves", Kind::Deb);
}

#[test]
#[ignore = "half a minute long: makes two packages"]
fn the_rpm_installs_upgrades_and_leaves() {
    installs_upgrades_and_leaves("the_rpm_installs_upgrades_and_leaves", Kind::Rpm);
}

fn installs_upgrades_and_leaves(name: &str, kind: Kind) {
    let Some(_turn) = lbd_tests::turn(name) else {
        return;
    };
    let packers: &[&str] = if kind.is_rpm() {
        &["cargo-generate-rpm", "objcopy", "rpm"]
    } else {
        &["cargo-deb", "objcopy"]
    };
    let needs = [packers, &machine::PROGRAMS[..]].concat();
    if !lbd_tests::programs::or_skip(name, &needs) {
        return;
    }
    let lab = Lab::new(&Spec {
        nodes: 1,
        ..Spec::default()
    })
    .unwrap();
    let _servers = Server::start_all(&lab.nodes).unwrap();
    let cluster = Cluster::new(&lab, Settings::default()).unwrap();
    let machine = Machine::boot(&lab, &lab.nodes[0]).unwrap();
    let nothing = of_lbd(&machine);
    let before = lab.nodes[0].snapshot().unwrap();

    kind.install(&machine, &kind.pack(&lab, "0.1.0"));
    installed(&machine, kind);
    machine.configure(&cluster, 0).unwrap();
    machine.run(&["chown", "-R", "lbd:", "/etc/lbd"]).unwrap();
    let checked = machine.run(&["runuser", "-u", "lbd", "--", "lbd", "check"]);
    assert_eq!(checked.unwrap(), "/etc/lbd/lbd.yaml is fine\n");
    // A part of yesterday, to report of.
    keep_yesterday(lab.folder(), "mx1", 144).unwrap();
    let history = fs::read(lab.folder().join("history.db")).unwrap();
    machine.write("/var/lib/lbd/history.db", history).unwrap();
    machine
        .run(&["chown", "-R", "lbd:", "/var/lib/lbd"])
        .unwrap();
    machine.show_log_of("lbd").unwrap();
    machine.show_log_of("lbd-report-mail").unwrap();
    for unit in ["lbd", "lbd-report.timer", "lbd-agent"] {
        machine
            .run(&["systemctl", "enable", "--now", unit])
            .unwrap();
    }
    machine.wait_master();
    machine.wait("it takes sessions", || {
        let status = machine.status();
        status.is_some_and(|status| status.backends.iter().all(|backend| backend.accepting))
    });
    assert!(is(&machine, "is-active", "lbd-report.timer", "active"));
    machine.wait("the agent answers", || {
        let asks = "exec 3<>/dev/tcp/127.0.0.1/9426; printf 'GET /stats HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        let answer = machine.output(&["bash", "-c", asks]).unwrap();
        String::from_utf8_lossy(&answer.stdout).contains("\"queued\"")
    });
    let mut sessions = Held::open_many(lab.client(), 20).unwrap();

    upgrades(kind, &lab, &machine, &mut sessions);
    reports(&machine);

    kind.remove(&machine);
    assert!(!is(&machine, "is-active", "lbd", "active"));
    assert!(!is(&machine, "is-active", "lbd-agent", "active"));
    assert!(!is(&machine, "is-active", "lbd-report.timer", "active"));
    let left = before.differences(&lab.nodes[0].snapshot().unwrap());
    assert_eq!(left, Vec::<String>::new(), "after the removal");
    // The kernel's own are `maps.debug` and `progs.debug`.
    let pins = machine.run(&[
        "find",
        "/sys/fs/bpf",
        "-mindepth",
        "1",
        "-not",
        "-name",
        "*.debug",
    ]);
    assert_eq!(pins.unwrap(), "", "pins after the removal");
    purged(kind, &machine, &nothing);
}

/// What the removal leaves, and that nothing is there once that is gone too.
fn purged(kind: Kind, machine: &Machine, nothing: &str) {
    // What its operator wrote, and what it learned, stay until the purge.
    for kept in [
        "/etc/lbd/lbd.yaml",
        "/etc/lbd/cluster.key",
        "/var/lib/lbd/history.db",
    ] {
        assert!(machine.path(kept).exists(), "{kept}");
    }
    machine.run(&["id", "lbd"]).unwrap();

    machine
        .run(&[
            "rm",
            "-r",
            "/etc/systemd/system/lbd.service.d",
            "/etc/systemd/system/lbd-report-mail.service.d",
        ])
        .unwrap();
    if kind.is_rpm() {
        // An RPM knows no purge: this is what an operator removes.
        machine.run(&["userdel", "lbd"]).unwrap();
        let files = [
            "/etc/lbd",
            "/var/lib/lbd",
            "/etc/default/lbd-report",
            "/var/lib/systemd/timers/stamp-lbd-report.timer",
        ];
        machine.run(&[&["rm", "-rf"], &files[..]].concat()).unwrap();
        assert_eq!(of_lbd(machine), nothing, "after the removal");
        return;
    }
    machine.run(&["apt-get", "--yes", "purge", "lbd"]).unwrap();
    assert_eq!(of_lbd(machine), nothing, "after apt-get purge");
    let passwd = fs::read_to_string(machine.path("/etc/passwd")).unwrap();
    let group = fs::read_to_string(machine.path("/etc/group")).unwrap();
    assert!(!passwd.contains("lbd:") && !group.contains("lbd:"));
    println!("removed: nothing is left; purged: no file, no user");
}

/// What a fresh installation has made, and that it runs nothing yet.
fn installed(machine: &Machine, kind: Kind) {
    let number = |flag| {
        machine
            .run(&["id", flag, "lbd"])
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    let (user, group): (u32, u32) = (number("-u"), number("-g"));
    assert!((1..1000).contains(&user), "a system user, not {user}");
    assert_eq!(owner(machine, "/etc/lbd"), (user, group, 0o750));
    for unit in UNITS {
        machine.run(&["systemctl", "cat", unit]).unwrap();
        let file = format!("/usr/lib/systemd/system/{unit}");
        // It looks whether the manual pages are there, too.
        let verify = ["systemd-analyze", "verify", "--recursive-errors=no", &file];
        let output = machine.output(&verify).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{unit}: {said}");
        assert!(!is(machine, "is-active", unit, "active"), "{unit}");
        assert!(!is(machine, "is-enabled", unit, "enabled"), "{unit}");
        if unit.ends_with(".service") {
            let shown = machine.run(&["systemd-analyze", "security", "--no-pager", unit]);
            let shown = shown.unwrap();
            println!("{}", shown.lines().last().unwrap_or_default().trim());
        }
    }
    let manual = if kind.is_rpm() {
        "/usr/share/man/man8/lbd-push.8"
    } else {
        "/usr/share/man/man8/lbd-push.8.gz"
    };
    for shown in [manual, "/usr/share/doc/lbd/OPERATIONS.md"] {
        assert!(machine.path(shown).exists(), "{shown}");
    }
}

/// A later version takes over: no session ends, and what the operator wrote stays.
fn upgrades(kind: Kind, lab: &Lab, machine: &Machine, sessions: &mut [Held]) {
    let files = ["/etc/lbd", "/etc/lbd/lbd.yaml", "/etc/lbd/cluster.key"];
    let config = fs::read(machine.path(files[1])).unwrap();
    let (owners, pid) = (files.map(|file| owner(machine, file)), main_pid(machine));
    kind.install(machine, &kind.pack(lab, "9.0.0"));
    assert!(
        is(machine, "is-active", "lbd", "active"),
        "{}",
        machine.said()
    );
    assert_ne!(main_pid(machine), pid, "the daemon is the one before");
    machine.wait_master();
    assert_eq!(survivors(sessions), sessions.len(), "{}", machine.said());
    assert_eq!(files.map(|file| owner(machine, file)), owners);
    assert_eq!(fs::read(machine.path(files[1])).unwrap(), config);
    println!("upgraded: {} sessions, none lost", sessions.len());
}

/// The report's services: a page, and a mail of the master's in Postfix's spool.
fn reports(machine: &Machine) {
    machine
        .write(
            "/etc/default/lbd-report",
            "LBD_REPORT_MAIL=postmaster@example.com\n",
        )
        .unwrap();
    let has_postfix = Path::new("/usr/sbin/postdrop").exists();
    if has_postfix {
        // Its package may be there without an answer to where it gets its mail.
        let main = "compatibility_level = 3.6\n";
        machine.write("/etc/postfix/main.cf", main).unwrap();
    }
    machine.run(&["systemctl", "start", "lbd-report"]).unwrap();
    let page = machine.path("/var/lib/lbd/reports/yesterday.html");
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("</html>"), "{text}");
    let made = fs::metadata(&page).unwrap().modified().unwrap();
    assert!(made <= SystemTime::now());
    if !has_postfix {
        println!("no Postfix: no mail");
        return;
    }
    let queued = || {
        fs::read_dir(machine.path("/var/spool/postfix/maildrop"))
            .unwrap()
            .count()
    };
    machine.wait("the mail is in Postfix's spool", || queued() == 1);
    println!("reported: a page of {} bytes, and a mail", text.len());
}
