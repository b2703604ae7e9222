//! Every program outside of this workspace that its code starts, once: what `cargo xtask setup`
//! installs is read from [`TABLE`], and a test reads the sources for programs that it lacks.
mod table;

pub use table::TABLE;

/// What a command of xtask does with this machine, and thereby which programs it needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Set {
    /// To compile everything.
    Build,
    /// To run the lab: `cargo xtask run` and `lab`.
    Lab,
    /// To run the benchmarks.
    Bench,
    /// To run the XDP fixtures on an older kernel.
    Kernel,
    /// To format, lint and run the unit tests, which is all of `cargo xtask test` without root.
    Style,
    /// To run every test that `cargo xtask test` runs as root.
    Test,
    /// To try both commands of the README on a minimal Debian.
    Fresh,
    /// To run the tests that are only run by name. Nothing is installed for them.
    Named,
}

/// Where a program comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Every Debian has it: an essential package, or one that apt and debootstrap bring.
    Base,
    /// A Debian package.
    Package(&'static str),
    /// A Debian package that is unpacked next to the target folder and never installed: it would
    /// bring a service, or far more than the one program.
    Aside(&'static str),
    /// A component of the Rust toolchain.
    Component(&'static str),
    /// rustup or the Rust toolchain itself, which started us.
    Rust,
    /// A program of crates.io.
    Cargo,
    /// What a box that runs lbd has, for what it is told to do there. No command of xtask needs it.
    Box,
    /// Used where it is there: the installation has another way.
    Found,
}

/// A program that our code starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// Where it comes from.
    pub source: Source,
    /// What it is for, in a few words.
    pub purpose: &'static str,
    /// The sets that cannot do their job without it.
    pub essential: &'static [Set],
    /// The sets of which it is only wanted by a part, which is left out where it cannot be had.
    pub wanted: &'static [Set],
}

impl Program {
    /// Whether a set cannot do its job without it.
    #[must_use]
    pub fn is_essential(&self, set: Set) -> bool {
        self.essential.contains(&set)
    }

    /// Whether a set starts it.
    #[must_use]
    pub fn is_of(&self, set: Set) -> bool {
        self.is_essential(set) || self.wanted.contains(&set)
    }

    /// The Debian package that has it, where one does.
    #[must_use]
    pub fn package(&self) -> Option<&'static str> {
        match self.source {
            Source::Package(package) | Source::Aside(package) => Some(package),
            _ => None,
        }
    }

    /// The command that adds it to this machine.
    #[must_use]
    pub fn added_by(&self) -> Option<String> {
        match self.source {
            Source::Package(package) | Source::Aside(package) => {
                Some(format!("apt-get install --no-install-recommends {package}"))
            }
            Source::Component(component) => Some(format!("rustup component add {component}")),
            Source::Cargo => Some(format!("cargo install {}", self.name)),
            Source::Base | Source::Rust | Source::Box | Source::Found => None,
        }
    }
}

/// The program of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Program> {
    TABLE.iter().find(|program| program.name == name)
}

/// What a set starts, the programs of every machine apart.
pub fn of(set: Set) -> impl Iterator<Item = &'static Program> {
    TABLE.iter().filter(move |program| program.is_of(set))
}

#[cfg(test)]
mod tests;
