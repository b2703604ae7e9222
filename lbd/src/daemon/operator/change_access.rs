//! Changes of who may open sessions, done, and the lists of all of them.
use std::{collections::BTreeSet, net::IpAddr};

use tracing::{info, warn};

use super::{
    Operators,
    access::{AccessRequest, AccessStatus, denial_status, judged, parse_network},
    denials::{Denial, not_kept},
    feeds::{Changed, FeedChange},
};
use crate::{
    channel::DenialRecord,
    config::{Access, Config, Network, duration::Shown},
    daemon::{
        clock,
        context::Context,
        log_failure::log_failure,
        observe::recent::{Kind, Severity},
        steering::admission::Admission,
    },
    dataplane::AccessLists,
};

/// Networks that a line of the log names.
const SHOWN: usize = 5;

impl Operators {
    /// Every list as the maps should have it: the configuration's, and the denials by hand.
    pub(in crate::daemon) fn access_lists(&self, config: &Config) -> AccessLists {
        AccessLists {
            allow: config.allowed().iter().copied().collect(),
            deny: config
                .denied()
                .iter()
                .copied()
                .chain(self.denials.iter().map(|(network, _)| network))
                .chain(self.feeds.networks())
                .collect(),
        }
    }

    /// Who may open sessions, and whether `source` may.
    pub(in crate::daemon) fn access(
        &self,
        config: &Config,
        source: Option<IpAddr>,
    ) -> AccessStatus {
        let now = clock::unix_s();
        let Access {
            allow_file,
            deny_file,
            on_deny,
            new_per_second,
            ..
        } = &config.cluster.access;
        let lists = source.map(|source| (source, self.access_lists(config)));
        AccessStatus {
            allowed: config.allowed().len(),
            denied: config.denied().len(),
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

    /// Puts lists and limits into the maps. Returns how many sessions of denied sources end.
    pub(in crate::daemon) fn admit(
        &self,
        admission: &mut Admission,
        context: &mut Context<'_>,
    ) -> anyhow::Result<u64> {
        let lists = self.access_lists(context.config);
        admission.apply(context.plane, context.config, &lists)
    }

    /// Changes the denials by hand at once, and says what was done or why not.
    pub(in crate::daemon) fn change_access(
        &mut self,
        request: &AccessRequest,
        admission: &mut Admission,
        context: &mut Context<'_>,
    ) -> Result<String, String> {
        let said = match request {
            AccessRequest::Deny { network, for_s } => {
                self.deny_by_hand(parse_network(network)?, *for_s, admission, context)
            }
            AccessRequest::Release { network } => {
                self.release_by_hand(parse_network(network)?, admission, context)
            }
            AccessRequest::Feed {
                set,
                change,
                networks,
                for_s,
            } => {
                let said = self.feed((set, *change, networks, *for_s), admission, context)?;
                // One address at a time comes often, and is no event of its own.
                info!("{said}");
                return Ok(said);
            }
        }?;
        context
            .observed
            .happened(Severity::Info, Kind::Operator, None, said.clone());
        Ok(said)
    }

    fn deny_by_hand(
        &mut self,
        network: Network,
        for_s: Option<u64>,
        admission: &mut Admission,
        context: &mut Context<'_>,
    ) -> Result<String, String> {
        let covers = |allowed: &&Network| {
            allowed.prefix_len() <= network.prefix_len() && allowed.contains(network.address())
        };
        if let Some(allowed) = context.config.allowed().iter().find(covers) {
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
        match self.admit(admission, context) {
            Ok(ended) => {
                context.cluster.channel.tell_denials(vec![denied]);
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
        (set, change, networks, for_s): (&str, FeedChange, &[String], Option<u64>),
        admission: &mut Admission,
        context: &mut Context<'_>,
    ) -> Result<String, String> {
        let networks = networks.iter().map(|text| parse_network(text));
        let networks: Vec<Network> = networks.collect::<Result<_, _>>()?;
        let until = for_s.map(|seconds| clock::unix_s().saturating_add(seconds));
        let (changed, before) = self.feeds.change(set, change, &networks, until)?;
        match self.admit(admission, context) {
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

    fn release_by_hand(
        &mut self,
        network: Network,
        admission: &mut Admission,
        context: &mut Context<'_>,
    ) -> Result<String, String> {
        let released = self
            .denials
            .release(network, clock::unix_ns())
            .map_err(|error| not_kept(&error))?;
        let Some(released) = released else {
            let in_config = context.config.denied().contains(&network);
            return Err(if in_config {
                format!(
                    "{network} is denied by the configuration: remove it from access.deny or its file"
                )
            } else {
                format!("{network} is not denied by hand; `lbd access` lists what is")
            });
        };
        context.cluster.channel.tell_denials(vec![released]);
        self.admit(admission, context)
            .map_err(|error| format!("it is still denied in the maps: {error:#}"))?;
        let also = self
            .access_lists(context.config)
            .judge()
            .denies(network.address());
        Ok(if also {
            format!("{network} is no longer denied by hand, but another entry still denies it")
        } else {
            format!("{network} is no longer denied")
        })
    }

    /// Denials by hand that a peer knows.
    pub(in crate::daemon) fn told_denials(
        &mut self,
        told: Vec<DenialRecord>,
        admission: &mut Admission,
        context: &mut Context<'_>,
    ) {
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
        context
            .observed
            .happened(Severity::Info, Kind::Operator, None, said);
        log_failure("the access lists", self.admit(admission, context).map(drop));
    }

    /// Ends the denials whose time is over.
    pub(in crate::daemon) fn expire_denials(
        &mut self,
        admission: &mut Admission,
        context: &mut Context<'_>,
    ) {
        match self.feeds.expire(clock::unix_s()) {
            Ok(0) => {}
            Ok(over) => {
                info!("{over} networks that feeds denied are denied no longer, their time is over");
                log_failure("the access lists", self.admit(admission, context).map(drop));
            }
            Err(error) => warn!("cannot remove the expired denials of feeds: {error}"),
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
                log_failure("the access lists", self.admit(admission, context).map(drop));
            }
            Err(error) => warn!("expired denials could not be removed: {error}"),
        }
    }
}
