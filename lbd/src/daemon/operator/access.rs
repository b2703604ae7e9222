//! Who may open sessions, as people ask for it and change it.
use std::{collections::BTreeSet, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    denials,
    feeds::{FeedChange, SetStatus},
};
use crate::{config::Network, dataplane::AccessLists};

/// A change of the denials by hand.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AccessRequest {
    /// No session of these sources from now on.
    Deny {
        /// An address, or a network `198.51.100.0/24`.
        network: String,
        /// How long; `None`: until it is taken back.
        for_s: Option<u64>,
    },
    /// Takes a denial back.
    Release {
        /// As it was denied.
        network: String,
    },
    /// A feed changes its set, on this node.
    Feed {
        /// The set's name.
        set: String,
        /// What it does to it.
        change: FeedChange,
        /// Addresses and networks.
        networks: Vec<String>,
        /// How long those are denied; `None`: until they are taken back.
        for_s: Option<u64>,
    },
}

/// What `lbd access --json` prints: who may open sessions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct AccessStatus {
    /// Networks of `access.allow` and its file.
    pub allowed: usize,
    /// Networks of `access.deny` and its file.
    pub denied: usize,
    /// `access.allow_file`.
    pub allow_file: Option<String>,
    /// `access.deny_file`.
    pub deny_file: Option<String>,
    /// `drop` or `reset`: what a denied source gets.
    pub on_deny: String,
    /// New sessions a second that one source may open; nothing: no limit.
    pub new_per_second: Option<u32>,
    /// The denials by hand, in the order of addresses.
    pub by_hand: Vec<DenialStatus>,
    /// The sets that feeds deny, on this node.
    #[serde(default)]
    pub sets: Vec<SetStatus>,
    /// The answer to a question about one source.
    pub source: Option<SourceStatus>,
}

/// A denial by hand.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct DenialStatus {
    /// `198.51.100.0/24`.
    pub network: String,
    /// When it was given, in seconds since 1970.
    pub since_unix_s: u64,
    /// Seconds until it ends by itself; nothing: it does not.
    pub left_s: Option<u64>,
}

/// What the lists say of one source.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SourceStatus {
    /// The source that was asked about.
    pub address: IpAddr,
    /// Whether it may open sessions, rates aside.
    pub admitted: bool,
    /// Allowed networks that hold it; one overrides every denial.
    pub allowed_by: Vec<String>,
    /// Denied networks that hold it, those by hand included.
    pub denied_by: Vec<String>,
}

/// A network as a person writes it.
pub fn parse_network(text: &str) -> Result<Network, String> {
    text.parse()
        .map_err(|error| format!("\"{text}\" is neither an address nor a network: {error}"))
}

/// A denial as people see it.
pub(super) fn denial_status(
    network: Network,
    denial: denials::Denial,
    now_unix_s: u64,
) -> DenialStatus {
    DenialStatus {
        network: network.to_string(),
        since_unix_s: denial.since_unix_s,
        left_s: denial
            .until_unix_s
            .map(|until| until.saturating_sub(now_unix_s)),
    }
}

/// What the lists say of a source.
pub(super) fn judged(address: IpAddr, lists: &AccessLists) -> SourceStatus {
    let holding = |networks: &BTreeSet<Network>| -> Vec<String> {
        networks
            .iter()
            .filter(|network| network.contains(address))
            .map(ToString::to_string)
            .collect()
    };
    let (allowed_by, denied_by) = (holding(&lists.allow), holding(&lists.deny));
    SourceStatus {
        address,
        admitted: denied_by.is_empty() || !allowed_by.is_empty(),
        allowed_by,
        denied_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_every_network_that_holds_it_and_an_allowance_outranks() {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let lists = AccessLists {
            allow: networks(&["198.51.100.7"]),
            deny: networks(&["198.51.100.0/24", "198.51.0.0/16", "2001:db8::/32"]),
        };
        for (source, admitted, denied_by) in [
            ("198.51.100.7", true, 2),
            ("198.51.100.8", false, 2),
            ("198.51.7.7", false, 1),
            ("203.0.113.1", true, 0),
            ("2001:db8::1", false, 1),
        ] {
            let judged = judged(source.parse().unwrap(), &lists);
            assert_eq!(judged.admitted, admitted, "{source}");
            assert_eq!(judged.denied_by.len(), denied_by, "{source}");
        }
    }
}
