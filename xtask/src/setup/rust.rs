//! The source of a compiler's own `core`, which the eBPF build needs.
use std::time::Duration;

use anyhow::{Result, bail};

use super::{apt, find, say};
use crate::process;

/// Debian's compiler, whose source is a package, for where rustup cannot download.
const DEBIAN_COMPILER: [&str; 4] = [
    "rustc-web",
    "cargo-web",
    "libstd-rust-web-dev",
    "rust-web-src",
];
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
