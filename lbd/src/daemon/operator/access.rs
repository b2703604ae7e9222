//! Who may open sessions, as people ask for it and change it.
use std::{collections::BTreeSet, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{
    denials::{self, Denial, not_kept},
    feeds::{Changed, FeedChange, SetStatus},
};
use crate::{
    channel::DenialRecord,
    config::{Access, Network, duration::Shown},
    daemon::{
        clock,
        event_loop::EventLoop,
        observe::recent::{Kind, Severity},
    },
    dataplane::AccessLists,
};

/// Networks that a line of the log names.
const SHOWN: usize = 5;

/// A change of the denials by hand.
#[derive(Clone, Debug, Deserialize, Serialize)]
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

impl EventLoop {
    /// Every list as the maps should have it: the configuration's, and the denials by hand.
    pub(in crate::daemon) fn access_lists(&self) -> AccessLists {
        AccessLists {
            allow: self.config.allowed().iter().copied().collect(),
            deny: self
                .config
                .denied()
                .iter()
                .copied()
                .chain(self.denials.iter().map(|(network, _)| network))
                .chain(self.feeds.networks())
                .collect(),
        }
    }

    /// Who may open sessions, and whether `source` may.
    pub(in crate::daemon) fn access(&self, source: Option<IpAddr>) -> AccessStatus {
        let now = clock::unix_s();
        let Access {
            allow_file,
            deny_file,
            on_deny,
            new_per_second,
            ..
        } = &self.config.cluster.access;
        let lists = source.map(|source| (source, self.access_lists()));
        AccessStatus {
            allowed: self.config.allowed().len(),
            denied: self.config.denied().len(),
            allow_file: allow_file.as_ref().map(|file| file.display().to_string()),
            deny_file: deny_file.as_ref().map(|file| file.display().to_string()),
            on_deny: on_deny.to_string(),
            new_per_second: *new_per_second,
            by_hand: self
                .denials
                .iter()
                .map(|(network, denial)| denial_status(network, denial, now))
                .collect(),
            sets: self.feeds.status(),
            source: lists.map(|(source, lists)| judged(source, &lists)),
        }
    }

    /// Changes the denials by hand at once, and says what was done or why not.
    pub(in crate::daemon) fn change_access(
        &mut self,
        request: &AccessRequest,
    ) -> Result<String, String> {
        let said = match request {
            AccessRequest::Deny { network, for_s } => {
                self.deny_by_hand(parse_network(network)?, *for_s)
            }
            AccessRequest::Release { network } => self.release_by_hand(parse_network(network)?),
            AccessRequest::Feed {
                set,
                change,
                networks,
                for_s,
            } => {
                let said = self.feed(set, *change, networks, *for_s)?;
                // One address at a time comes often, and is no event of its own.
                info!("{said}");
                return Ok(said);
            }
        }?;
        self.happened(Severity::Info, Kind::Operator, None, said.clone());
        Ok(said)
    }

    fn deny_by_hand(&mut self, network: Network, for_s: Option<u64>) -> Result<String, String> {
        let covers = |allowed: &&Network| {
            allowed.prefix_len() <= network.prefix_len() && allowed.contains(network.address())
        };
        if let Some(allowed) = self.config.allowed().iter().find(covers) {
            return Err(format!(
                "{allowed} in access.allow overrides a denial of {network}: remove it from the configuration first"
            ));
        }
        let before = self
            .denials
            .iter()
            .find(|(known, _)| *known == network)
            .map(|(_, denial)| denial);
        let now = clock::unix_s();
        let denial = Denial {
            since_unix_s: now,
            until_unix_s: for_s.map(|seconds| now.saturating_add(seconds)),
        };
        let denied = self
            .denials
            .deny(network, denial, clock::unix_ns())
            .map_err(|error| not_kept(&error))?;
        match self.admit() {
            Ok(ended) => {
                self.channel.tell_denials(vec![denied]);
                let how_long = for_s.map_or("until `lbd undeny`".to_owned(), |seconds| {
                    format!("for {}", Shown(std::time::Duration::from_secs(seconds)))
                });
                Ok(format!(
                    "{network} is denied {how_long}; {ended} of its open sessions end"
                ))
            }
            Err(error) => {
                let back = match before {
                    Some(denial) => self
                        .denials
                        .deny(network, denial, clock::unix_ns())
                        .map(drop),
                    None => self.denials.release(network, clock::unix_ns()).map(drop),
                };
                if let Err(error) = back {
                    warn!("a denial that failed is still in node.state_dir: {error}");
                }
                Err(format!("nothing was changed: {error:#}"))
            }
        }
    }

    fn feed(
        &mut self,
        set: &str,
        change: FeedChange,
        networks: &[String],
        for_s: Option<u64>,
    ) -> Result<String, String> {
        let networks = networks.iter().map(|text| parse_network(text));
        let networks: Vec<Network> = networks.collect::<Result<_, _>>()?;
        let until = for_s.map(|seconds| clock::unix_s().saturating_add(seconds));
        let (changed, before) = self.feeds.change(set, change, &networks, until)?;
        match self.admit() {
            Ok(ended) => {
                let Changed { now, new, gone } = changed;
                Ok(format!(
                    "set {set} denies {now} networks, {new} of them new, {gone} no longer; {ended} open \
                     sessions of them end"
                ))
            }
            Err(error) => {
                if let Err(error) = self.feeds.put_back(set, before) {
                    warn!("a feed that failed is still in node.state_dir: {error}");
                }
                Err(format!("nothing was changed: {error:#}"))
            }
        }
    }

    fn release_by_hand(&mut self, network: Network) -> Result<String, String> {
        let released = self
            .denials
            .release(network, clock::unix_ns())
            .map_err(|error| not_kept(&error))?;
        let Some(released) = released else {
            let in_config = self.config.denied().contains(&network);
            return Err(if in_config {
                format!(
                    "{network} is denied by the configuration: remove it from access.deny or its file"
                )
            } else {
                format!("{network} is not denied by hand; `lbd access` lists what is")
            });
        };
        self.channel.tell_denials(vec![released]);
        self.admit()
            .map_err(|error| format!("it is still denied in the maps: {error:#}"))?;
        let also = self.access_lists().judge().denies(network.address());
        Ok(if also {
            format!("{network} is no longer denied by hand, but another entry still denies it")
        } else {
            format!("{network} is no longer denied")
        })
    }

    /// Denials by hand that a peer knows.
    pub(in crate::daemon) fn told_denials(&mut self, told: Vec<DenialRecord>) {
        let changed = match self.denials.merge(told, clock::unix_s()) {
            Ok(changed) if changed.is_empty() => return,
            Ok(changed) => changed,
            Err(error) => {
                return warn!("denials of a peer could not be saved in node.state_dir: {error}");
            }
        };
        let names: Vec<String> = changed
            .iter()
            .take(SHOWN)
            .map(ToString::to_string)
            .collect();
        let more = match changed.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let said = format!(
            "denied or admitted on another node: {}{more}",
            names.join(", ")
        );
        self.happened(Severity::Info, Kind::Operator, None, said);
        self.log_failure("the access lists", |event_loop| {
            event_loop.admit().map(|_| ())
        });
    }

    /// Ends the denials whose time is over.
    pub(in crate::daemon) fn expire_denials(&mut self) {
        match self.feeds.expire(clock::unix_s()) {
            Ok(0) => {}
            Ok(over) => {
                info!("{over} networks that feeds denied are denied no longer, their time is over");
                self.log_failure("the access lists", |event_loop| {
                    event_loop.admit().map(|_| ())
                });
            }
            Err(error) => warn!("denials of feeds that are over could not be taken out: {error}"),
        }
        if self.denials.is_empty() {
            return;
        }
        match self.denials.expire(clock::unix_s()) {
            Ok(over) if over.is_empty() => {}
            Ok(over) => {
                let names: BTreeSet<String> = over.iter().map(ToString::to_string).collect();
                info!(
                    "denials expired: {}",
                    names.into_iter().collect::<Vec<_>>().join(", ")
                );
                self.log_failure("the access lists", |event_loop| {
                    event_loop.admit().map(|_| ())
                });
            }
            Err(error) => warn!("expired denials could not be removed: {error}"),
        }
    }
}

fn denial_status(network: Network, denial: denials::Denial, now_unix_s: u64) -> DenialStatus {
    DenialStatus {
        network: network.to_string(),
        since_unix_s: denial.since_unix_s,
        left_s: denial
            .until_unix_s
            .map(|until| until.saturating_sub(now_unix_s)),
    }
}

fn judged(address: IpAddr, lists: &AccessLists) -> SourceStatus {
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
