//! What each command needs on this machine, and what of it is missing.

/// A program, and the Debian package that it comes with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// What it is for, in a few words.
    pub(crate) purpose: &'static str,
}

const fn program(name: &'static str, package: &'static str, purpose: &'static str) -> Program {
    Program {
        name,
        package,
        purpose,
    }
}

/// The lab of `cargo xtask run`.
const LAB: [Program; 3] = [
    program("ip", "iproute2", "network namespaces and addresses"),
    program("nsenter", "util-linux", "commands inside a namespace"),
    program("mount", "mount", "the BPF file system"),
];

/// The end-to-end tests, besides the lab.
const END_TO_END: [Program; 7] = [
    program("ethtool", "ethtool", "offloads of the test's interfaces"),
    program("bpftool", "bpftool", "the maps as a person reads them"),
    program("smtp-source", "postfix", "SMTP clients"),
    program("smtp-sink", "postfix", "SMTP servers"),
    program("keepalived", "keepalived", "a VRRP peer"),
    program("nft", "nftables", "cut links"),
    program(
        "bird",
        "bird2",
        "a router that spreads over several directors",
    ),
];

/// What the benchmarks compare with, and send sessions with.
const BENCH: [Program; 6] = [
    program(
        "ethtool",
        "ethtool",
        "offloads of the benchmarks' interfaces",
    ),
    program("smtp-source", "postfix", "SMTP clients"),
    program("smtp-sink", "postfix", "SMTP servers"),
    program("keepalived", "keepalived", "failover to compare with"),
    program("nft", "nftables", "a balancer to compare with"),
    program("haproxy", "haproxy", "a balancer to compare with"),
];

/// An older kernel in an emulated machine.
const KERNEL: [Program; 2] = [
    program(
        "qemu-system-x86_64",
        "qemu-system-x86",
        "an emulated machine with an older kernel",
    ),
    program("busybox", "busybox-static", "that machine's programs"),
];

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Set {
    /// To compile everything.
    Build,
    /// To run the lab.
    Lab,
    /// To run the benchmarks.
    Bench,
    /// To run the XDP fixtures on an older kernel.
    Kernel,
    /// To run every test. Without root that is no more than to compile and to check the style.
    Test { root: bool },
}

impl Set {
    /// The programs, those of the eBPF build apart.
    pub(crate) fn programs(self) -> Vec<Program> {
        match self {
            Self::Build | Self::Test { root: false } => Vec::new(),
            Self::Lab => LAB.to_vec(),
            Self::Bench => LAB.into_iter().chain(BENCH).collect(),
            Self::Kernel => KERNEL.to_vec(),
            Self::Test { root: true } => LAB.into_iter().chain(END_TO_END).chain(KERNEL).collect(),
        }
    }

    /// The parts of a Rust toolchain beyond compiler and cargo, by their programs' names.
    pub(crate) fn rust_components(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Build | Self::Lab | Self::Bench | Self::Kernel => &[],
            Self::Test { .. } => &[("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")],
        }
    }
}

/// What is on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Names of programs.
    pub(crate) programs: Vec<&'static str>,
    /// A compiler with the source of its own `core`.
    pub(crate) core_source: bool,
    /// `bpf-linker`.
    pub(crate) linker: bool,
}

/// What has to be installed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Missing {
    pub(crate) programs: Vec<Program>,
    pub(crate) rust_components: Vec<&'static str>,
    pub(crate) core_source: bool,
    pub(crate) linker: bool,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The packages of the missing programs, each once.
    pub(crate) fn packages(&self) -> Vec<&'static str> {
        let mut packages: Vec<&str> = self.programs.iter().map(|p| p.package).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }
}

/// What of `set` is not `found`.
pub(crate) fn missing(set: Set, found: &Found) -> Missing {
    let absent = |name: &str| !found.programs.contains(&name);
    let programs = set.programs().into_iter().filter(|p| absent(p.name));
    let components = set.rust_components().iter();
    let components = components.filter(|(name, _)| absent(name));
    Missing {
        programs: programs.collect(),
        rust_components: components.map(|(_, component)| *component).collect(),
        core_source: !found.core_source,
        linker: !found.linker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Found {
        let set = Set::Test { root: true };
        let programs = set.programs().into_iter().chain(BENCH).map(|p| p.name);
        let components = set.rust_components().iter().map(|(name, _)| *name);
        Found {
            programs: programs.chain(components).collect(),
            core_source: true,
            linker: true,
        }
    }

    #[test]
    fn nothing_is_missing_where_everything_is_found() {
        for set in [
            Set::Build,
            Set::Lab,
            Set::Bench,
            Set::Kernel,
            Set::Test { root: false },
            Set::Test { root: true },
        ] {
            assert!(missing(set, &everything()).is_empty(), "{set:?}");
        }
    }

    #[test]
    fn the_lab_needs_no_mail_system_and_no_root_needs_no_lab() {
        let packages = |set| missing(set, &Found::default()).packages();
        assert_eq!(packages(Set::Lab), ["iproute2", "mount", "util-linux"]);
        assert_eq!(packages(Set::Test { root: false }), Vec::<&str>::new());
        assert!(packages(Set::Test { root: true }).contains(&"postfix"));
        assert_eq!(packages(Set::Build), Vec::<&str>::new());
        assert!(packages(Set::Bench).contains(&"haproxy"));
    }

    #[test]
    fn a_package_with_two_missing_programs_is_named_once() {
        let mut found = everything();
        found.programs.retain(|name| !name.starts_with("smtp-"));
        let missing = missing(Set::Test { root: true }, &found);
        assert_eq!(missing.programs.len(), 2);
        assert_eq!(missing.packages(), ["postfix"]);
    }

    #[test]
    fn every_set_needs_the_ebpf_toolchain() {
        let found = Found {
            core_source: false,
            linker: false,
            ..everything()
        };
        for set in [Set::Build, Set::Lab, Set::Test { root: false }] {
            let missing = missing(set, &found);
            assert!(missing.core_source && missing.linker, "{set:?}");
        }
    }
}
