//! What scripts read of `lbd status --json`; other fields are ignored here.
use std::collections::BTreeMap;

use serde::Deserialize;

/// The state of one node.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// `master` or `backup`.
    pub role: String,
    /// The master's name, when this node knows one.
    pub master: Option<String>,
    /// Every backend of every site.
    pub backends: Vec<Backend>,
    /// Every port of every virtual address.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Where XDP is attached.
    pub interfaces: Vec<Interface>,
    /// The data plane's, by name.
    pub counters: BTreeMap<String, u64>,
    /// The election.
    pub election: Election,
    /// The election's counters, by name.
    pub election_counters: BTreeMap<String, u64>,
    /// The cluster channel.
    pub channel: Channel,
}

/// A port of a virtual address.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// The port.
    pub port: u16,
    /// Open sessions.
    pub sessions: u64,
    /// Sessions that began.
    pub steered_sessions: u64,
}

/// Why a node is what it is.
#[derive(Clone, Debug, Deserialize)]
pub struct Election {
    /// A sentence.
    pub reason: String,
    /// As in its configuration.
    pub priority: u8,
    /// What it says.
    pub advertised_priority: u8,
    /// Since its start.
    pub times_master: u64,
}

/// What a node and its peers know of each other's flows.
#[derive(Clone, Debug, Deserialize)]
pub struct Channel {
    /// Why there is none.
    pub off: Option<String>,
    /// What is wrong among the nodes.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The other nodes.
    pub peers: Vec<Peer>,
    /// By name.
    pub counters: BTreeMap<String, u64>,
}

/// Another node.
#[derive(Clone, Debug, Deserialize)]
pub struct Peer {
    /// As in the configuration.
    pub name: String,
    /// Whether all its flows are known.
    pub complete: bool,
    /// Whether it tells of its own kernel's sessions.
    pub tells_sessions: bool,
}

/// A backend as a node sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Backend {
    /// As in the configuration.
    pub name: String,
    /// `up`, `full`, `not_serving`, `down` or `unknown`.
    pub health: String,
    /// The effective weight, in thousandths of a weight's unit.
    pub weight_permille: u32,
    /// Whether new sessions go to it.
    pub accepting: bool,
    /// `drain`, a weight set by hand, or nothing.
    pub operator: Option<String>,
    /// How a drain ends.
    pub drain: Option<Drain>,
    /// Live sessions in this node's flow table.
    pub sessions: u64,
    /// Those of them that were opened when it was reached in another way.
    pub leaving_sessions: u64,
    /// Why the weight is what it is.
    pub reason: String,
    /// The same as a word.
    pub reason_kind: String,
    /// What its agent reported last.
    pub reported: Option<Reported>,
}

/// A drain with a deadline.
#[derive(Clone, Debug, Deserialize)]
pub struct Drain {
    /// Seconds left.
    pub left_s: u64,
    /// `keep` or `reset`.
    pub then: String,
}

/// A backend's own figures.
#[derive(Clone, Debug, Deserialize)]
pub struct Reported {
    /// Messages that wait.
    pub queued: Option<u64>,
    /// Open SMTP sessions.
    pub sessions: Option<u64>,
    /// Different client addresses among them.
    pub unique_ips: Option<u64>,
}

/// An interface with XDP.
#[derive(Clone, Debug, Deserialize)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// `native` or `generic`.
    pub xdp_mode: String,
}

impl Status {
    /// The backend of that name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// Live sessions in this node's flow table.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.backends.iter().map(|backend| backend.sessions).sum()
    }

    /// Whether this node is the master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.role == "master"
    }

    /// Whether this node has the whole table of every peer.
    #[must_use]
    pub fn knows_all_peers(&self) -> bool {
        self.channel.peers.iter().all(|peer| peer.complete)
    }
}

impl Backend {
    /// Messages that its agent counted.
    #[must_use]
    pub fn queued(&self) -> Option<u64> {
        self.reported.as_ref()?.queued
    }
}
