//! Debian's 6.1 kernel, downloaded as a package and unpacked aside: nothing is installed.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{process, setup};

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
    // Debian 12's own apt knows it; another release's is told of Debian 12, in files of this command's.
    let (package, options) = match newest(&[]) {
        Ok(package) => (package, Vec::new()),
        Err(error) => {
            let options = options_of_debian_12(&folder).map_err(|_| error)?;
            (newest(&options)?, options)
        }
    };
    eprintln!("kernel: downloading {package}");
    let script = "set -e; cd \"$1\"; package=$2; shift 2; rm -rf half *.deb; \
                  apt-get -q \"$@\" download \"$package\"; \
                  dpkg-deb -x \"$package\"_*.deb half; mv half/boot boot; rm -rf half *.deb";
    let at = folder.to_string_lossy();
    let mut arguments = vec!["-c", script, "download", &at, &package];
    arguments.extend(options.iter().map(String::as_str));
    process::quietly("sh", &arguments, &[]).with_context(|| format!("cannot fetch {package}"))?;
    unpacked(&folder).with_context(|| format!("{package} has no boot/vmlinuz-*"))
}

/// What apt is told so that it knows Debian 12's packages and no others, with its lists in `folder`.
fn options_of_debian_12(folder: &Path) -> Result<Vec<String>> {
    let apt = folder.join("apt");
    fs::create_dir_all(apt.join("lists/partial"))?;
    let mirror = setup::mirror();
    let signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
    let sources = format!(
        "deb {signed} {mirror} bookworm main\ndeb {signed} {mirror}-security bookworm-security main\n"
    );
    fs::write(apt.join("sources.list"), sources)?;
    let at = apt.display();
    let options: Vec<String> = [
        format!("Dir::Etc::sourcelist={at}/sources.list"),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={at}/lists"),
        "Dir::Cache::pkgcache=".to_owned(),
        "Dir::Cache::srcpkgcache=".to_owned(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect();
    let mut arguments = vec!["-q", "update"];
    arguments.extend(options.iter().map(String::as_str));
    process::quietly("apt-get", &arguments, &[])
        .context("cannot fetch Debian 12's package lists")?;
    Ok(options)
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

fn newest(options: &[String]) -> Result<String> {
    let output = Command::new("apt-cache")
        .args(options)
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
