//! Finds a compiler that can build for `bpfel-unknown-none`.
//!
//! The target has no prebuilt `core`, so the compiler needs the source of exactly its own version
//! (`-Z build-std=core`), and `bpf-linker` with an LLVM at least as new as the compiler's.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A compiler with its own `core` source, and the linker.
#[derive(Clone, Debug)]
pub struct BpfToolchain {
    /// The folder to put first on PATH, so that `cargo` and `rustc` are this compiler's.
    pub bin: PathBuf,
    /// `bpf-linker`.
    pub linker: PathBuf,
    /// In words, for messages: "rustup's nightly", "Debian's rustc-web".
    pub name: String,
}

/// What is missing for the eBPF build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// No compiler with the source of its own `core`.
    CoreSource,
    /// No `bpf-linker` on PATH or in cargo's bin folder.
    Linker,
}

impl Missing {
    /// A sentence for a person: what is missing and which command mends it.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::CoreSource => {
                "no Rust compiler here has the source of its own `core`, which the eBPF target needs; run `cargo xtask setup`"
            }
            Self::Linker => "bpf-linker is not installed; run `cargo xtask setup`",
        }
    }
}

/// The first compiler that has what it takes, and the linker. Where the linker is being installed,
/// `meanwhile` is done with the path that it will have, before that is waited for.
pub fn find(meanwhile: impl FnOnce(&BpfToolchain)) -> Result<BpfToolchain, Missing> {
    let (bin, name) = find_compiler().ok_or(Missing::CoreSource)?;
    if let Some(linker) = find_linker() {
        return Ok(BpfToolchain { bin, linker, name });
    }
    let Some((lock, linker)) = coming_linker() else {
        // It may have come between the two looks.
        let linker = find_linker().ok_or(Missing::Linker)?;
        return Ok(BpfToolchain { bin, linker, name });
    };
    let toolchain = BpfToolchain { bin, linker, name };
    meanwhile(&toolchain);
    // An error is as good as the lock: what matters is whether the linker is there now.
    let _ = lock.lock_shared();
    let linker = find_linker().ok_or(Missing::Linker)?;
    Ok(BpfToolchain {
        linker,
        ..toolchain
    })
}

/// The oldest compiler that builds the workspace: its `rust-version`.
pub const OLDEST_RUSTC: (u32, u32) = (1, 95);

/// rustup's stable, its nightly, its others, the distribution's: the first that is new enough and
/// has `core`'s source. Stable first: its LLVM is the one that linkers already read.
#[must_use]
pub fn find_compiler() -> Option<(PathBuf, String)> {
    let rustup = rustup_toolchains().into_iter().map(|sysroot| {
        let name = sysroot.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("rustup's {name}");
        (sysroot, name)
    });
    let system = sysroot(&mut Command::new("/usr/bin/rustc"))
        .map(|sysroot| (sysroot, "the distribution's rustc".to_owned()));
    rustup
        .chain(system)
        .map(|(sysroot, name)| (sysroot.join("bin"), sysroot, name))
        .find(|(bin, sysroot, _)| has_core_source(sysroot) && is_new_enough(&bin.join("rustc")))
        .map(|(bin, _, name)| (bin, name))
}

/// The folders of rustup's toolchains, the best first. rustup itself is not asked: it takes a
/// third of a second, and may want to download.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let folder = home.unwrap_or_default().join("toolchains");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut toolchains: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    toolchains.sort_by_key(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let rank = ["stable-", "nightly-"]
            .iter()
            .position(|start| name.starts_with(start));
        (rank.unwrap_or(2), name)
    });
    toolchains
}

fn is_new_enough(rustc: &Path) -> bool {
    let output = Command::new(rustc).arg("--version").output();
    output.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        version(&text).is_some_and(|version| version >= OLDEST_RUSTC)
    })
}

/// The numbers in `rustc 1.96.0 (ac68faa20 2026-04-20)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `bpf-linker` on PATH or in cargo's bin folder.
#[must_use]
pub fn find_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_bin())
        .map(|dir| dir.join("bpf-linker"))
        .find(|file| file.is_file())
}

/// The file that is locked while `bpf-linker` is being installed in that folder.
#[must_use]
pub fn linker_lock(cargo_bin: &Path) -> PathBuf {
    cargo_bin.join(".bpf-linker-is-coming")
}

/// The lock of the linker's installation, where there is one, and where it will be.
fn coming_linker() -> Option<(fs::File, PathBuf)> {
    let bin = cargo_bin()?;
    let lock = fs::File::open(linker_lock(&bin)).ok()?;
    Some((lock, bin.join("bpf-linker")))
}

/// Where `cargo install` puts programs.
#[must_use]
pub fn cargo_bin() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    home.map(|home| home.join("bin"))
}

fn has_core_source(sysroot: &Path) -> bool {
    // Debian's layout leaves the `rust` level out on some versions.
    [
        "lib/rustlib/src/rust/library/core",
        "lib/rustlib/src/library/core",
    ]
    .iter()
    .any(|path| sysroot.join(path).is_dir())
}

fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    let output = rustc.args(["--print", "sysroot"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_rustc_prints() {
        for (text, expected) in [
            ("rustc 1.96.0 (ac68faa20 2026-04-20)", Some((1, 96))),
            ("rustc 1.97.0-nightly (1a2b3c4d5 2026-05-01)", Some((1, 97))),
            ("rustc 1.63.0", Some((1, 63))),
            ("", None),
            ("rustc", None),
            ("rustc one.two", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn the_oldest_compiler_is_the_one_the_manifest_names() {
        let (major, minor) = OLDEST_RUSTC;
        assert_eq!(format!("{major}.{minor}"), env!("CARGO_PKG_RUST_VERSION"));
    }
}
