//! Network namespaces by name, as `ip netns` keeps them.
use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, BorrowedFd},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Where `ip netns` mounts the namespaces.
const NETNS_DIR: &str = "/run/netns";

/// The mount of namespace `name`.
pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from(NETNS_DIR).join(name)
}

/// Makes namespace `name`.
pub(super) fn add(name: &str) -> Result<File> {
    ip(&["netns", "add", name])?;
    let path = path(name);
    File::open(&path).with_context(|| format!("cannot open {}", path.display()))
}

/// The names of all namespaces that `ip netns` knows.
pub(super) fn names() -> Vec<String> {
    let entries = fs::read_dir(NETNS_DIR).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Moves the calling thread, and no other, into a namespace.
pub(super) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open for the duration of the call; no memory is passed.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Runs `ip` with `arguments`.
pub(super) fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("cannot run `ip`: is iproute2 installed?")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`ip {}` failed: {}", arguments.join(" "), stderr.trim());
    }
    Ok(())
}
