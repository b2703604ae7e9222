//! `cluster.stats`: where the figures of the backends come from.
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::duration;

/// The port of a peer's channel when nothing else is said.
pub const CHANNEL_PORT: u16 = 9426;
/// The port of an agent that speaks HAProxy's line protocol when nothing else is said.
pub const AGENT_CHECK_PORT: u16 = 9427;

/// Certificates in PEM that sign those of `https://` servers, when nothing else is said: Debian's public
/// authorities.
pub const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Polling, for all backends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Between two polls of a backend, and between two rounds of the policy. Default 10 s.
    #[serde(serialize_with = "duration::serialize")]
    pub interval: Duration,
    /// For one answer; at most the interval. Default 2 s.
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
    /// For the backends that name none themselves. Default `lbd`.
    #[serde(flatten)]
    pub source: Source,
}

/// Where the figures of a backend come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Another lbd, or `lbd agent`.
    Lbd {
        /// Default `null`: the backend's address, port [`CHANNEL_PORT`].
        address: Option<SocketAddr>,
    },
    /// JSON over HTTP. Fields are JSON pointers (RFC 6901), `/queue/active`.
    HttpJson {
        /// `{address}` and `{name}` in it stand for the backend's.
        url: String,
        /// See [`CA_FILE`]; for an `https://` address.
        ca_file: Option<PathBuf>,
        /// Which figure stands where.
        fields: Fields,
    },
    /// A Prometheus exporter. Fields are metrics, `name` or `name{label="value"}`; what matches is summed.
    Prometheus {
        /// `{address}` and `{name}` in it stand for the backend's.
        url: String,
        /// See [`CA_FILE`]; for an `https://` address.
        ca_file: Option<PathBuf>,
        /// Which figure is which metric.
        fields: Fields,
    },
    /// HAProxy's agent-check line over TCP.
    AgentCheck {
        /// Default `null`: the backend's address, port [`AGENT_CHECK_PORT`].
        address: Option<SocketAddr>,
    },
    /// A program that prints lbd's JSON; started without a shell.
    Command {
        /// The program's absolute path and its arguments. `{address}` and `{name}` in an argument
        /// stand for the backend's.
        command: Vec<String>,
    },
    /// Only what lbd's own flow table tells.
    None,
}

/// Where each figure is found in an answer; those not given stay unknown.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Fields {
    /// Messages that wait for their first or next attempt right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<String>,
    /// Messages that were deferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
    /// Open SMTP sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// Different client addresses among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_ips: Option<String>,
    /// Connections that the mail server has not accepted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_accepted: Option<String>,
}

impl Source {
    /// Its name in the file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lbd { .. } => "lbd",
            Self::HttpJson { .. } => "http-json",
            Self::Prometheus { .. } => "prometheus",
            Self::AgentCheck { .. } => "agent-check",
            Self::Command { .. } => "command",
            Self::None => "none",
        }
    }
}

impl Fields {
    /// Each figure's name with where it is found.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("queued", &self.queued),
            ("deferred", &self.deferred),
            ("sessions", &self.sessions),
            ("unique_ips", &self.unique_ips),
            ("not_accepted", &self.not_accepted),
        ]
        .into_iter()
        .filter_map(|(name, field)| Some((name, field.as_deref()?)))
    }
}

// As in the file: the fields of the source stand next to its name.
impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("source", self.name())?;
        match self {
            Self::Lbd { address } | Self::AgentCheck { address } => {
                if let Some(address) = address {
                    map.serialize_entry("address", address)?;
                }
            }
            Self::HttpJson {
                url,
                ca_file,
                fields,
            }
            | Self::Prometheus {
                url,
                ca_file,
                fields,
            } => {
                map.serialize_entry("url", url)?;
                if let Some(ca_file) = ca_file {
                    map.serialize_entry("ca_file", ca_file)?;
                }
                for (name, place) in fields.iter() {
                    map.serialize_entry(name, place)?;
                }
            }
            Self::Command { command } => map.serialize_entry("command", command)?,
            Self::None => {}
        }
        map.end()
    }
}
