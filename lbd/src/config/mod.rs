//! The configuration: one YAML file, every key with its default, and every mistake in it at once.
//!
//! `node:` is this box, `cluster:` is the same on every box. [`Config::parse`] is pure: it reads
//! text and touches no file; [`Config::load`] reads the file and what it names. Whether it fits
//! the box is asked apart, with [`check_host`].
use std::{net::SocketAddr, path::Path};

use serde::Serialize;

mod access;
mod address;
mod changes;
mod check;
mod choice;
mod cluster;
pub mod duration;
mod error;
mod health;
mod host;
mod lists;
mod load;
mod node;
mod parse;
mod part;
mod policy;
mod reader;
mod secrets;
mod site;
mod source;
mod stats;
mod suggest;
#[cfg(test)]
mod tests;
mod values;
mod yaml;

pub use access::{Access, OnDeny};
pub use address::{Network, PrefixError, VirtualAddress};
pub use changes::{Change, Changes};
pub use cluster::{
    Affinity, Announce, AtDeadline, Authentication, Cluster, Drain, Idle, Mode, NoHealthyBackend,
    Selection, VrrpChecksum,
};
pub use error::{ConfigError, Place};
pub use health::{Check, Health, HealthTls};
pub use host::{HostFacts, check_host, host_warnings, missing_at_start, name_interfaces};
pub use node::{MailSystem, Node, Queue, StartAs, Xdp};
pub use part::{PartError, cluster_part, with_cluster_part};
pub use policy::{Connections, Kind as PolicyKind, Policy};
pub use secrets::{ClusterKeys, KeyError};
pub use site::{Backend, Forwarding, Site};
pub use stats::{AGENT_CHECK_PORT, CA_FILE, CHANNEL_PORT, Fields, Source, Stats};

/// The most bytes that a configuration file may have.
pub const MAX_TEXT_BYTES: u64 = yaml::MAX_BYTES as u64;
/// The most bytes that a list of `cluster.access` may have.
pub const MAX_LIST_BYTES: u64 = load::MAX_LIST_BYTES;

/// Reads a list of networks, in the form of the files of `cluster.access`.
pub fn parse_list(bytes: &[u8], origin: &str) -> Result<Vec<Network>, Vec<ConfigError>> {
    load::list(bytes, origin)
}

/// Whether these bytes are a list of networks, as the files of `cluster.access` are.
#[must_use]
pub fn is_list(bytes: &[u8]) -> bool {
    load::is_list(bytes)
}

/// Where the configuration is when no `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/lbd/lbd.yaml";

/// A configuration without mistakes.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// This box.
    pub node: Node,
    /// The same on every box.
    pub cluster: Cluster,
    #[serde(skip)]
    keys: Option<ClusterKeys>,
    #[serde(skip)]
    allowed: Vec<Network>,
    #[serde(skip)]
    denied: Vec<Network>,
    #[serde(skip)]
    warnings: Vec<ConfigError>,
    #[serde(skip)]
    source: source::Source,
}

/// Two configurations that mean the same are equal, however their files are written.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
            && self.cluster == other.cluster
            && self.keys == other.keys
            && self.allowed == other.allowed
            && self.denied == other.denied
    }
}

impl Config {
    /// Reads a file's text. `origin` is its name for messages.
    ///
    /// The error has every mistake that was found, in the order of the file, at least one.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Vec<ConfigError>> {
        parse::parse(text, origin)
    }

    /// Reads the file, the keys of `cluster.secret_file`, and the lists of `cluster.access`.
    ///
    /// The error has every mistake that was found, at least one. A key file that others than its
    /// owner can read is one; what is in it is never repeated.
    pub fn load(path: &Path) -> Result<Self, Vec<ConfigError>> {
        load::load(path)
    }

    /// What [`Self::load`] would say of a file with this text, if the lists that it names had these
    /// bytes. A list that `lists` does not have is read from its file, as the keys are.
    pub fn load_offered(
        text: &str,
        origin: &str,
        lists: &dyn Fn(&Path) -> Option<Vec<u8>>,
    ) -> Result<Self, Vec<ConfigError>> {
        load::load_text(text, origin, lists)
    }

    /// The files with lists that `cluster.access` names, each once.
    #[must_use]
    pub fn list_files(&self) -> Vec<&Path> {
        let access = &self.cluster.access;
        let mut files = Vec::new();
        for file in [&access.allow_file, &access.deny_file]
            .into_iter()
            .flatten()
        {
            if !files.contains(&file.as_path()) {
                files.push(file.as_path());
            }
        }
        files
    }

    /// The keys of `cluster.secret_file`; `None` without one, and after [`Self::parse`].
    #[must_use]
    pub fn keys(&self) -> Option<&ClusterKeys> {
        self.keys.as_ref()
    }

    /// `access.allow` and what its file adds.
    #[must_use]
    pub fn allowed(&self) -> &[Network] {
        &self.allowed
    }

    /// `access.deny` and what its file adds.
    #[must_use]
    pub fn denied(&self) -> &[Network] {
        &self.denied
    }

    /// What `new` changes of this one. The keys and lists in other files are not part of it.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Changes {
        Changes::between(self, new)
    }

    /// Whether a daemon that runs `running` can take this one over live; if not, a sentence.
    pub fn fits_after(&self, running: &Self) -> Result<(), String> {
        let changes = running.changes(self);
        let at_start: Vec<&str> = changes
            .needing_restart()
            .map(|change| change.path.as_str())
            .collect();
        if at_start.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} cannot change while lbd runs: restart it, or take the change back",
            at_start.join(", ")
        ))
    }

    /// The configuration as it is understood, with every default, as YAML that [`Self::parse`] takes.
    #[must_use]
    pub fn present(&self) -> String {
        // All of it is plain data with text keys, which YAML always takes.
        serde_yaml::to_string(self).unwrap_or_default()
    }

    /// What is allowed but likely not meant.
    #[must_use]
    pub fn warnings(&self) -> &[ConfigError] {
        &self.warnings
    }

    /// An error about a key (`node.http`, `cluster.sites[0].backends[1].address`) that was found
    /// only when its value was used, with the place of the value.
    #[must_use]
    pub fn error_at(&self, path: &str, problem: &str, hint: &str) -> ConfigError {
        self.error(path, source::Complaint::new(problem, hint))
    }

    /// The backend that is this box; `None` on a pure director.
    #[must_use]
    pub fn own_backend(&self) -> Option<&Backend> {
        let mut backends = self.cluster.backends();
        let own = backends.find(|(_, backend)| backend.name == self.node.name);
        own.map(|(_, backend)| backend)
    }

    /// Where the figures of a backend are asked for, for the sources that are asked by address:
    /// what its `stats.address` says, else its own address with the source's usual port (for `lbd`
    /// the port of this box's channel, when it has one: a cluster uses one port).
    #[must_use]
    pub fn stats_address(&self, backend: &Backend) -> Option<SocketAddr> {
        let (address, port) = match &backend.stats {
            Source::Lbd { address } => {
                let own = self.node.channel.map(|channel| channel.port());
                (address, own.unwrap_or(CHANNEL_PORT))
            }
            Source::AgentCheck { address } => (address, AGENT_CHECK_PORT),
            _ => return None,
        };
        Some(address.unwrap_or_else(|| SocketAddr::new(backend.address, port)))
    }

    fn error(&self, path: &str, complaint: source::Complaint) -> ConfigError {
        self.source.error(path, complaint)
    }
}
