//! What the lab's clusters differ in, and the configuration files that come of it.
use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::lab::{Host, INTERFACE, addresses};

/// The port of `node.http`.
pub const HTTP_PORT: u16 = 9425;

/// A cluster of all nodes of a lab. Durations are written as in the file: `200ms`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Settings {
    /// The weight of each node; a node beyond the list has 100.
    pub weights: Vec<u32>,
    /// The priority of each node; a node beyond the list has 10 less than the one before it.
    pub priorities: Vec<u8>,
    /// Between two advertisements.
    pub advertisement_interval: &'static str,
    /// Between two polls and two rounds of the policy.
    pub stats_interval: &'static str,
    /// The value of `cluster.policy`, in braces.
    pub policy: String,
    /// The value of `cluster.health`, in braces.
    pub health: String,
    /// Whether there is an IPv4 VIP.
    pub ipv4: bool,
    /// Whether there is an IPv6 VIP.
    pub ipv6: bool,
    /// Whether `node.http` listens, on [`HTTP_PORT`] of the node's own address.
    pub http: bool,
    /// The sites that the nodes belong to, in order; none is one site of all.
    pub sites: Vec<Site>,
    /// Whether the backends' addresses are their IPv6 ones.
    pub backends6: bool,
    /// Flows of each family that a node has room for.
    pub flows: u32,
    /// Nodes that stand for no election.
    pub backends_only: Vec<usize>,
    /// Nodes that are no backends.
    pub directors: Vec<usize>,
    /// The key file, where all nodes name it alike; else each has its own.
    pub secret_file: Option<PathBuf>,
    /// More lines for `cluster:`, indented by two blanks.
    pub more: String,
}

/// A site of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Its name.
    pub name: &'static str,
    /// How many nodes it has.
    pub nodes: usize,
    /// The site that takes over while it is full.
    pub spill: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            weights: Vec::new(),
            priorities: Vec::new(),
            advertisement_interval: "200ms",
            stats_interval: "1s",
            policy: "{kind: seed}".to_owned(),
            health: "{interval: 1s, timeout: 5s, rise: 1, fall: 3}".to_owned(),
            ipv4: true,
            ipv6: true,
            http: false,
            sites: Vec::new(),
            backends6: false,
            flows: 100_000,
            backends_only: Vec::new(),
            directors: Vec::new(),
            secret_file: None,
            more: String::new(),
        }
    }
}

/// The places that a node's daemon uses.
#[derive(Clone, Debug)]
pub(super) struct Places<'a> {
    pub(super) pin_dir: &'a Path,
    pub(super) state_dir: &'a Path,
    pub(super) control: &'a Path,
    pub(super) spool: &'a Path,
    pub(super) secret_file: &'a Path,
}

impl Settings {
    /// The weight of node `index`, from 0.
    #[must_use]
    pub fn weight(&self, index: usize) -> u32 {
        self.weights.get(index).copied().unwrap_or(100)
    }

    /// Whether a node of higher priority takes over from a lower one, as it does by default.
    #[must_use]
    pub fn preempts(&self) -> bool {
        !self.more.contains("preempt: false")
    }

    /// The priority of node `index`, from 0.
    #[must_use]
    pub fn priority(&self, index: usize) -> u8 {
        let beyond = u8::try_from(200 - 10 * index.min(19)).unwrap_or(10);
        self.priorities.get(index).copied().unwrap_or(beyond)
    }

    /// The virtual addresses as the file has them.
    fn vips(&self) -> Vec<String> {
        let v4 = format!("{}/{}", addresses::VIP4, addresses::PREFIX4);
        let v6 = format!("\"{}/{}\"", addresses::VIP6, addresses::PREFIX6);
        let vips = [(self.ipv4, v4), (self.ipv6, v6)].into_iter();
        vips.filter_map(|(has, vip)| has.then_some(vip)).collect()
    }

    /// The address that a node is known by.
    fn address(&self, node: &Host) -> IpAddr {
        if self.backends6 {
            node.address6().into()
        } else {
            node.address4().into()
        }
    }

    /// The configuration file of node `index`.
    pub(super) fn config(&self, nodes: &[Host], index: usize, places: &Places<'_>) -> String {
        let (node, priority) = (&nodes[index], self.priority(index));
        let Places {
            pin_dir,
            state_dir,
            control,
            spool,
            secret_file,
        } = places;
        let http = if self.http {
            format!("{}:{HTTP_PORT}", node.address4())
        } else {
            "null".to_owned()
        };
        let start_as = if self.backends_only.contains(&index) {
            "backend"
        } else {
            "backup"
        };
        let mut text = format!(
            "node:\n  name: {}\n  interfaces: [{INTERFACE}]\n  priority: {priority}\n  \
             xdp: native\n  flows: {}\n  pin_dir: {}\n  state_dir: {}\n  control: {}\n  \
             http: {}\n  start_as: {start_as}\n  channel: \"{}\"\n  queue: {{system: postfix, spool: {}}}\n",
            node.name,
            self.flows,
            pin_dir.display(),
            state_dir.display(),
            control.display(),
            http,
            SocketAddr::new(self.address(node), 9426),
            spool.display(),
        );
        let _ = write!(
            text,
            "cluster:\n  secret_file: {}\n  virtual_router_id: 51\n  virtual_addresses: [{}]\n  ports: [25]\n  \
             advertisement_interval: {}\n  stats: {{interval: {}, source: lbd}}\n  \
             health: {}\n  policy: {}\n{}  sites:\n",
            self.secret_file.as_deref().unwrap_or(secret_file).display(),
            self.vips().join(", "),
            self.advertisement_interval,
            self.stats_interval,
            self.health,
            self.policy,
            self.more,
        );
        if !self.directors.is_empty() {
            let address = |index: &usize| format!("\"{}\"", self.address(&nodes[*index]));
            let directors: Vec<String> = self.directors.iter().map(address).collect();
            let line = format!("  directors: [{}]\n  sites:\n", directors.join(", "));
            text = text.replace("  sites:\n", &line);
        }
        let whole = [Site {
            name: "lab",
            nodes: nodes.len(),
            spill: None,
        }];
        let sites = if self.sites.is_empty() {
            &whole[..]
        } else {
            &self.sites
        };
        let is_backend = |(index, _): &(usize, &Host)| !self.directors.contains(index);
        let mut nodes = nodes.iter().enumerate().filter(is_backend);
        for site in sites {
            let spill = site.spill.unwrap_or_default();
            let _ = writeln!(
                text,
                "    - name: {}\n      spill: [{spill}]\n      backends:",
                site.name
            );
            for (index, node) in nodes.by_ref().take(site.nodes) {
                let (name, address) = (&node.name, self.address(node));
                let weight = self.weight(index);
                let _ = writeln!(
                    text,
                    "        - {{name: {name}, address: \"{address}\", weight: {weight}}}"
                );
            }
        }
        text
    }
}
