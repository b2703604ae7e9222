//! Which sets run which sources, and which programs stand behind an expression.
use super::super::Set::{self, Bench, Fresh, Kernel, Lab, Named, Style, Test};

/// The workspace's own folders.
pub(super) const FOLDERS: [&str; 7] = [
    ".ci",
    "deploy",
    "lbd",
    "lbd-common",
    "lbd-ebpf",
    "tests",
    "xtask",
];

/// The only process of the emulated machine, whose programs are all busybox's.
pub(super) const EMULATED: &str = "xtask/src/kernel/init.sh";

/// Programs of this workspace, one that must not be there, and the one that is in no folder of PATH: the
/// table has its package's `systemctl`.
pub(super) const OWN: [&str; 3] = ["lbd", "no-such-program-at-all", "systemd"];

/// By the start of a path; the longest that fits says which sets run a file.
const SETS: &[(&str, &[Set])] = &[
    (".ci/", &[Test]),
    // What an operator's own bouncer calls; it calls lbd.
    ("deploy/crowdsec/", &[]),
    ("deploy/debian/", &[Named]),
    ("deploy/package-files.sh", &[Named]),
    ("deploy/rpm/", &[Named]),
    ("lbd/", &[Style]),
    ("lbd-common/", &[Style]),
    ("lbd-ebpf/", &[Style]),
    ("tests/build.rs", &[Lab]),
    ("tests/floor/", &[Style]),
    ("tests/src/", &[Lab, Bench, Test]),
    ("tests/src/bin/elect-node.rs", &[Test]),
    ("tests/src/bin/lbd-bench/", &[Bench]),
    ("tests/src/bin/lbd-lab/", &[Lab]),
    ("tests/src/browser.rs", &[Test]),
    ("tests/src/election/", &[Test]),
    ("tests/src/lab/container.rs", &[Test]),
    ("tests/src/lab/nft.rs", &[Bench, Test]),
    ("tests/src/machine.rs", &[Test]),
    ("tests/src/postfix", &[Bench, Test]),
    ("tests/src/postfix/", &[Test]),
    ("tests/tests/", &[Test]),
    ("tests/tests/e2e_package.rs", &[Named]),
    ("tests/tests/upgrade.rs", &[Named]),
    ("xtask/", &[Lab, Test]),
    ("xtask/src/fresh/", &[Fresh]),
    ("xtask/src/kernel/", &[Kernel, Test]),
    // It is what runs when programs are missing: it starts what every Debian has, and what it finds.
    ("xtask/src/setup/", &[]),
];

/// What may stand behind an expression, by the start of a path and the expression. Our own programs
/// are none.
const VARIABLES: &[(&str, &str, &[&str])] = &[
    (
        "lbd/src/archive/tests.rs",
        "std::env::current_exe().unwrap()",
        &[],
    ),
    ("lbd/tests/exit_codes.rs", "LBD", &[]),
    // An operator's own command, from the configuration.
    ("lbd/src/daemon/steering/poll/command.rs", "program", &[]),
    ("lbd/src/commands/report/mail.rs", "sendmail", &["sendmail"]),
    // The callers are read instead, and a person's own command is theirs.
    ("tests/src/bin/lbd-lab/by_hand.rs", "&args.command", &[]),
    ("tests/src/machine.rs", "arguments", &[]),
    ("tests/tests/e2e_bad_input.rs", "binary", &[]),
    (
        "tests/tests/e2e_bad_input.rs",
        "lbd_tests::cluster::lbd_binary().unwrap()",
        &[],
    ),
    ("tests/src/lab/host.rs", "program", &[]),
    ("tests/tests/lab.rs", "env!(\"CARGO_BIN_EXE_lbd-lab\")", &[]),
    ("tests/src/election/node.rs", "elect_node", &[]),
    ("tests/src/election/frr.rs", "zebra", &["zebra"]),
    ("tests/src/election/frr.rs", "vrrpd", &["vrrpd"]),
    ("tests/src/cluster/mod.rs", "&self.binary", &[]),
    ("tests/tests/", "lbd_binary().unwrap()", &[]),
    (
        "tests/tests/",
        "lbd_tests::cluster::lbd_binary().unwrap()",
        &[],
    ),
    ("tests/tests/", "std::env::current_exe().unwrap()", &[]),
    ("tests/tests/xdp_object.rs", "objdump", &["llvm-objdump"]),
    (
        "xtask/src/ebpf.rs",
        "toolchain.bin.join(\"cargo\")",
        &["cargo"],
    ),
    ("xtask/src/fuzz.rs", "binary", &[]),
    ("xtask/src/lab.rs", "&path", &[]),
    ("xtask/src/process.rs", "program", &[]),
    ("xtask/src/test/built.rs", "&self.path", &[]),
    ("xtask/src/toolchain.rs", "rustc", &["rustc"]),
];

/// What lbd starts on the box that it runs on, when it is told to; no test of ours reaches it without
/// that box.
pub(super) const ON_A_BOX: [&str; 1] = ["systemctl"];

/// Programs of the table that are started by another one: cargo's subcommands, a shebang, and what a
/// program of the table must find.
pub(super) const ELSEWHERE: [&str; 8] = [
    "bash",
    "cargo-clippy",
    "cargo-deb",
    "cargo-fmt",
    "cargo-generate-rpm",
    "dbus-daemon",
    "env",
    "zstd",
];

/// The sets that run a file; `None` where no start of its path is known.
pub(super) fn sets(path: &str) -> Option<&'static [Set]> {
    let known = SETS.iter().filter(|(start, _)| path.starts_with(start));
    known
        .max_by_key(|(start, _)| start.len())
        .map(|(_, sets)| *sets)
}

/// The programs behind an expression.
pub(super) fn variable(path: &str, expression: &str) -> Option<&'static [&'static str]> {
    let known = VARIABLES
        .iter()
        .find(|(start, text, _)| path.starts_with(start) && *text == expression);
    known.map(|(_, _, programs)| *programs)
}
