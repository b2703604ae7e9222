//! What a host looks like, to find out what was changed on it.
use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::host::Host;

/// Duplicate address detection takes a second or two.
const PATIENCE: Duration = Duration::from_secs(20);
/// Settings that count something: they change by themselves.
const COUNTING: [&str; 2] = ["nf_conntrack_count", "nf_conntrack_buckets"];

/// Addresses, links, routes, rules and settings of a host, by a name for each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot(BTreeMap<String, String>);

impl Host {
    /// Waits until every IPv6 address is this host's own. Until duplicate address detection (RFC 4862,
    /// section 5.4) has ended one is tentative and has no local route, and what is compared with later would differ by that.
    pub fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.ip("-6 -o addr show")?;
            let routes = self.ip("-6 route show table local")?;
            let is_settled = |line: &str| {
                let address = line
                    .split_whitespace()
                    .skip_while(|word| *word != "inet6")
                    .nth(1);
                let address = address.and_then(|both| both.split('/').next());
                address.is_none_or(|address| routes.contains(&format!("local {address} ")))
                    && !line.contains(" tentative")
            };
            let unsettled = shown
                .lines()
                .filter(|line| !line.contains("scope host"))
                .find(|line| !is_settled(line));
            match unsettled {
                None => return Ok(()),
                Some(line) => ensure!(
                    Instant::now() < deadline,
                    "{}: not settled within {PATIENCE:?}: {line}",
                    self.name
                ),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The host as it is now, or as soon as its addresses are settled.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.settle()?;
        let mut seen = BTreeMap::new();
        for command in [
            "-o addr show",
            "-o -d link show",
            "-4 route show table all",
            "-6 route show table all",
            "-4 rule show",
            "-6 rule show",
        ] {
            for line in self.ip(command)?.lines() {
                let line: Vec<&str> = line.split_whitespace().collect();
                seen.insert(format!("ip {command}: {}", line.join(" ")), String::new());
            }
        }
        self.inside(|| read_settings(Path::new("/proc/sys/net"), &mut seen))??;
        Ok(Snapshot(seen))
    }
}

impl Snapshot {
    /// What is different in `after`, a line each.
    #[must_use]
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let gone = self
            .0
            .iter()
            .filter_map(|(name, was)| match after.0.get(name) {
                Some(is) if is == was => None,
                Some(is) => Some(format!("{name}: was {was}, is {is}")),
                None => Some(format!("gone: {name} {was}")),
            });
        let come = after
            .0
            .iter()
            .filter(|(name, _)| !self.0.contains_key(*name));
        gone.chain(come.map(|(name, is)| format!("left: {name} {is}")))
            .collect()
    }
}

fn read_settings(folder: &Path, seen: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        if entry?.is_dir() {
            read_settings(&path, seen)?;
            continue;
        }
        if COUNTING.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        // Some can only be written.
        if let Ok(value) = fs::read_to_string(&path) {
            seen.insert(path.display().to_string(), value.trim().to_owned());
        }
    }
    Ok(())
}
