//! What of a set's needs is missing on this machine.
use xtask::programs::{self, Program, Set, Source};

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
    /// Debian's programs that the set cannot do its job without.
    pub(crate) essential: Vec<Program>,
    /// Those of a part of it.
    pub(crate) wanted: Vec<Program>,
    pub(crate) rust_components: Vec<&'static str>,
    pub(crate) core_source: bool,
    pub(crate) linker: bool,
}

impl Missing {
    /// Whether the set's job can be done.
    pub(crate) fn nothing_essential(&self) -> bool {
        let wanted = self.wanted.clone();
        *self
            == Self {
                wanted,
                ..Self::default()
            }
    }
}

/// The packages of programs, each once.
pub(crate) fn packages(programs: &[Program]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = programs.iter().filter_map(Program::package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// What of `set` is not `found`.
pub(crate) fn missing(set: Set, found: &Found) -> Missing {
    let absent: Vec<Program> = programs::of(set)
        .filter(|program| !found.programs.contains(&program.name))
        .copied()
        .collect();
    let (components, programs): (Vec<Program>, Vec<Program>) = absent
        .into_iter()
        .partition(|program| matches!(program.source, Source::Component(_)));
    let (essential, wanted) = programs
        .into_iter()
        .partition(|program| program.is_essential(set));
    let component = |program: &Program| match program.source {
        Source::Component(component) => Some(component),
        _ => None,
    };
    Missing {
        essential,
        wanted,
        rust_components: components.iter().filter_map(component).collect(),
        // A minimal Debian is made without a build: both commands are built there.
        core_source: set != Set::Fresh && !found.core_source,
        linker: set != Set::Fresh && !found.linker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Set; 7] = [
        Set::Build,
        Set::Lab,
        Set::Bench,
        Set::Kernel,
        Set::Style,
        Set::Test,
        Set::Fresh,
    ];

    fn everything() -> Found {
        Found {
            programs: programs::TABLE.iter().map(|program| program.name).collect(),
            core_source: true,
            linker: true,
        }
    }

    #[test]
    fn nothing_is_missing_where_everything_is_found() {
        for set in ALL {
            assert_eq!(missing(set, &everything()), Missing::default(), "{set:?}");
        }
    }

    #[test]
    fn what_only_some_tests_want_stops_nothing() {
        let mut found = everything();
        found
            .programs
            .retain(|name| !["chromium", "qemu-system-x86_64", "bird"].contains(name));
        let missing = missing(Set::Test, &found);
        assert!(missing.nothing_essential());
        assert_eq!(
            packages(&missing.wanted),
            ["bird2", "chromium", "qemu-system-x86"]
        );
        found.programs.retain(|name| *name != "ip");
        assert!(!super::missing(Set::Test, &found).nothing_essential());
    }

    #[test]
    fn a_package_with_two_missing_programs_is_named_once() {
        let mut found = everything();
        found.programs.retain(|name| !name.starts_with("smtp-"));
        let missing = missing(Set::Bench, &found);
        assert_eq!(missing.essential.len(), 2);
        assert_eq!(packages(&missing.essential), ["postfix"]);
    }

    #[test]
    fn every_set_that_builds_needs_the_ebpf_toolchain() {
        let found = Found {
            core_source: false,
            linker: false,
            ..everything()
        };
        for set in ALL {
            let missing = missing(set, &found);
            let both = missing.core_source && missing.linker;
            assert_eq!(both, set != Set::Fresh, "{set:?}");
        }
    }

    #[test]
    fn the_style_of_the_code_needs_no_package() {
        let missing = missing(Set::Style, &Found::default());
        assert_eq!(packages(&missing.essential), Vec::<&str>::new());
        assert_eq!(packages(&missing.wanted), Vec::<&str>::new());
        assert_eq!(missing.rust_components, ["rustfmt", "clippy"]);
    }
}
