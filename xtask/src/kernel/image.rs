//! Debian's 6.1 kernel, downloaded as a package and unpacked aside: nothing is installed.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::process;

/// The packages that have it, as apt's pattern.
pub(super) const PACKAGE_PATTERN: &str = "linux-image-6.1.0-*-cloud-amd64";

/// Where this command keeps its files.
pub(super) fn folder() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    let folder = xtask::ebpf::target_dir_above(&own).with_file_name("kernel");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The kernel that an earlier run downloaded, or the newest that apt knows.
pub(super) fn downloaded() -> Result<PathBuf> {
    let folder = folder()?;
    if let Some(image) = unpacked(&folder) {
        return Ok(image);
    }
    let package = newest()?;
    eprintln!("kernel: downloading {package}");
    let script = "set -e; cd \"$1\"; rm -rf half *.deb; apt-get -q download \"$2\"; \
                  dpkg-deb -x \"$2\"_*.deb half; mv half/boot boot; rm -rf half *.deb";
    let at = folder.to_string_lossy();
    process::quietly("sh", &["-c", script, "download", &at, &package], &[])
        .with_context(|| format!("cannot fetch {package}"))?;
    unpacked(&folder).with_context(|| format!("{package} has no boot/vmlinuz-*"))
}

fn unpacked(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder.join("boot")).ok()?.flatten();
    let images = entries.filter(|entry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(b"vmlinuz-")
    });
    images.map(|entry| entry.path()).max()
}

fn newest() -> Result<String> {
    let output = Command::new("apt-cache")
        .args([
            "search",
            "--names-only",
            "^linux-image-6\\.1\\.0-[0-9]+-cloud-amd64$",
        ])
        .output();
    let output = output.context(
        "this machine has no apt-cache to fetch a kernel with; give one by --image vmlinuz",
    )?;
    let said = String::from_utf8_lossy(&output.stdout);
    let Some(name) = newest_of(&said) else {
        bail!(
            "apt knows no {PACKAGE_PATTERN} (run `apt-get update`, or add Debian 12 to its sources); \
             or give a kernel by --image vmlinuz"
        );
    };
    Ok(name.to_owned())
}

/// The name with the highest revision in apt-cache's lines `NAME - DESCRIPTION`.
fn newest_of(said: &str) -> Option<&str> {
    let names = said
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.max_by_key(|name| {
        let revision = name.split('-').nth(3).unwrap_or_default();
        revision.parse::<u32>().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_revision_is_the_newest() {
        let said = "linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 (signed)\n\
                    linux-image-6.1.0-54-cloud-amd64 - Linux 6.1 (signed)\n\
                    linux-image-6.1.0-50-cloud-amd64 - Linux 6.1 (signed)\n";
        assert_eq!(newest_of(said), Some("linux-image-6.1.0-54-cloud-amd64"));
        assert_eq!(newest_of(""), None);
    }
}
