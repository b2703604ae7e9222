//! The table itself.
use super::{
    Program,
    Set::{self, Bench, Fresh, Kernel, Lab, Named, Style, Test},
    Source::{self, Aside, Base, Box, Cargo, Component, Found, Package, Rust},
};

const NONE: &[Set] = &[];

const fn row(
    name: &'static str,
    source: Source,
    purpose: &'static str,
    essential: &'static [Set],
    wanted: &'static [Set],
) -> Program {
    Program {
        name,
        source,
        purpose,
        essential,
        wanted,
    }
}

/// A program that every Debian has.
const fn base(name: &'static str, purpose: &'static str) -> Program {
    row(name, Base, purpose, NONE, NONE)
}

/// Every program, by what it is for.
pub const TABLE: &[Program] = &[
    // The lab.
    row(
        "ip",
        Package("iproute2"),
        "network namespaces and addresses",
        &[Lab, Bench, Test, Fresh],
        NONE,
    ),
    row(
        "nsenter",
        Package("util-linux"),
        "commands inside a namespace",
        &[Lab, Bench, Test, Fresh],
        NONE,
    ),
    row(
        "unshare",
        Package("util-linux"),
        "boxes with processes of their own",
        &[Test, Fresh],
        NONE,
    ),
    row(
        "mount",
        Package("mount"),
        "the BPF file system",
        &[Lab, Bench, Test, Fresh],
        NONE,
    ),
    row(
        "umount",
        Package("mount"),
        "the BPF file system",
        &[Test, Fresh],
        NONE,
    ),
    row(
        "nft",
        Package("nftables"),
        "links that lose packets, and a balancer to compare with",
        &[Bench, Test],
        NONE,
    ),
    row(
        "bridge",
        Package("iproute2"),
        "what the switch knows of its hosts",
        &[Lab, Bench, Test],
        NONE,
    ),
    row(
        "ss",
        Package("iproute2"),
        "the sockets of a host",
        &[Test],
        NONE,
    ),
    // What else tests and benchmarks use.
    row(
        "smtp-source",
        Package("postfix"),
        "SMTP clients",
        &[Bench],
        &[Test],
    ),
    row(
        "smtp-sink",
        Package("postfix"),
        "SMTP servers",
        &[Bench],
        &[Test],
    ),
    row(
        "postfix",
        Package("postfix"),
        "a real mail server",
        NONE,
        &[Test],
    ),
    row(
        "keepalived",
        Package("keepalived"),
        "a VRRP peer, and failover to compare with",
        &[Bench],
        &[Test],
    ),
    row(
        "vrrpd",
        Package("frr"),
        "a VRRP peer with a MAC of its own",
        NONE,
        &[Test],
    ),
    row(
        "zebra",
        Package("frr"),
        "that peer's way to the kernel",
        NONE,
        &[Test],
    ),
    row(
        "haproxy",
        Package("haproxy"),
        "a balancer to work with and to compare with",
        &[Bench],
        &[Test],
    ),
    row(
        "bird",
        Package("bird2"),
        "a router that spreads over several directors",
        NONE,
        &[Test],
    ),
    row(
        "bpftool",
        Package("bpftool"),
        "the maps as a person reads them",
        NONE,
        &[Test],
    ),
    row(
        "chromium",
        Package("chromium"),
        "the pages in a browser",
        NONE,
        &[Test],
    ),
    row(
        "promtool",
        Aside("prometheus"),
        "the metrics as Prometheus reads them",
        NONE,
        &[Test],
    ),
    row("ansible-playbook", Found, "the Ansible role", NONE, &[Test]),
    row(
        "llvm-objdump",
        Package("llvm"),
        "the XDP program's instructions",
        NONE,
        &[Test],
    ),
    row(
        "systemctl",
        Package("systemd"),
        "the units under a systemd of their own",
        NONE,
        &[Test, Named],
    ),
    row(
        "systemd-analyze",
        Package("systemd"),
        "what the units allow",
        NONE,
        &[Named],
    ),
    row(
        "dbus-daemon",
        Package("dbus"),
        "the bus of that systemd",
        NONE,
        &[Test, Named],
    ),
    row("cargo-deb", Cargo, "the Debian package", NONE, &[Named]),
    // An older kernel in an emulated machine.
    row(
        "qemu-system-x86_64",
        Package("qemu-system-x86"),
        "an emulated machine with an older kernel",
        &[Kernel],
        &[Test],
    ),
    row(
        "busybox",
        Package("busybox-static"),
        "that machine's programs",
        &[Kernel],
        &[Test],
    ),
    // A minimal Debian to try both commands on.
    row(
        "mmdebstrap",
        Package("mmdebstrap"),
        "a minimal Debian",
        &[Fresh],
        NONE,
    ),
    row(
        "git",
        Package("git"),
        "tracked files, and an earlier commit's",
        &[Fresh],
        &[Named],
    ),
    // The Rust toolchain.
    row("cargo", Rust, "builds", NONE, NONE),
    row("rustc", Rust, "the eBPF compiler", NONE, NONE),
    row("rustup", Rust, "parts of the toolchain", NONE, NONE),
    row(
        "cargo-fmt",
        Component("rustfmt"),
        "the format of the code",
        &[Style, Test],
        NONE,
    ),
    row(
        "cargo-clippy",
        Component("clippy"),
        "lints",
        &[Style, Test],
        NONE,
    ),
    // A faster way to the linker of the eBPF programs than to compile it.
    row("curl", Found, "downloads bpf-linker", NONE, NONE),
    row("zstd", Found, "unpacks bpf-linker", NONE, NONE),
    // What lbd starts on a box that asks for it.
    row("sendmail", Box, "sends reports", NONE, NONE),
    row("getent", Base, "the package's user", NONE, NONE),
    row("useradd", Base, "the package's user", NONE, NONE),
    row("userdel", Base, "the package's user", NONE, NONE),
    // Shells and their like.
    base("sh", "scripts"),
    base("bash", "scripts of a person's"),
    base("env", "starts the CI script"),
    base("apt-cache", "what can be installed"),
    base("apt-config", "how downloads go"),
    base("apt-get", "installs"),
    base("debconf-set-selections", "answers what a package would ask"),
    base("dpkg", "installs a package"),
    base("dpkg-deb", "unpacks a package"),
    base("dpkg-query", "what is installed"),
    base("ldd", "the libraries of a program"),
    base("tar", "unpacks"),
    base("cat", "files"),
    base("chmod", "files"),
    base("chown", "files"),
    base("cp", "files"),
    base("dirname", "files"),
    base("find", "files"),
    base("id", "users"),
    base("install", "files"),
    base("ls", "files"),
    base("mkdir", "files"),
    base("mktemp", "files"),
    base("mv", "files"),
    base("rm", "files"),
    base("rmdir", "files"),
    base("sed", "text"),
    base("nice", "priorities"),
    base("pivot_root", "roots"),
    base("runuser", "other users"),
    base("setpriv", "other users"),
    base("seq", "numbers"),
    base("sleep", "time"),
    base("timeout", "limits"),
];
