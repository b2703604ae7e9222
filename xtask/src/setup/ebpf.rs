//! The toolchain that the eBPF build needs: the source of a compiler's own `core`, and a linker.
use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use super::{apt, find, say};
use crate::process;

/// The linker's version that is installed where there is none.
const LINKER_VERSION: &str = "0.13.0";
/// Debian's compiler, whose source is a package, for where rustup cannot download.
const DEBIAN_COMPILER: [&str; 4] = [
    "rustc-web",
    "cargo-web",
    "libstd-rust-web-dev",
    "rust-web-src",
];
/// The LLVM that Debian's compiler and rustup's stable (1.95 and 1.96) are built with.
const LLVM: &str = "22";
/// A download of a few megabytes that takes longer will not come.
const DOWNLOAD: Duration = Duration::from_mins(2);

/// rust-src from rustup where it can download, else Debian's compiler with its source.
pub(super) fn core_source() -> Result<()> {
    if find("rustup").is_some() {
        say("adding rust-src to rustup's stable: the eBPF target has no prebuilt core");
        let arguments = ["component", "add", "rust-src", "--toolchain", "stable"];
        let environment = [("RUSTUP_AUTO_INSTALL", "0"), ("RUSTUP_MAX_RETRIES", "0")];
        match process::quietly_within(DOWNLOAD, "rustup", &arguments, &environment) {
            Ok(()) => return Ok(()),
            Err(error) => say(&format!(
                "rustup could not add it ({error:#}); trying Debian's compiler"
            )),
        }
    }
    if !apt::has(&DEBIAN_COMPILER) {
        bail!(
            "no Rust compiler here has the source of its own core, rustup could not add it, and there is no Debian package {}; \
             on a machine with internet `rustup component add rust-src` is enough",
            DEBIAN_COMPILER[0]
        );
    }
    say(&format!(
        "installing {} for the eBPF target",
        DEBIAN_COMPILER.join(", ")
    ));
    apt::install(&DEBIAN_COMPILER)
}

/// The project's own build of `bpf-linker`, else one compiled against Debian's LLVM.
pub(super) fn linker() -> Result<()> {
    let Some(bin) = xtask::toolchain::cargo_bin() else {
        bail!("neither CARGO_HOME nor HOME is set, so there is no folder to install bpf-linker in");
    };
    if ["curl", "tar", "zstd"]
        .iter()
        .all(|name| find(name).is_some())
    {
        say(&format!(
            "downloading bpf-linker {LINKER_VERSION} from its releases"
        ));
        match download(&bin) {
            Ok(()) => return Ok(()),
            Err(error) => say(&format!(
                "the download failed ({error:#}); compiling it instead"
            )),
        }
    }
    let llvm = format!("llvm-{LLVM}-dev");
    let config = format!("/usr/lib/llvm-{LLVM}/bin/llvm-config");
    if !Path::new(&config).is_file() {
        if !apt::has(&[&llvm]) {
            bail!(
                "bpf-linker is missing, its release could not be downloaded, and there is no Debian package {llvm} to compile it with; \
                 install it as https://github.com/aya-rs/bpf-linker says"
            );
        }
        say(&format!("installing {llvm} to compile bpf-linker"));
        apt::install(&[&llvm])?;
    }
    say(&format!(
        "compiling bpf-linker {LINKER_VERSION} with LLVM {LLVM} (about a minute)"
    ));
    let feature = format!("llvm-{LLVM}");
    let arguments = [
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
        "--no-default-features",
        "--features",
        &feature,
    ];
    let prefix = format!("/usr/lib/llvm-{LLVM}");
    process::quietly("cargo", &arguments, &[("LLVM_PREFIX", &prefix)])
}

fn download(bin: &Path) -> Result<()> {
    let asset = format!(
        "bpf-linker-{}-unknown-linux-musl.tar.zst",
        std::env::consts::ARCH
    );
    let url =
        format!("https://github.com/aya-rs/bpf-linker/releases/download/v{LINKER_VERSION}/{asset}");
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
