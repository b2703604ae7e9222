//! Taking over a configuration: at the start, and live when the file was edited.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracing::{info, warn};

use crate::{
    config::{self, Cluster, Config, ConfigError, Forwarding},
    daemon::{
        clock,
        cluster::{channel, push},
        event_loop::EventLoop,
        observe::recent::{Kind, Severity},
        steering::{backend_spec::backend_spec, members, tunnel},
    },
    dataplane::{NatBackend, VipSpec},
    host::{self, links::Links, routing::Family, vip},
    push::Version,
    units::{BackendId, Endpoint},
};

/// Endpoints of one box that peers may make this node know. There are two ways, and a port or two.
const OTHER_WAYS: usize = 4;
/// How long an endpoint that a peer has told of waits for the first of its sessions: the peers' tables
/// are on the way.
const WAIT_NS: u64 = 15_000_000_000;

impl EventLoop {
    /// The file was edited: takes it over, or keeps the running configuration and says why.
    pub(in crate::daemon) fn reload(&mut self) {
        let new = match read(&self.config_path, &self.config) {
            Ok(new) => new,
            Err(Refused { whole, refused }) => {
                if self.config_refused.as_ref() != Some(&refused) {
                    warn!(
                        "the edited configuration was refused; the previous one stays in use:\n{whole}"
                    );
                    self.note(
                        Kind::Config,
                        None,
                        format!("an edit was refused: {refused}"),
                    );
                }
                self.config_refused = Some(refused);
                return;
            }
        };
        self.config_refused = None;
        if new == self.config {
            return;
        }
        let old = std::mem::replace(&mut self.config, new);
        match self.configure(Some(&old.cluster)) {
            Ok(()) => {
                self.log_failure("the election", EventLoop::reconfigure_election);
                self.config_loaded_unix_s = clock::unix_s();
                let said = "the edited configuration is in use";
                self.happened(Severity::Info, Kind::Config, None, said);
            }
            Err(error) => {
                let refused = format!("{error:#}");
                warn!(
                    "the edited configuration could not be applied; the previous one is back in use: {refused}"
                );
                let new = std::mem::replace(&mut self.config, old);
                self.config_refused = Some(refused);
                self.log_failure("going back", |event_loop| {
                    event_loop.configure(Some(&new.cluster))
                });
            }
        }
    }

    /// Who this node is to a peer that pushes.
    pub(in crate::daemon) fn identity(&self) -> Option<push::Identity> {
        let own = self.config.node.channel?;
        Some(push::Identity {
            name: channel::own_name(&self.config, own),
            keys: self.config.keys()?.clone(),
        })
    }

    /// What a push needs to know of this node.
    pub(in crate::daemon) fn context(&self) -> push::PushContext {
        push::PushContext {
            running: self.config.clone(),
            path: self.config_path.clone(),
            refused: self.config_refused.clone(),
            not_master: (!self.election.is_master()).then(|| {
                let master = self.master_name();
                let master = master.map_or("no master is known".to_owned(), |name| {
                    format!("{name} is: push there")
                });
                format!("this node is not the master; {master}")
            }),
        }
    }

    /// A pushed configuration is in place. Why it does not run, if so.
    pub(in crate::daemon) fn take_over(&mut self, what: &push::TakeOver) -> Option<String> {
        let version = &what.version;
        let Version { number, by, on, .. } = version;
        let from = what
            .from
            .as_ref()
            .map_or(String::new(), |from| format!(", from {from}"));
        let said = format!("version {number} by {by} on {on} is in place{from}");
        self.happened(Severity::Info, Kind::Config, None, said);
        self.follow_version(Some(version.clone()));
        if what.changed {
            self.reload();
        }
        self.config_refused.clone()
    }

    /// This node was given this version.
    pub(in crate::daemon) fn follow_version(&mut self, version: Option<Version>) {
        self.channel.tell_version(version.as_ref());
        self.version = version;
    }

    /// Brings members, maps and tasks in line with `self.config`; `before` is what they are in line
    /// with now.
    pub(in crate::daemon) fn configure(&mut self, before: Option<&Cluster>) -> anyhow::Result<()> {
        self.known.follow(&self.config);
        let endpoints = members::endpoints(&self.config.node.name, &self.config.cluster);
        let known = self.plane.backend_ids();
        let has_new = endpoints
            .iter()
            .any(|endpoint| known.get(*endpoint).is_none());
        let ids = self.plane.allocate_backend_ids(&endpoints)?;
        let gone = self
            .members
            .configure(&self.config.node.name, &self.config.cluster, &ids);
        let members = &self.members;
        self.weigher.leaving.add(gone, 0);
        self.weigher
            .leaving
            .keep(|id| members.iter().any(|member| member.id == id));
        if before.is_none() {
            self.adopt()?;
        }
        self.take_orders();
        let members: Vec<_> = self.members.iter().cloned().collect();
        for member in &members {
            let spec = backend_spec(member, self.members.own_address());
            self.plane.set_backend(member.id, &spec)?;
        }
        if let Some(ends) = tunnel::ends(&self.members, &self.config.cluster) {
            self.plane.set_tunnel_ends(&ends)?;
        }
        self.admit()?;
        let macs = self.node_macs();
        self.plane.set_nodes(&macs)?;
        self.hold_virtual_addresses(before)?;
        self.plane.set_vips(&vip_specs(&self.config.cluster))?;
        self.take_replies()?;
        self.weigher.reconfigure(self.config.cluster.stats.interval);
        self.backend_tasks.follow(&self.config, &self.config_path);
        self.follow_ids();
        if has_new && before.is_some() {
            // A peer that was faster has told of sessions at endpoints that had no id here.
            self.channel.ask_for_tables();
        }
        self.observed.historian.follow(&self.config);
        self.notifier.follow(&self.config.node.notify);
        Ok(())
    }

    /// Tells the channel which ids there are.
    pub(in crate::daemon) fn follow_ids(&mut self) {
        let id_map = channel::IdMap::new(&self.plane.services(), self.plane.backend_ids());
        self.channel.follow(&self.config, id_map);
        self.tell_station();
    }

    /// Makes the box the gateway that the replies of `nat` backends pass, also of those that have
    /// sessions of the time when they were `nat`.
    pub(in crate::daemon) fn take_replies(&mut self) -> anyhow::Result<()> {
        let leaving = self.leaving_of_boxes().into_values().flatten();
        let leaving = leaving.filter_map(|(id, endpoint)| members::nat_backend(id, endpoint));
        let nat: Vec<NatBackend> = self.members.nat_backends().chain(leaving).collect();
        for (family, is_family) in [
            (Family::V4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            (Family::V6, IpAddr::is_ipv6),
        ] {
            if nat.iter().any(|backend| is_family(&backend.address)) {
                self.host.be_gateway(&self.config.node.interfaces, family)?;
            }
        }
        self.plane.set_replies(&nat)?;
        Ok(())
    }

    /// Peers have sessions with boxes that this node knows, at endpoints that it does not: their
    /// configuration is another one still or already, or the sessions are older than the change. It
    /// learns to steer them; no new one goes there.
    pub(in crate::daemon) fn take_other_ways(&mut self, told: Vec<Endpoint>) {
        let told: BTreeSet<Endpoint> = told.into_iter().collect();
        let endpoint_of = |(_, endpoint): (BackendId, Endpoint)| endpoint;
        let mut known: BTreeMap<IpAddr, Vec<Endpoint>> = self
            .leaving_of_boxes()
            .into_iter()
            .map(|(address, leaving)| (address, leaving.into_iter().map(endpoint_of).collect()))
            .collect();
        let mut is_changed = false;
        for endpoint in told {
            let others = known.entry(endpoint.address).or_default();
            let Some(member) = self.members.by_address(endpoint.address) else {
                continue;
            };
            // What a box has translated by others to itself is not its own to translate.
            let is_other = !member.local && member.endpoint != endpoint;
            if !is_other || others.len() >= OTHER_WAYS || others.contains(&endpoint) {
                continue;
            }
            let mut reached = member.clone();
            reached.endpoint = endpoint;
            reached.forwarding = if endpoint.is_translated() {
                Forwarding::Nat
            } else {
                Forwarding::Dsr
            };
            let name = reached.name.clone();
            self.log_failure(&name, |event_loop| {
                let ids = event_loop.plane.allocate_backend_ids(&[endpoint])?;
                reached.id = ids[&endpoint];
                let until_ns = clock::boottime_ns() + WAIT_NS;
                event_loop.weigher.leaving.add([reached.id], until_ns);
                let spec = backend_spec(&reached, event_loop.members.own_address());
                Ok(event_loop.plane.set_backend(reached.id, &spec)?)
            });
            others.push(endpoint);
            info!("peers have sessions with {name} at {endpoint}: they stay there until they end");
            is_changed = true;
        }
        if is_changed {
            self.log_failure("replies", EventLoop::take_replies);
            self.follow_ids();
        }
        self.channel.other_ways_taken(is_changed);
    }

    /// A box that is no backend any more has served its last session.
    pub(in crate::daemon) fn let_go_of_virtual_addresses(&mut self) {
        if self.members.local().is_some() || !self.holds_virtual_addresses {
            return;
        }
        self.holds_virtual_addresses = false;
        for vip in addresses(&self.config.cluster) {
            self.log_failure("a virtual address on the loopback", |event_loop| {
                Ok(event_loop.host.drop_vip(vip)?)
            });
        }
    }

    /// What this box needs to serve the virtual addresses, silently, is put back when another program has
    /// changed it: `ip addr del`, `sysctl --system`.
    pub(in crate::daemon) fn look_at_virtual_addresses(&mut self) {
        if !self.holds_virtual_addresses {
            return;
        }
        let refused = self
            .put_back_virtual_addresses()
            .err()
            .map(|error| format!("{error:#}"));
        if let Some(why) = refused
            .as_ref()
            .filter(|_| refused != self.put_back_refused)
        {
            warn!("the virtual addresses on lo cannot be put back, trying each second: {why}");
        }
        self.put_back_refused = refused;
    }

    fn put_back_virtual_addresses(&mut self) -> anyhow::Result<()> {
        // First of all, so that no moment has the address and answers for it.
        for key in self.host.suppress_arp(&self.config.node.interfaces)? {
            self.say_put_back(format!(
                "the sysctl {key} was lowered by another program, and is as lbd needs it again"
            ));
        }
        for vip in self.host.missing_vips(&addresses(&self.config.cluster))? {
            self.host.hold_vip(vip)?;
            self.say_put_back(format!(
                "{vip} was taken off lo by another program, and is there again: this box serves it"
            ));
        }
        Ok(())
    }

    fn say_put_back(&mut self, said: String) {
        self.happened(Severity::Warn, Kind::Link, None, said);
    }

    /// A box that serves the VIP from its own stack has it on its loopback, silently.
    fn hold_virtual_addresses(&mut self, before: Option<&Cluster>) -> anyhow::Result<()> {
        let wanted = addresses(&self.config.cluster);
        if self.members.local().is_some() {
            self.host.suppress_arp(&self.config.node.interfaces)?;
            self.holds_virtual_addresses = true;
            for vip in &wanted {
                self.host.hold_vip(*vip)?;
            }
        }
        let links = Links::read()?;
        let interfaces = &self.config.node.interfaces;
        for address in &wanted {
            if let Some(link) = links.facing(*address, interfaces) {
                self.host.make(&vip::change(*address, &link.name))?;
            }
        }
        for vip in before.map(addresses).unwrap_or_default() {
            if !wanted.contains(&vip) {
                self.host.drop_vip(vip)?;
            }
        }
        Ok(())
    }
}

fn addresses(cluster: &Cluster) -> Vec<IpAddr> {
    cluster
        .virtual_addresses
        .iter()
        .map(|vip| vip.address)
        .collect()
}

fn vip_specs(cluster: &Cluster) -> Vec<VipSpec> {
    let specs = addresses(cluster).into_iter().map(|address| VipSpec {
        address,
        ports: cluster.ports.clone(),
    });
    specs.collect()
}

/// Why an edited file is not taken over, for a person.
struct Refused {
    /// With the lines that are wrong: for the log, which only those who administer the box may read.
    whole: String,
    /// Without them: for the status, which strangers may ask for.
    refused: String,
}

/// Reads the edited file.
fn read(path: &std::path::Path, running: &Config) -> Result<Config, Refused> {
    let mut new = Config::load(path).map_err(|mistakes| {
        let without: Vec<ConfigError> = mistakes.iter().map(ConfigError::without_line).collect();
        Refused {
            whole: sentences(&mistakes),
            refused: sentences(&without),
        }
    })?;
    // Without an answer the names stay as they are written.
    if let Ok(facts) = host::facts(&new) {
        config::name_interfaces(&mut new, &facts);
    }
    new.fits_after(running).map_err(|refused| Refused {
        whole: refused.clone(),
        refused,
    })?;
    Ok(new)
}

fn sentences(mistakes: &[ConfigError]) -> String {
    mistakes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
