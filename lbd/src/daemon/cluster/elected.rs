//! Joining the election, and taking down what its thread tells.
use std::net::IpAddr;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tracing::warn;

use super::advert::{
    self, AdvertThread, Command, Interface, InterfaceVips, LeaseControl, Placed, Settings,
};
use crate::{
    config::{ClusterKeys, Config},
    daemon::{
        clock,
        event::Event,
        event_loop::EventLoop,
        observe::recent::{Kind, Severity},
        operator::notify::Notice,
        steering::reach,
    },
    dataplane::LeaseHandle,
    election::{Found, Health, Leader, Takeover},
    host::{self, VipSocket, links::Links, vip::Held},
    vrrp::Key,
};

impl LeaseControl for LeaseHandle {
    fn hold(&self, until_ns: u64) {
        Self::hold(self, until_ns);
    }

    fn release(&self) {
        Self::release(self);
    }
}

impl EventLoop {
    /// Starts the election's thread; it tells the event loop through `sender`.
    pub(in crate::daemon) fn join_election(
        &mut self,
        sender: &mpsc::Sender<Event>,
    ) -> anyhow::Result<()> {
        let settings = settings(&self.config)?;
        let mut socket = VipSocket::open()?;
        let found = self.found(&mut socket, &settings)?;
        let vips = InterfaceVips::new(socket);
        let sender = sender.clone();
        let tell = move |event| {
            // The thread must not wait. An event loop that is 1,000 events behind finds the role by
            // `reconcile_role`; the lease is the data plane's own.
            let _ = sender.try_send(Event::Election(event));
        };
        let thread = AdvertThread::spawn(
            settings,
            self.joint_health(),
            found,
            Box::new(self.plane.lease()),
            Box::new(vips),
            tell,
        )
        .context("the election's thread did not start")?;
        self.election.joined(thread);
        Ok(())
    }

    /// Tells the election's thread what a new configuration wants of it.
    pub(in crate::daemon) fn reconfigure_election(&mut self) -> anyhow::Result<()> {
        let settings = settings(&self.config)?;
        self.election.tell(Command::Reconfigure(Box::new(settings)));
        Ok(())
    }

    /// What an earlier daemon left of the VIP: a lease that still runs is adopted, an address
    /// without one is handed over. An address that the operator has configured for good tells
    /// nothing of an earlier daemon, and is neither adopted nor removed: as long as the data plane
    /// is attached it answers for nothing without a lease, but without lbd it would.
    fn found(&self, socket: &mut VipSocket, settings: &Settings) -> anyhow::Result<Found> {
        let (leases, permanent): (Vec<_>, Vec<_>) = socket
            .held(&settings.virtual_addresses)?
            .into_iter()
            .partition(Held::is_lease);
        for held in permanent {
            warn!(
                "virtual address {} is configured permanently on interface {}: remove it from the box's network configuration, or two boxes answer for it while lbd is not running",
                held.address.address, held.ifindex
            );
        }
        if leases.is_empty() {
            return Ok(Found::Nothing);
        }
        let held = self.plane.lease().lease_until_ns() > clock::boottime_ns();
        Ok(if held {
            Found::LeaseHeld
        } else {
            Found::LeaseOver
        })
    }

    /// Tells the program of `node.notify` of this node's role.
    pub(in crate::daemon) fn tell_of_role(&self, reason: String, former_master: Option<String>) {
        self.notifier.tell(Notice {
            former_master,
            ..self.notice("role", reason)
        });
    }

    /// What `node.notify` is told of any event.
    pub(in crate::daemon) fn notice(&self, event: &'static str, reason: String) -> Notice {
        let vips = self.config.cluster.virtual_addresses.iter();
        Notice {
            event,
            node: self.config.node.name.clone(),
            role: if self.election.is_master() {
                "master"
            } else {
                "backup"
            },
            reason,
            virtual_addresses: vips.map(|vip| vip.address.to_string()).collect(),
            former_master: None,
            backend: None,
            health: None,
        }
    }

    /// Without a data plane that can receive, a box must not be master.
    fn joint_health(&self) -> Health {
        Health {
            data_plane: self.is_attached,
            link: self.links_usable.values().all(|usable| *usable),
            backends: self.members.any_healthy() && !self.doubts.reach.is_worse(),
        }
    }

    /// Something that counts for mastership may have changed.
    pub(in crate::daemon) fn tell_election_of_health(&mut self) {
        let health = self.joint_health();
        if let Some(said) = self.election.tell_health(health) {
            warn!("{said}");
        }
    }

    /// Compares what this node reaches with what its peers say that they reach.
    pub(in crate::daemon) fn compare_reach(&mut self, now_ns: u64) {
        self.channel
            .tell_checks_succeed(self.members.a_check_succeeds());
        let better = self.channel.a_peer_whose_checks_succeed(now_ns);
        let was_worse = self.doubts.reach.is_worse();
        self.doubts.reach.look(
            self.members.every_check_fails(),
            better.is_some(),
            reach::patience_ns(&self.config.cluster.health),
            now_ns,
        );
        if self.doubts.reach.is_worse() != was_worse {
            if let Some(peer) = better.filter(|_| !was_worse) {
                warn!(
                    "every health check from here fails, and {peer} reaches a backend: look at this \
                     box's way to the backends (its routes, its packet filter)"
                );
            }
            self.tell_election_of_health();
        }
    }

    /// Tells the election which masters hold leases: those that the channel hears.
    pub(in crate::daemon) fn tell_election_of_peers(&mut self, now_ns: u64) {
        let peers = self.channel.live(now_ns);
        self.election.tell_leased(peers);
    }

    /// The queue of events had no room for a change of role, leader or isolation: takes it from the thread's
    /// own view. To be called once a second; an event that is on its way has come by the second time.
    pub(in crate::daemon) fn reconcile_role(&mut self) {
        if let Some(missed) = self.election.missed() {
            warn!(
                "an election event was lost because the queue was full: taking the current state"
            );
            self.elected(missed);
        }
    }

    /// Tells the election by which clocks adverts are signed.
    pub(in crate::daemon) fn tell_election_of_clocks(&mut self) {
        for said in self.election.tell_clocks(self.channel.clocks()) {
            warn!("{said}");
        }
    }

    pub(in crate::daemon) fn elected(&mut self, event: advert::Event) {
        let now_ns = clock::boottime_ns();
        match event {
            advert::Event::BecameMaster { why } => {
                self.happened(Severity::Info, Kind::Role, None, format!("master: {why}"));
                let former = self.master_name();
                self.election.become_master(why.to_string(), now_ns);
                self.tell_of_role(why.to_string(), former);
                self.weigher.hold_ring(now_ns);
                self.admission.adoption.sessions_are_unknown(now_ns);
                self.follow_adoption(now_ns);
                let is_gone = matches!(why, Takeover::MasterDown | Takeover::MasterGone);
                self.doubt_verdicts(is_gone, now_ns);
                self.weigh(now_ns);
            }
            advert::Event::BecameBackup { why, leader } => {
                self.happened(Severity::Info, Kind::Role, None, format!("backup: {why}"));
                let former = self.master_name();
                self.election.become_backup(leader, why.to_string(), now_ns);
                self.tell_of_role(why.to_string(), former);
                self.weigh(now_ns);
            }
            advert::Event::LeaderChanged(leader) => {
                let is_new = |leader: &Leader| !self.election.is_leader(leader.address);
                if let Some(leader) = leader.filter(is_new) {
                    let said = format!(
                        "the master is {} with priority {}",
                        leader.address, leader.priority.0
                    );
                    self.happened(Severity::Info, Kind::Role, None, said);
                }
                self.election.led_by(leader);
            }
            advert::Event::WantSync { leader } => {
                // Without a channel there is no peer to ask, and of a master that is no node of the
                // channel (keepalived) there are no flows.
                // A pure director's adverts may come from another address than its channel's.
                let has_directors = !self.config.cluster.directors.is_empty();
                let may_know = leader.is_none_or(|leader| {
                    let addresses = [Some(leader.address), leader.other_address];
                    let is_peer = |address| self.channel.is_peer(address);
                    has_directors || addresses.into_iter().flatten().any(is_peer)
                });
                if !may_know || !self.channel.join() {
                    self.election.tell(Command::SyncDone);
                }
            }
            advert::Event::Isolated => {
                let said = "this box is cut off: it hears no other node and no gateway";
                self.note(Kind::Role, None, said.to_owned());
                self.election.isolate(true, now_ns);
            }
            advert::Event::Rejoined => {
                let said = "this box was cut off or paused and hears others again";
                self.note(Kind::Role, None, said.to_owned());
                self.election.isolate(false, now_ns);
                self.doubt_verdicts(false, now_ns);
                // The other half had a master of its own, which may have moved what the hook moves.
                self.tell_of_role(said.to_owned(), None);
            }
            advert::Event::Notice(notice) => warn!("{notice}"),
        }
    }
}

fn settings(config: &Config) -> anyhow::Result<Settings> {
    let name = &config.node.interfaces[0];
    let links = Links::read()?;
    let link = links.named(name)?;
    let vips: Vec<IpAddr> = config
        .cluster
        .virtual_addresses
        .iter()
        .map(|vip| vip.address)
        .collect();
    let Some(interface) = Interface::of(link, &vips, &config.cluster.unicast_peers) else {
        bail!("{name} has no MAC address: adverts and the VIP need an Ethernet interface");
    };
    let ifindex = interface.ifindex;
    let gateways = host::gateways(ifindex)?;
    let mut settings = Settings::of(config, interface, advert_keys(config.keys()));
    settings.witnesses.extend(gateways);
    let placed = settings.virtual_addresses.iter().filter_map(|&address| {
        let link = links.facing(address, &config.node.interfaces)?;
        Some(Placed {
            address,
            ifindex: link.ifindex,
            mac: link.mac?,
        })
    });
    settings.elsewhere = placed.filter(|vip| vip.ifindex != ifindex).collect();
    Ok(settings)
}

/// The keys of adverts; the first signs. Two may have one number: all are tried.
fn advert_keys(keys: Option<&ClusterKeys>) -> Vec<Key> {
    let secrets = keys.into_iter().flat_map(ClusterKeys::verifying);
    secrets.map(Key::of_cluster).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_key_with_the_number_of_the_first_is_taken() {
        let line = |i: u32| format!("{i:08x}{}", "07".repeat(28));
        let number = |i: u32| advert_keys(ClusterKeys::parse(&line(i)).ok().as_ref())[0].id;
        let twin = (1..10_000).find(|i| number(*i) == number(0));
        let text = format!("{}\n{}\n", line(0), line(twin.expect("one in 256")));
        let taken = advert_keys(ClusterKeys::parse(&text).ok().as_ref());
        let [first, second] = &taken[..] else {
            panic!("{taken:?}");
        };
        assert_eq!(first.id, second.id);
        assert_ne!(first, second);
    }
}
