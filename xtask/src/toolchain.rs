//! Finds a compiler that can build for `bpfel-unknown-none`.
//!
//! The target has no prebuilt `core`, so the compiler needs the source of exactly its own version
//! (`-Z build-std=core`), and `bpf-linker` with an LLVM at least as new as the compiler's.
use std::{
    env,
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

/// The first compiler that has what it takes, and the linker.
pub fn find() -> Result<BpfToolchain, Missing> {
    let (bin, name) = find_compiler().ok_or(Missing::CoreSource)?;
    let linker = find_linker().ok_or(Missing::Linker)?;
    Ok(BpfToolchain { bin, linker, name })
}

/// rustup's nightly, rustup's stable, the distribution's: the first with `core`'s source.
#[must_use]
pub fn find_compiler() -> Option<(PathBuf, String)> {
    let rustup = ["nightly", "stable"].into_iter().filter_map(|channel| {
        let sysroot = sysroot(Command::new("rustup").args(["run", channel, "rustc"]))?;
        Some((sysroot, format!("rustup's {channel}")))
    });
    let system = sysroot(&mut Command::new("/usr/bin/rustc"))
        .map(|sysroot| (sysroot, "the distribution's rustc".to_owned()));
    rustup
        .chain(system)
        .find(|(sysroot, _)| has_core_source(sysroot))
        .map(|(sysroot, name)| (sysroot.join("bin"), name))
}

/// `bpf-linker` on PATH or in cargo's bin folder.
#[must_use]
pub fn find_linker() -> Option<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|dir| dir.join("bpf-linker"))
        .find(|file| file.is_file())
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
    // A rustup that may not download must not try: it would wait for the network.
    let output = rustc
        .args(["--print", "sysroot"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}
