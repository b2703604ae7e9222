//! Packages of Debian and its relatives.
use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::{find, say};
use crate::{is_root, process};

/// Services that begin to run when their package is installed; the tests want their programs only.
const SERVICES: [&str; 3] = ["postfix", "keepalived", "frr"];
/// Where Debian is fetched from when this machine does not say.
const MIRROR: &str = "http://deb.debian.org/debian";
const ENVIRONMENT: [(&str, &str); 2] = [("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C")];
/// What Debian asks before it starts a service of a new package (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether every package can be installed from the configured archives.
pub(super) fn has(packages: &[&str]) -> bool {
    find("apt-get").is_some()
        && (simulated(packages).is_ok()
            || (is_root() && update().is_ok() && simulated(packages).is_ok()))
}

/// Installs packages and leaves none of their services running or enabled.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let command = format!("apt-get install --no-install-recommends {list}");
    if find("apt-get").is_none() {
        bail!(
            "this machine has no apt-get; install what Debian calls {list} with its own package manager"
        );
    }
    if !is_root() {
        bail!("installing {list} needs root; run `sudo {command}`, then this again");
    }
    refresh(packages);
    possible(packages)?;
    say(&format!("installing {list}"));
    let added: Vec<&str> = SERVICES
        .into_iter()
        .filter(|service| packages.contains(service))
        .collect();
    if added.contains(&"postfix") {
        // Without a main.cf its master cannot start, whoever asks.
        let answer = "postfix postfix/main_mailer_type select No configuration\n";
        preseed(answer).context("cannot tell Debian to leave postfix without a configuration")?;
    }
    let _quiet = NoServices::begin()?;
    let mut arguments = vec![
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=120",
    ];
    arguments.extend(packages);
    process::quietly("apt-get", &arguments, &ENVIRONMENT)?;
    for service in added {
        // Where there is no systemd there is nothing to disable.
        let _ = process::quietly("systemctl", &["disable", "--now", service], &ENVIRONMENT);
    }
    Ok(())
}

/// Whether packages can be installed without removing any.
pub(super) fn possible(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let command = format!("apt-get install --no-install-recommends {list}");
    let plan = simulated(packages).with_context(|| format!("`{command}` is not possible here"))?;
    let removed = removals(&plan);
    if !removed.is_empty() {
        bail!(
            "installing {list} would remove {}; if that is right, run `{command}` yourself, then this again",
            removed.join(", ")
        );
    }
    Ok(())
}

/// Fetches the package lists where they do not have all of these packages.
pub(super) fn refresh(packages: &[&str]) {
    if simulated(packages).is_ok() {
        return;
    }
    say("fetching the package lists");
    if let Err(error) = update() {
        say(&format!("they could not be fetched: {error:#}"));
    }
}

/// A package and what of its dependencies is not installed, as `apt-get download` takes them: `NAME=VERSION`.
///
/// apt is asked as on a machine that has no package at all: on this one the package may be impossible,
/// which is why it is unpacked aside.
pub(super) fn lacking(package: &str) -> Result<Vec<String>> {
    let mut command = Command::new("apt-get");
    command
        .args(["install", "-s", "--no-install-recommends"])
        .args(["-o", "Dir::State::status=/dev/null", package])
        .envs(ENVIRONMENT);
    let output = command.output().context("cannot run apt-get")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut status = Command::new("dpkg-query");
    status.args([
        "--show",
        "--showformat",
        "${Package} ${db:Status-Status}\\n",
    ]);
    let installed = status.output().context("cannot run dpkg-query")?;
    Ok(not_installed(
        package,
        &String::from_utf8_lossy(&output.stdout),
        &String::from_utf8_lossy(&installed.stdout),
    ))
}

/// The packages of a plan's lines `Inst NAME (VERSION ...)` that dpkg-query's lines `NAME installed` lack,
/// and the one that is asked for.
fn not_installed(asked: &str, plan: &str, installed: &str) -> Vec<String> {
    let has = |name: &str| {
        installed
            .lines()
            .any(|line| line == format!("{name} installed"))
    };
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines
        .filter_map(|line| {
            let (name, rest) = line.split_once(" (")?;
            let version = rest.split_whitespace().next()?;
            (name == asked || !has(name)).then(|| format!("{name}={version}"))
        })
        .collect()
}

fn update() -> Result<()> {
    process::quietly("apt-get", &["update", "-q"], &ENVIRONMENT)
}

/// This machine's own mirror: the first of apt's sources that is one of Debian's archive.
pub(crate) fn mirror() -> String {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(SITE)"])
        .output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    mirror_of(&said).unwrap_or(MIRROR).to_owned()
}

fn mirror_of(sites: &str) -> Option<&str> {
    let sites = sites.lines().map(|site| site.trim_end_matches('/'));
    let mut sites = sites.filter(|site| site.ends_with("/debian"));
    sites.find(|site| site.starts_with("http"))
}

/// What apt would do.
fn simulated(packages: &[&str]) -> Result<String> {
    let mut command = Command::new("apt-get");
    command
        .args(["install", "-s", "--no-install-recommends"])
        .args(packages)
        .envs(ENVIRONMENT);
    let output = command.output().context("cannot run apt-get")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The packages that a simulated installation removes: its lines `Remv exim4 [4.96]`.
fn removals(plan: &str) -> Vec<&str> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Remv "));
    lines
        .filter_map(|rest| rest.split_whitespace().next())
        .collect()
}

fn preseed(answer: &str) -> Result<()> {
    let mut child = Command::new("debconf-set-selections")
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(answer.as_bytes())?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("debconf-set-selections: {status}");
    }
    Ok(())
}

/// While it lives Debian starts no service.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn begin() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("cannot write {POLICY}"))?;
        let policy = Self { ours: true };
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_remove_is_read_from_its_plan() {
        let plan = "Reading package lists...\nRemv exim4 [4.96-15]\nRemv exim4-base [4.96-15] [mail:amd64 ]\n\
                    Inst postfix (3.7.11 Debian:12 [amd64])\nConf postfix (3.7.11 Debian:12 [amd64])\n";
        assert_eq!(removals(plan), ["exim4", "exim4-base"]);
        assert!(removals("Inst postfix (3.7.11)\n").is_empty());
    }

    #[test]
    fn what_is_unpacked_is_what_the_machine_lacks() {
        let plan = "Inst libc6 (2.36-9 Debian:12 [amd64])\nInst libfdt1 (1.6.1-4 Debian:12 [amd64]) []\n\
                    Inst qemu-system-x86 (1:7.2 Debian:12 [amd64])\nConf libc6 (2.36-9 Debian:12 [amd64])\n";
        let installed = "libc6 installed\nlibfdt1 config-files\nqemu-system-x86 installed\n";
        assert_eq!(
            not_installed("qemu-system-x86", plan, installed),
            ["libfdt1=1.6.1-4", "qemu-system-x86=1:7.2"]
        );
    }

    #[test]
    fn the_mirror_is_the_archive_and_no_other_one() {
        let sites = "http://deb.debian.org/debian-security\nhttps://deb.nodesource.com/node_20.x\n\
                     http://mirror.example/debian/\nhttp://deb.debian.org/debian\n";
        assert_eq!(mirror_of(sites), Some("http://mirror.example/debian"));
        assert_eq!(mirror_of("http://deb.debian.org/debian-security\n"), None);
    }
}
