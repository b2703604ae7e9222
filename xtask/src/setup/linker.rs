//! `bpf-linker`, which is fetched or compiled while the rest is built.
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use xtask::toolchain;

use super::{apt, find, say};
use crate::process;

/// The version that is installed where there is none.
const VERSION: &str = "0.13.0";
/// The LLVM that Debian's compiler and rustup's stable (1.95 and 1.96) are built with.
const LLVM: &str = "22";
/// A download of a few megabytes that takes longer will not come.
const DOWNLOAD: Duration = Duration::from_mins(2);
/// It links two small programs: to compile it fast pays more than a fast linker.
const FAST_TO_COMPILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// Begins to install it. Until it is there, or cannot be had, a lock is held on which
/// [`toolchain::find`] waits.
pub(super) fn begin() -> Result<JoinHandle<Result<()>>> {
    let Some(bin) = toolchain::cargo_bin() else {
        bail!("neither CARGO_HOME nor HOME is set, so there is no folder to install bpf-linker in");
    };
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let path = toolchain::linker_lock(&bin);
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => say("another process installs bpf-linker already"),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    let install = move || {
        lock.lock()?;
        let result = if toolchain::find_linker().is_some() {
            Ok(())
        } else {
            install(&bin)
        };
        // Before the lock goes: a process that waits for it must not find an unlocked file.
        let _ = fs::remove_file(&path);
        result.context("bpf-linker cannot be installed")
    };
    Ok(thread::spawn(install))
}

/// The project's own build, else one compiled against Debian's LLVM.
fn install(bin: &Path) -> Result<()> {
    if ["curl", "tar", "zstd"]
        .iter()
        .all(|name| find(name).is_some())
    {
        say(&format!(
            "downloading bpf-linker {VERSION} from its releases"
        ));
        match download(bin) {
            Ok(()) => return Ok(()),
            Err(error) => say(&format!(
                "the download failed ({error:#}); compiling it instead"
            )),
        }
    }
    let llvm = format!("llvm-{LLVM}-dev");
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{LLVM}"));
    if !prefix.join("bin/llvm-config").is_file() {
        if !apt::has(&[&llvm]) {
            bail!(
                "its release could not be downloaded, and there is no Debian package {llvm} to compile it with; \
                 install it as https://github.com/aya-rs/bpf-linker says"
            );
        }
        say(&format!("installing {llvm} to compile bpf-linker"));
        apt::install(&[&llvm])?;
    }
    say(&format!(
        "compiling bpf-linker {VERSION} with LLVM {LLVM}, while the rest goes on"
    ));
    let feature = format!("llvm-{LLVM}");
    let arguments = [
        "install",
        "bpf-linker",
        "--version",
        VERSION,
        "--locked",
        "--no-default-features",
        "--features",
        &feature,
        // A build that needs it keeps a place of its own free by waiting.
        "--jobs",
        "1",
    ];
    let prefix = prefix.to_string_lossy();
    let mut environment = vec![("LLVM_PREFIX", &*prefix)];
    environment.extend(FAST_TO_COMPILE);
    process::quietly("cargo", &arguments, &environment)
}

fn download(bin: &Path) -> Result<()> {
    let asset = format!(
        "bpf-linker-{}-unknown-linux-musl.tar.zst",
        std::env::consts::ARCH
    );
    let url = format!("https://github.com/aya-rs/bpf-linker/releases/download/v{VERSION}/{asset}");
    std::fs::create_dir_all(bin)?;
    // Unpacked aside and moved: an interrupted download leaves no half a linker.
    let script = "set -e; dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT; \
                  curl -fsSL --connect-timeout 5 --max-time 100 -o \"$dir/linker.tar.zst\" \"$1\"; \
                  tar --zstd -xf \"$dir/linker.tar.zst\" -C \"$dir\"; \
                  found=$(find \"$dir\" -type f -name bpf-linker); \"$found\" --version; \
                  install -m 755 \"$found\" \"$2/bpf-linker\"";
    let bin = bin.to_string_lossy();
    process::quietly_within(DOWNLOAD, "sh", &["-c", script, "download", &url, &bin], &[])
}
