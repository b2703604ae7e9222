//! What `lbd status --json` prints: the daemon's state as plain data. The field names are a contract.
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flow_table_status::FlowTablesStatus;
use crate::{channel::Comparison, daemon::operator::order::Then, push::Version};

/// The whole.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Status {
    /// `node.name`.
    pub node: String,
    /// The daemon's version.
    pub version: String,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// `master` or `backup`.
    pub role: String,
    /// The master's name, or its address when the configuration does not know it.
    pub master: Option<String>,
    /// The election in detail.
    pub election: ElectionStatus,
    /// The virtual addresses.
    pub virtual_addresses: Vec<VirtualAddressStatus>,
    /// The interfaces XDP is attached to.
    pub interfaces: Vec<InterfaceStatus>,
    /// Every backend of every site.
    pub backends: Vec<BackendStatus>,
    /// Every port of every virtual address.
    #[serde(default)]
    pub services: Vec<ServiceStatus>,
    /// How full the flow tables are, and with what.
    #[serde(default)]
    pub flows: FlowTablesStatus,
    /// The data plane's counters, summed over the CPUs.
    pub counters: BTreeMap<String, u64>,
    /// The election's counters.
    pub election_counters: BTreeMap<String, u64>,
    /// The cluster channel: what this node's peers know of its flows, and it of theirs.
    pub channel: ChannelStatus,
    /// The history in `node.state_dir`.
    pub history: HistoryStatus,
    /// Which configuration is running.
    pub config: ConfigStatus,
}

/// The election in detail.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ElectionStatus {
    /// `cluster.virtual_router_id`.
    pub virtual_router_id: u8,
    /// `node.priority`.
    pub priority: u8,
    /// What is advertised: `node.priority`, or 1 while no backend is healthy (where
    /// `cluster.no_healthy_backend` says so).
    pub advertised_priority: u8,
    /// Why the role is what it is.
    pub reason: String,
    /// Seconds since the role last changed.
    pub since_s: u64,
    /// How often this node became master since it started.
    pub times_master: u64,
    /// This box hears neither a node nor a gateway: it is cut off.
    #[serde(default)]
    pub isolated: bool,
    /// Seconds since this box last found that it had been cut off or paused.
    #[serde(default)]
    pub rejoined_s: Option<u64>,
    /// What is wrong with the election and needs an operator.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A virtual address.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct VirtualAddressStatus {
    /// Without its prefix length.
    pub address: IpAddr,
    /// The served ports.
    pub ports: Vec<u16>,
    /// Whether this node holds it right now.
    pub held: bool,
}

/// A port of a virtual address, over all backends.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ServiceStatus {
    /// The virtual address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Live sessions through this node's flow table, as of the last sweep.
    pub sessions: u64,
    /// Unique sources among them.
    pub unique_sources: u64,
    /// Sessions that were selected for a backend, since the data plane was loaded.
    pub steered_sessions: u64,
}

/// An interface that XDP is attached to.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct InterfaceStatus {
    /// `eth0`.
    pub name: String,
    /// `native`, `generic`, or `none` while the program is not on it.
    pub xdp_mode: String,
    /// Why it is not `native`, where that was tried first: the driver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_refused: Option<String>,
    /// Whether it has a carrier.
    pub up: bool,
}

/// A backend.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct BackendStatus {
    /// As in the configuration.
    pub name: String,
    /// Its site.
    pub site: String,
    /// Its index in the maps.
    pub id: u16,
    /// Its own address.
    pub address: IpAddr,
    /// The resolved link-layer address of it, or of the gateway to it.
    pub mac: Option<String>,
    /// `up`, `full`, `not_serving`, `down` or `unknown`.
    pub health: String,
    /// Why, when it is not up.
    pub health_reason: Option<String>,
    /// The configured weight.
    pub weight: u16,
    /// The effective weight, in thousandths of a weight unit; 0 takes no new session.
    pub weight_permille: u32,
    /// Whether new sessions go to it.
    pub accepting: bool,
    /// Why the weight is what it is.
    pub reason: String,
    /// The same as a word for machines: `normal`, `drained`, `shut_off_above_average`; empty before
    /// the first decision.
    pub reason_kind: String,
    /// `drain`, a weight set by hand, or nothing.
    pub operator: Option<String>,
    /// How the drain ends, when it has a deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// Live sessions through this node's flow table.
    pub sessions: u64,
    /// Those of them that were opened when it was reached in another way (`nat` or not, another port),
    /// and go on in that way until they end.
    #[serde(default)]
    pub leaving_sessions: u64,
    /// Unique sources among them, as of the last sweep.
    pub unique_sources: u64,
    /// How often it stopped to take new sessions since the daemon started, by `reason_kind`.
    pub shut_offs: BTreeMap<String, u64>,
    /// Why its figures cannot be had right now.
    pub poll_error: Option<String>,
    /// Polls for its figures that failed since the daemon started.
    pub poll_failures: u64,
    /// What it reported last.
    pub reported: Option<ReportedStatus>,
    /// Frames, bytes and sessions steered to it since the data plane was loaded.
    pub steered: SteeredStatus,
}

/// A drain with a deadline.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
pub struct DrainStatus {
    /// Seconds until the open sessions have had long enough; 0 after that.
    pub left_s: u64,
    /// What becomes of them then: `keep` or `reset`.
    pub then: Then,
}

/// What a backend reported.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ReportedStatus {
    /// Seconds since it was asked.
    pub age_s: f64,
    /// Messages waiting for delivery.
    pub queued: Option<u64>,
    /// Messages deferred.
    pub deferred: Option<u64>,
    /// Open SMTP sessions.
    pub sessions: Option<u64>,
    /// Unique client addresses among them.
    pub unique_ips: Option<u64>,
    /// Connections that wait for the MTA to accept them.
    pub not_accepted: Option<u64>,
}

/// What went to a backend.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct SteeredStatus {
    /// Frames.
    pub packets: u64,
    /// Bytes, Ethernet header included.
    pub bytes: u64,
    /// Sessions that were selected for it.
    pub sessions: u64,
}

/// The cluster channel.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct ChannelStatus {
    /// Why there is no stream of flows; nothing when there is one.
    pub off: Option<String>,
    /// The other nodes.
    pub peers: Vec<PeerStatus>,
    /// Sessions that this box's own kernel has; nothing where it is not asked, or cannot tell.
    pub own_sessions: Option<u64>,
    /// Why this box cannot tell of its own sessions, where it should.
    pub own_sessions_off: Option<String>,
    /// What is wrong among the nodes and needs an operator.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Its counters.
    pub counters: BTreeMap<String, u64>,
}

impl ChannelStatus {
    /// The peers whose configuration is not this node's, and what to report about it.
    pub fn config_differences(&self) -> impl Iterator<Item = (&PeerStatus, String)> {
        let peers = self.peers.iter();
        peers.filter_map(|peer| Some((peer, peer.config_differs()?)))
    }
}

/// Another node, as the cluster channel sees it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PeerStatus {
    /// As in the configuration.
    pub name: String,
    /// Where it is sent datagrams.
    pub address: SocketAddr,
    /// Seconds since it was heard; nothing when it never was.
    pub heard_s: Option<f64>,
    /// Whether this node has all of its flows.
    pub complete: bool,
    /// Whether it tells of its own kernel's sessions: which have begun, and which have ended.
    pub tells_sessions: bool,
    /// The version of the cluster's configuration that it was given last; nothing while it has not
    /// said so.
    pub config_version: Option<u64>,
    /// How that compares with this node's.
    pub config: Option<ConfigComparison>,
}

/// How the configuration that a peer was given last compares with this node's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigComparison {
    /// It is the same.
    Same,
    /// It is an earlier one: the peer is behind.
    Behind,
    /// It is a later one: this node is behind.
    Ahead,
    /// It has the same number, and is another.
    Other,
}

impl From<Comparison> for ConfigComparison {
    fn from(comparison: Comparison) -> Self {
        match comparison {
            Comparison::Same => Self::Same,
            Comparison::Behind => Self::Behind,
            Comparison::Ahead => Self::Ahead,
            Comparison::Other => Self::Other,
        }
    }
}

impl PeerStatus {
    /// What to report about its configuration, if anything: `behind at version 1`.
    #[must_use]
    pub fn config_differs(&self) -> Option<String> {
        let number = self.config_version?;
        match self.config? {
            ConfigComparison::Same => None,
            ConfigComparison::Behind => Some(format!("behind at version {number}")),
            ConfigComparison::Ahead => Some(format!("ahead at version {number}")),
            ConfigComparison::Other => Some(format!("at another version {number}")),
        }
    }
}

/// The history in `node.state_dir`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct HistoryStatus {
    /// The file.
    pub file: String,
    /// Why nothing is kept right now; nothing when it is.
    pub problem: Option<String>,
    /// Bytes of it that are in use.
    pub used_bytes: u64,
    /// The first minute that is kept, in seconds since 1970.
    pub oldest_unix_s: Option<u64>,
    /// The last one.
    pub latest_unix_s: Option<u64>,
    /// Its counters.
    pub counters: BTreeMap<String, u64>,
}

/// Which configuration is running.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ConfigStatus {
    /// The file.
    pub path: String,
    /// When the running configuration was read, in seconds since 1970.
    pub loaded_unix_s: u64,
    /// Why the file as it is now was refused; the running configuration is the one before.
    pub refused: Option<String>,
    /// What `lbd push` gave this node last, or what it found at its first start.
    pub version: Option<Version>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::flow_table_status::FlowTableStatus;
    use super::*;

    /// A node with one backend.
    pub(crate) fn small() -> Status {
        let counters = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 5)).collect();
        Status {
            node: "mx1".to_owned(),
            version: "0.0.0".to_owned(),
            uptime_s: 90,
            role: "master".to_owned(),
            master: Some("mx1".to_owned()),
            election: ElectionStatus {
                virtual_router_id: 51,
                priority: 200,
                advertised_priority: 200,
                reason: "no better candidate is heard".to_owned(),
                since_s: 80,
                times_master: 1,
                isolated: false,
                rejoined_s: None,
                warnings: Vec::new(),
            },
            virtual_addresses: vec![VirtualAddressStatus {
                address: IpAddr::from([192, 0, 2, 25]),
                ports: vec![25],
                held: true,
            }],
            interfaces: vec![InterfaceStatus {
                name: "eth0".to_owned(),
                xdp_mode: "native".to_owned(),
                native_refused: None,
                up: true,
            }],
            backends: vec![backend("mx1", 12)],
            services: vec![ServiceStatus {
                address: IpAddr::from([192, 0, 2, 25]),
                port: 25,
                sessions: 12,
                unique_sources: 7,
                steered_sessions: 4711,
            }],
            flows: FlowTablesStatus {
                ipv4: FlowTableStatus {
                    places: 1000,
                    unproven: 3,
                    established: 12,
                    ..FlowTableStatus::default()
                },
                ..FlowTablesStatus::default()
            },
            counters: counters(&["pass_malformed", "flow_opened"]),
            election_counters: counters(&["adverts_sent", "wrong_ttl"]),
            channel: ChannelStatus {
                off: None,
                peers: vec![PeerStatus {
                    name: "mx2".to_owned(),
                    address: SocketAddr::from(([192, 0, 2, 12], 9426)),
                    heard_s: Some(0.25),
                    complete: true,
                    tells_sessions: true,
                    config_version: Some(0),
                    config: Some(ConfigComparison::Same),
                }],
                own_sessions: Some(12),
                warnings: Vec::new(),
                own_sessions_off: None,
                counters: counters(&["bytes_sent"]),
            },
            history: HistoryStatus {
                file: "/var/lib/lbd/history.db".to_owned(),
                used_bytes: 1 << 20,
                counters: counters(&["rows_recorded"]),
                ..HistoryStatus::default()
            },
            config: ConfigStatus {
                path: "/etc/lbd/lbd.yaml".to_owned(),
                loaded_unix_s: 1_700_000_000,
                refused: None,
                version: None,
            },
        }
    }

    /// A backend that takes sessions.
    pub(crate) fn backend(name: &str, sessions: u64) -> BackendStatus {
        BackendStatus {
            name: name.to_owned(),
            site: "here".to_owned(),
            id: 0,
            address: IpAddr::from([192, 0, 2, 11]),
            mac: Some("02:00:00:00:00:01".to_owned()),
            health: "up".to_owned(),
            health_reason: None,
            weight: 100,
            weight_permille: 75_000,
            accepting: true,
            reason: "75 % of its weight: 10 unique sources".to_owned(),
            reason_kind: "loaded".to_owned(),
            drain: None,
            operator: None,
            sessions,
            leaving_sessions: 0,
            unique_sources: 10,
            shut_offs: BTreeMap::new(),
            poll_error: None,
            poll_failures: 2,
            reported: Some(ReportedStatus {
                age_s: 1.5,
                queued: Some(7),
                deferred: None,
                sessions: Some(13),
                unique_ips: Some(11),
                not_accepted: Some(0),
            }),
            steered: SteeredStatus {
                packets: 1000,
                bytes: 64_000,
                sessions: 100,
            },
        }
    }
}
