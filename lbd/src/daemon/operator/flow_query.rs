//! `lbd flows`: which sessions are in the flow table. A walk over shared memory, off the event loop.
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use lbd_common::flow::{FlowWord, SEEN_SHIFT, flag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::Network,
    dataplane::{FlowTables, Service},
    flows::{FlowKey, FlowState, Flows, age},
};

/// The most flows or sources that one answer lists.
pub const MOST: usize = 10_000;

/// Which flows are wanted. What is not named is not asked about.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FlowQuery {
    /// Steered to this backend.
    pub backend: Option<String>,
    /// Of an address or a network.
    pub source: Option<String>,
    /// In this state.
    pub state: Option<FlowState>,
    /// At most so many are listed; all are counted.
    pub limit: Option<usize>,
    /// The sources with the most flows instead of single flows.
    #[serde(default)]
    pub by_source: bool,
}

/// What `lbd flows --json` prints.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct FlowList {
    /// Flows that the query asks for.
    pub matched: u64,
    /// Flows in the table.
    pub total: u64,
    /// The first of those that match, in the order of their sources; empty when asked by source.
    pub flows: Vec<FlowStatus>,
    /// The sources with the most matching flows, most first; empty when not asked by source.
    pub sources: Vec<SourceCount>,
    /// How long the walk took, in milliseconds.
    pub walk_ms: f64,
}

/// A flow.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct FlowStatus {
    /// The client.
    pub source: SocketAddr,
    /// The virtual address and port; nothing when it is no longer served.
    pub vip: Option<SocketAddr>,
    /// The backend's name, or its id when it is no longer in the configuration.
    pub backend: String,
    /// Its state.
    pub state: FlowState,
    /// Seconds since a frame of the client was seen, to a second.
    pub idle_s: u64,
    /// A peer told of it.
    pub from_peer: bool,
    /// It was made from a frame in mid-session, after a failover.
    pub adopted: bool,
}

/// A source with its flows.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SourceCount {
    /// The client's address.
    pub source: IpAddr,
    /// Matching flows of it.
    pub flows: u64,
}

/// The tables, and what gives their ids names.
#[derive(Debug)]
pub(in crate::daemon) struct FlowView {
    pub(in crate::daemon) tables: FlowTables,
    pub(in crate::daemon) backends: BTreeMap<u16, String>,
    pub(in crate::daemon) services: Vec<Service>,
    pub(in crate::daemon) now_seen: u16,
}

/// A query with its names looked up.
struct Wanted {
    /// More than one while it has sessions of a time when it was reached in another way.
    backends: Option<Vec<u16>>,
    source: Option<Network>,
    state: Option<FlowState>,
}

impl FlowView {
    /// Walks both tables. The error is a sentence on the query.
    pub(in crate::daemon) fn list(&self, query: &FlowQuery) -> Result<FlowList, String> {
        let wanted = self.wanted(query)?;
        let limit = query.limit.unwrap_or(100).min(MOST);
        let begun = Instant::now();
        let mut found = Found::default();
        found.walk(&self.tables.v4(), &wanted, query.by_source);
        found.walk(&self.tables.v6(), &wanted, query.by_source);
        let mut list = FlowList {
            matched: found.matched,
            total: found.total,
            sources: most(found.by_source, limit),
            ..FlowList::default()
        };
        found.flows.sort_unstable_by_key(|(source, ..)| *source);
        found.flows.truncate(limit);
        list.flows = found
            .flows
            .into_iter()
            .map(|(source, vip, word)| self.status(source, vip, word))
            .collect();
        list.walk_ms = begun.elapsed().as_secs_f64() * 1000.0;
        Ok(list)
    }

    fn wanted(&self, query: &FlowQuery) -> Result<Wanted, String> {
        let backends = match &query.backend {
            None => None,
            Some(name) => Some(self.ids_of(name)?),
        };
        let source = match &query.source {
            None => None,
            Some(text) => Some(super::access::parse_network(text)?),
        };
        Ok(Wanted {
            backends,
            source,
            state: query.state,
        })
    }

    fn ids_of(&self, name: &str) -> Result<Vec<u16>, String> {
        let known = self.backends.iter().filter(|(_, known)| *known == name);
        let ids: Vec<u16> = known.map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            return Ok(ids);
        }
        let names: BTreeSet<&str> = self.backends.values().map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        Err(format!(
            "there is no backend {name}; the backends are {}",
            names.join(", ")
        ))
    }

    fn status(&self, source: SocketAddr, vip: u16, word: FlowWord) -> FlowStatus {
        let backend = self.backends.get(&word.backend);
        let service = self.services.iter().find(|service| service.id == vip);
        FlowStatus {
            source,
            vip: service.map(|service| service.address),
            backend: backend.map_or_else(|| format!("#{}", word.backend), Clone::clone),
            state: FlowState::of(word),
            idle_s: (u64::from(age(self.now_seen, word.seen)) << SEEN_SHIFT) / 1_000_000_000,
            from_peer: word.flags & flag::FROM_PEER != 0,
            adopted: word.flags & flag::ADOPTED != 0,
        }
    }
}

/// What a walk has found so far. It keeps a key and a word a flow, 40 bytes, so that a million of
/// them are sorted in 40 MB and forgotten.
#[derive(Default)]
struct Found {
    total: u64,
    matched: u64,
    flows: Vec<(SocketAddr, u16, FlowWord)>,
    by_source: HashMap<IpAddr, u64>,
}

impl Found {
    fn walk<K: FlowKey>(&mut self, flows: &Flows<'_, K>, wanted: &Wanted, by_source: bool) {
        for flow in flows.iter() {
            self.total += 1;
            let (source, word) = (flow.key.source(), flow.word);
            let is_wanted = |ids: &Vec<u16>| ids.contains(&word.backend);
            let matches = wanted.backends.as_ref().is_none_or(is_wanted)
                && wanted
                    .state
                    .is_none_or(|state| FlowState::of(word) == state)
                && wanted
                    .source
                    .is_none_or(|network| network.contains(source.ip()));
            if !matches {
                continue;
            }
            self.matched += 1;
            if by_source {
                *self.by_source.entry(source.ip()).or_default() += 1;
            } else {
                self.flows.push((source, flow.key.vip_id(), word));
            }
        }
    }
}

/// The sources with the most flows, most first; equals in the order of addresses.
fn most(by_source: HashMap<IpAddr, u64>, limit: usize) -> Vec<SourceCount> {
    let mut counts: Vec<(IpAddr, u64)> = by_source.into_iter().collect();
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    counts
        .into_iter()
        .take(limit)
        .map(|(source, flows)| SourceCount { source, flows })
        .collect()
}

#[cfg(test)]
mod tests {
    use lbd_common::flow::state;

    use super::*;
    use crate::flows::{Insert, Key4, NewFlow};

    fn view() -> FlowView {
        let tables = FlowTables::anonymous(1024, 1024).unwrap();
        for number in 0..200_u16 {
            let key = Key4 {
                source: std::net::Ipv4Addr::new(203, 0, 113, u8::try_from(number % 10).unwrap()),
                port: 1000 + number,
                vip_id: 7,
            };
            let new = NewFlow {
                backend: number % 4,
                state: if number < 50 {
                    state::HALF_OPEN
                } else {
                    state::ESTABLISHED
                },
                flags: flag::FROM_PEER,
            };
            assert_eq!(tables.v4().insert(key, new, 100), Insert::Inserted);
        }
        FlowView {
            tables,
            backends: (0..3).map(|id| (id, format!("mx{id}"))).collect(),
            services: vec![Service {
                address: "192.0.2.25:25".parse().unwrap(),
                id: 7,
            }],
            now_seen: 102,
        }
    }

    #[test]
    fn flows_are_filtered_counted_and_listed_within_the_limit() {
        let view = view();
        let query = |backend: Option<&str>, source: Option<&str>, state, limit| FlowQuery {
            backend: backend.map(str::to_owned),
            source: source.map(str::to_owned),
            state,
            limit,
            by_source: false,
        };
        for (query, matched, shown) in [
            (query(None, None, None, None), 200, 100),
            (query(Some("mx1"), None, None, Some(7)), 50, 7),
            (query(None, Some("203.0.113.4"), None, None), 20, 20),
            (query(None, Some("203.0.113.0/29"), None, None), 160, 100),
            (query(None, Some("2001:db8::/32"), None, None), 0, 0),
            (query(None, None, Some(FlowState::HalfOpen), None), 50, 50),
            (query(None, None, None, Some(0)), 200, 0),
            (query(None, None, None, Some(usize::MAX)), 200, 200),
        ] {
            let list = view.list(&query).unwrap();
            assert_eq!(
                (list.total, list.matched, list.flows.len()),
                (200, matched, shown),
                "{query:?}"
            );
        }
        let list = view.list(&FlowQuery::default()).unwrap();
        assert!(list.flows.is_sorted_by_key(|flow| flow.source));
        let first = &list.flows[0];
        assert_eq!(first.vip, Some("192.0.2.25:25".parse().unwrap()));
        assert_eq!((first.idle_s, first.from_peer), (2, true));
        // A backend that is no longer in the configuration.
        let gone = list.flows.iter().filter(|flow| flow.backend == "#3");
        assert!(gone.count() > 0);
    }

    #[test]
    fn sessions_of_two_ways_to_a_backend_are_all_its_own() {
        let mut view = view();
        view.backends.insert(3, "mx1".to_owned());
        let query = |name: &str| FlowQuery {
            backend: Some(name.to_owned()),
            ..FlowQuery::default()
        };
        assert_eq!(view.list(&query("mx1")).unwrap().matched, 100);
        let unknown = view.list(&query("mx9")).unwrap_err();
        assert!(
            unknown.contains("the backends are mx0, mx1, mx2"),
            "{unknown}"
        );
    }

    #[test]
    fn the_busiest_sources_come_first() {
        let query = FlowQuery {
            by_source: true,
            limit: Some(3),
            source: Some("203.0.113.8/29".to_owned()),
            ..FlowQuery::default()
        };
        let list = view().list(&query).unwrap();
        let sources: Vec<_> = list
            .sources
            .iter()
            .map(|count| (count.source.to_string(), count.flows))
            .collect();
        assert_eq!(
            sources,
            [
                ("203.0.113.8".to_owned(), 20),
                ("203.0.113.9".to_owned(), 20)
            ]
        );
        assert!(list.flows.is_empty());
    }

    #[test]
    fn a_query_that_makes_no_sense_is_told_what_would() {
        for (backend, source, said) in [
            (Some("mx9"), None, "the backends are mx0, mx1, mx2"),
            (None, Some("nonsense"), "neither an address nor a network"),
        ] {
            let query = FlowQuery {
                backend: backend.map(str::to_owned),
                source: source.map(str::to_owned),
                ..FlowQuery::default()
            };
            let error = view().list(&query).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
