//! What must agree between the keys of a file.
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::{IpAddr, SocketAddr},
};

use lbd_common::{
    maps::{MAX_BACKENDS, VIP_SLOTS},
    reply::MAX_REPLY_SERVICES,
    vip::MAX_PORTS,
};

use super::{
    cluster::{Authentication, Cluster, Mode},
    error::ConfigError,
    health::{Check, HealthTls},
    node::{Node, StartAs},
    reader::Reader,
    site::{Backend, Forwarding},
    source::Complaint,
    stats::Source,
    suggest,
};
use crate::units::{Priority, Weight};

/// Reports every contradiction to `reader` and returns what is allowed but likely not meant.
pub(super) fn check(node: &Node, cluster: &Cluster, reader: &Reader) -> Vec<ConfigError> {
    let check = Checker {
        node,
        cluster,
        reader,
    };
    check.box_itself();
    check.counts();
    check.election();
    check.polling();
    check.tls();
    check.names();
    check.addresses();
    check.forwarding();
    check.warnings()
}

struct Checker<'a> {
    node: &'a Node,
    cluster: &'a Cluster,
    reader: &'a Reader,
}

impl Checker<'_> {
    fn complain(&self, path: &str, problem: impl Into<String>, hint: impl Into<String>) {
        self.reader
            .complain_once(path, Complaint::new(problem, hint));
    }

    /// Every backend with its path.
    fn backends(&self) -> impl Iterator<Item = (String, &Backend)> {
        self.cluster.sites.iter().enumerate().flat_map(|(s, site)| {
            let path = move |b| format!("cluster.sites[{s}].backends[{b}]");
            let backends = site.backends.iter().enumerate();
            backends.map(move |(b, backend)| (path(b), backend))
        })
    }

    fn is_this_box(&self, backend: &Backend) -> bool {
        backend.name == self.node.name
    }

    fn box_itself(&self) {
        if self.node.priority == Priority::OWNER && self.node.start_as != StartAs::Master {
            self.complain(
                "node.priority",
                "255 owns the VIP and always starts as master",
                "say `start_as: master` too, or give a priority from 1 to 254",
            );
        }
        if let (Some(http), Some(channel)) = (self.node.http, self.node.channel)
            && collide(http, channel)
        {
            self.complain(
                "node.channel",
                format!("{channel} is where node.http listens"),
                "give them two ports",
            );
        }
        let is_backend = self
            .backends()
            .any(|(_, backend)| self.is_this_box(backend));
        if self.cluster.mode == Mode::ActivePassive && !is_backend {
            self.complain(
                "node.name",
                format!(
                    "no backend is named {:?}, so this box cannot serve as the active one",
                    self.node.name
                ),
                "name the backend that is this box, or use `mode: active-active`",
            );
        }
    }

    fn counts(&self) {
        let at_most = |path: &str, count: usize, most: usize, what: &str| {
            if count == 0 {
                self.complain(path, format!("it has no {what}"), "give at least one");
            } else if count > most {
                self.complain(
                    path,
                    format!("{count} are too many"),
                    format!("give at most {most}"),
                );
            }
        };
        at_most(
            "node.interfaces",
            self.node.interfaces.len(),
            16,
            "interface",
        );
        at_most(
            "cluster.virtual_addresses",
            self.cluster.virtual_addresses.len(),
            // The table in the kernel is kept half empty.
            VIP_SLOTS as usize / 2,
            "address",
        );
        at_most("cluster.ports", self.cluster.ports.len(), MAX_PORTS, "port");
        at_most(
            "cluster.sites",
            self.cluster.sites.len(),
            MAX_BACKENDS as usize,
            "site",
        );
        for (s, site) in self.cluster.sites.iter().enumerate() {
            if site.backends.is_empty() {
                self.complain(
                    &format!("cluster.sites[{s}].backends"),
                    "it has no backends",
                    "give at least one, for example `- {name: mx1, address: 192.0.2.11}`",
                );
            }
        }
        let backends = self.cluster.backends().count();
        if backends > MAX_BACKENDS as usize {
            self.complain(
                "cluster.sites",
                format!("{backends} backends are too many"),
                format!("give at most {MAX_BACKENDS}"),
            );
        }
    }

    fn election(&self) {
        let cluster = self.cluster;
        if !cluster.preempt && !cluster.preempt_delay.is_zero() {
            self.complain(
                "cluster.preempt_delay",
                "it has no effect without preemption",
                "remove it, or say `preempt: true`",
            );
        }
        if cluster.authentication != Authentication::Off && cluster.secret_file.is_none() {
            self.complain(
                "cluster.authentication",
                format!("{} needs a key", cluster.authentication),
                "name a secret_file, or use `off`",
            );
        }
        let peers = &cluster.unicast_peers;
        for (has, name) in [
            (IpAddr::is_ipv4 as fn(&IpAddr) -> bool, "IPv4"),
            (IpAddr::is_ipv6, "IPv6"),
        ] {
            let has_vip = cluster
                .virtual_addresses
                .iter()
                .any(|vip| has(&vip.address));
            let has_peer = peers.iter().any(has);
            if has_peer && !has_vip {
                self.complain(
                    "cluster.unicast_peers",
                    format!("it has an {name} address, but there is no {name} VIP"),
                    "each family elects its own master: list peers of the VIPs' families",
                );
            } else if has_vip && !has_peer && !peers.is_empty() {
                self.complain(
                    "cluster.unicast_peers",
                    format!("it has no {name} address, but there is an {name} VIP"),
                    "each family elects its own master: list peers of the VIPs' families",
                );
            }
        }
        for director in &cluster.directors {
            let is_backend = |(_, backend): &(String, &Backend)| backend.address == *director;
            let problem = if self.is_vip(*director) {
                "a VIP"
            } else if self.backends().any(|backend| is_backend(&backend)) {
                "a backend, which takes part in the channel anyway"
            } else {
                continue;
            };
            self.complain(
                "cluster.directors",
                format!("{director} is {problem}"),
                "give the addresses in node.channel of the nodes that are not backends",
            );
        }
        if let Some(peer) = peers.iter().find(|peer| self.is_vip(**peer)) {
            self.complain(
                "cluster.unicast_peers",
                format!("{peer} is a VIP"),
                "give each box's own address",
            );
        }
    }

    fn polling(&self) {
        let stats = &self.cluster.stats;
        if stats.timeout > stats.interval {
            self.complain(
                "cluster.stats.timeout",
                "it is longer than the interval",
                "give at most the interval, so that a poll ends before the next begins",
            );
        }
        let asks_for = match &stats.source {
            Source::HttpJson { url, .. } | Source::Prometheus { url, .. } => {
                Some(("url", names_the_backend(url)))
            }
            Source::Command { command } => Some((
                "command",
                command.iter().any(|word| names_the_backend(word)),
            )),
            _ => None,
        };
        let users = self
            .cluster
            .backends()
            .filter(|(_, b)| b.stats == stats.source)
            .count();
        if let Some((key, false)) = asks_for
            && users > 1
        {
            self.complain(
                &format!("cluster.stats.{key}"),
                format!("it would give {users} backends the same figures"),
                "put {address} or {name} into it, or give each backend its own stats",
            );
        }
        let health = &self.cluster.health;
        for (key, given) in [
            ("helo", health.helo.is_some()),
            ("tls", health.tls.is_some()),
            ("starttls", health.starttls),
            ("recipient", health.recipient.is_some()),
        ] {
            if given && health.check != Check::Smtp {
                self.complain(
                    &format!("cluster.health.{key}"),
                    format!("it has no effect with `check: {}`", health.check),
                    "remove it, or use `check: smtp`",
                );
            }
        }
    }

    fn tls(&self) {
        let health = &self.cluster.health;
        if let Some(tls) = health.tls
            && health.starttls
            && tls != HealthTls::StartTls
        {
            self.complain(
                "cluster.health.starttls",
                format!("`tls: {tls}` says otherwise"),
                "remove one of the two",
            );
        }
    }

    fn names(&self) {
        let sites = &self.cluster.sites;
        let site_paths = (0..sites.len()).map(|s| format!("cluster.sites[{s}].name"));
        self.once_each(site_paths.zip(sites.iter().map(|site| &site.name)));
        self.once_each(
            self.backends()
                .map(|(path, b)| (format!("{path}.name"), &b.name)),
        );
        let known: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        for (s, site) in sites.iter().enumerate() {
            for spill in &site.spill {
                let path = format!("cluster.sites[{s}].spill");
                if *spill == site.name {
                    self.complain(&path, "it names its own site", "name other sites only");
                } else if !known.contains(&spill.as_str()) {
                    let hint = match suggest::nearest(spill, &known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the sites are: {}", known.join(", ")),
                    };
                    self.complain(&path, format!("there is no site {spill:?}"), hint);
                }
            }
        }
    }

    fn once_each<'a, T: Eq + Hash + std::fmt::Display + 'a>(
        &self,
        values: impl Iterator<Item = (String, &'a T)>,
    ) {
        let mut seen: HashMap<&T, String> = HashMap::new();
        for (path, value) in values {
            if self.reader.is_doubtful(&path) {
                continue;
            }
            if let Some(first) = seen.get(value) {
                self.complain(
                    &path,
                    format!("{value} is taken by {first}"),
                    "give each its own",
                );
            } else {
                seen.insert(value, path);
            }
        }
    }

    fn addresses(&self) {
        // A backend that is listed twice is one mistake: its name's.
        let named =
            |(path, _): &(String, &Backend)| !self.reader.is_doubtful(&format!("{path}.name"));
        let backends = self.backends().filter(named);
        self.once_each(backends.map(|(path, b)| (format!("{path}.address"), &b.address)));
        for (path, backend) in self.backends() {
            if self.is_vip(backend.address) {
                self.complain(
                    &format!("{path}.address"),
                    format!("{} is a VIP, which moves from box to box", backend.address),
                    "give the box's own address",
                );
            }
        }
    }

    fn forwarding(&self) {
        let vips = &self.cluster.virtual_addresses;
        if vips.is_empty() || self.reader.is_doubtful("cluster.virtual_addresses") {
            return;
        }
        for (path, backend) in self.backends() {
            let same = |ip: &IpAddr| ip.is_ipv4() == backend.address.is_ipv4();
            let address = format!("{path}.address");
            let vip = vips.iter().map(|vip| vip.address).find(|ip| !same(ip));
            match (backend.forwarding, vip) {
                (Forwarding::Nat, Some(vip)) => self.complain(
                    &address,
                    format!(
                        "nat cannot translate {vip} to {} of the other family",
                        backend.address
                    ),
                    "give an address of the VIP's family, or use dsr or ipip",
                ),
                (Forwarding::Dsr, Some(_)) if !vips.iter().any(|vip| same(&vip.address)) => self
                    .complain(
                        &address,
                        format!("{} is not of the family of any VIP", backend.address),
                        "give an address of the VIP's family, or add a VIP of this one",
                    ),
                _ => {}
            }
            let before_one_port = self.services_before(backend);
            if backend.forwarding == Forwarding::Nat && before_one_port > MAX_REPLY_SERVICES {
                self.complain(
                    &path,
                    format!(
                        "{before_one_port} virtual addresses and ports would be translated to one \
                         port of it"
                    ),
                    format!("at most {MAX_REPLY_SERVICES} can be: serve fewer, or use dsr or ipip"),
                );
            }
            if backend.port.is_some() && backend.forwarding != Forwarding::Nat {
                self.complain(
                    &format!("{path}.port"),
                    format!("{} cannot change the port", backend.forwarding),
                    "remove it, or use `forwarding: nat`",
                );
            }
            let served = |port| self.cluster.ports.contains(&port);
            if self.is_this_box(backend) && backend.port.is_some_and(|port| !served(port)) {
                self.complain(
                    &format!("{path}.port"),
                    "this box serves the VIP from its own stack, which cannot change the port",
                    "let its mail server listen on the VIP's port and remove this",
                );
            }
        }
    }

    /// Virtual addresses and ports that stand before the same port of a `nat` backend.
    fn services_before(&self, backend: &Backend) -> usize {
        let ports = match backend.port {
            Some(_) => self.cluster.ports.len(),
            None => 1,
        };
        let vips = self.cluster.virtual_addresses.iter();
        let same_family = vips.filter(|vip| vip.address.is_ipv4() == backend.address.is_ipv4());
        same_family.count() * ports
    }

    fn warnings(&self) -> Vec<ConfigError> {
        let mut warnings = Vec::new();
        let mut warn = |path: &str, problem: String, hint: &str| {
            warnings.push(self.reader.warning(path, Complaint::new(problem, hint)));
        };
        let names: HashSet<&str> = self
            .cluster
            .backends()
            .map(|(_, b)| b.name.as_str())
            .collect();
        let is_backend = names.contains(self.node.name.as_str());
        let channel = self.node.channel.map(|channel| channel.ip());
        let is_listed = channel.is_some_and(|own| self.cluster.directors.contains(&own));
        if !is_backend && !is_listed {
            warn(
                "node.name",
                format!(
                    "no backend is named {:?}: this box steers sessions and serves none",
                    self.node.name
                ),
                "that is right for a pure director; otherwise give the backend's name",
            );
        }
        if let Some(own) = channel.filter(|own| !own.is_loopback())
            && !is_backend
            && !is_listed
            && self.cluster.secret_file.is_some()
        {
            warn(
                "cluster.directors",
                format!("no other node of the channel knows this box, which is at {own}"),
                "list the address of every node that is not a backend, or a failover between them loses \
                 sessions",
            );
        }
        if self.cluster.backends().all(|(_, b)| b.weight == Weight(0)) {
            warn(
                "cluster.sites",
                "every weight is 0: each new session is reset".to_owned(),
                "give at least one backend a weight",
            );
        }
        let link_local = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let vips = self.cluster.virtual_addresses.iter().map(|vip| vip.address);
        if let Some(vip) = vips.into_iter().find(link_local) {
            warn(
                "cluster.virtual_addresses",
                format!(
                    "{vip} is link-local: a backend that is not the master does not answer for it"
                ),
                "give an address of a network that is routed",
            );
        }
        self.open_to_the_segment(&mut warn);
        for (path, problem) in self.tunnels_from_unknown_addresses() {
            warn(
                &path,
                problem,
                "give both addresses of one family, or name this box's other one in unicast_peers",
            );
        }
        warnings
    }

    /// What strangers on the network may do because the file lets them.
    fn open_to_the_segment(&self, warn: &mut impl FnMut(&str, String, &str)) {
        let cluster = self.cluster;
        let beyond = |at: Option<SocketAddr>| at.filter(|at| !at.ip().is_loopback());
        if let Some(at) = beyond(self.node.http) {
            warn(
                "node.http",
                format!(
                    "anyone who can reach {at} can read the state: backends, figures, denied sources"
                ),
                "listen on 127.0.0.1 behind a proxy with a login, or let a firewall admit only the scrapers",
            );
        }
        if beyond(self.node.channel).is_some() && cluster.secret_file.is_none() {
            warn(
                "node.channel",
                "without a key it serves stats and nothing else: anyone who can reach it can read this box's figures, and anyone who answers in a peer's place is believed"
                    .to_owned(),
                "name a secret_file to share flows, drains and configuration",
            );
        }
        let is_chosen = self.reader.is_given("cluster.authentication");
        if self.node.start_as != StartAs::Backend
            && cluster.authentication != Authentication::Enforce
            && (is_chosen || cluster.secret_file.is_none())
        {
            let hint = match cluster.secret_file {
                Some(_) => "say `authentication: enforce`; `off` is for peers that cannot sign",
                None => "name a secret_file and say `authentication: enforce`",
            };
            warn(
                "cluster.authentication",
                format!(
                    "`{}` accepts unsigned adverts: any host on the segment can take the VIP",
                    cluster.authentication
                ),
                hint,
            );
        }
    }

    /// A backend tells who may tunnel to it by the addresses in the file.
    fn tunnels_from_unknown_addresses(&self) -> Vec<(String, String)> {
        let own = self
            .backends()
            .find(|(_, backend)| self.is_this_box(backend))
            .map(|(_, backend)| backend.address);
        let Some(own) = own else {
            return Vec::new();
        };
        let is_known = |address: IpAddr| {
            let peers = &self.cluster.unicast_peers;
            let same = |of: &IpAddr| of.is_ipv4() == address.is_ipv4();
            same(&own) || peers.iter().any(same)
        };
        self.backends()
            .filter(|(_, backend)| {
                backend.forwarding == Forwarding::Ipip && !is_known(backend.address)
            })
            .map(|(path, backend)| {
                let to = backend.address;
                let problem = format!("lbd at {to} will not know who tunnels to it: {own} does");
                (format!("{path}.address"), problem)
            })
            .collect()
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        self.cluster
            .virtual_addresses
            .iter()
            .any(|vip| vip.address == address)
    }
}

/// Whether two listeners cannot both be opened.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (a.ip() == b.ip() || any)
}

fn names_the_backend(text: &str) -> bool {
    text.contains("{address}") || text.contains("{name}")
}
