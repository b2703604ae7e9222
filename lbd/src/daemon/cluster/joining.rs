//! Joining the election: its thread, its settings, and what a former daemon left.
use std::net::IpAddr;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    Cluster,
    advert::{AdvertThread, Command, Interface, InterfaceVips, LeaseControl, Placed, Settings},
};
use crate::{
    config::{ClusterKeys, Config},
    daemon::{clock, event::Event},
    dataplane::LeaseHandle,
    election::{Found, Health},
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

impl Cluster {
    /// Starts the election's thread; it tells the event loop through `sender`.
    pub(in crate::daemon) fn join_election(
        &mut self,
        config: &Config,
        lease: LeaseHandle,
        health: Health,
        sender: &mpsc::Sender<Event>,
    ) -> anyhow::Result<()> {
        let settings = settings(config)?;
        let mut socket = VipSocket::open()?;
        let found = found(&lease, &mut socket, &settings)?;
        let vips = InterfaceVips::new(socket);
        let sender = sender.clone();
        let tell = move |event| {
            // The thread must not wait. An event loop that is 1,000 events behind finds the role by
            // `ElectionView::missed`; the lease is the data plane's own.
            let _ = sender.try_send(Event::Election(event));
        };
        let thread = AdvertThread::spawn(
            settings,
            health,
            found,
            Box::new(lease),
            Box::new(vips),
            tell,
        )
        .context("the election's thread did not start")?;
        self.election.joined(thread, health);
        Ok(())
    }

    /// Tells the election's thread what a new configuration wants of it.
    pub(in crate::daemon) fn reconfigure_election(&self, config: &Config) -> anyhow::Result<()> {
        let settings = settings(config)?;
        self.election.tell(Command::Reconfigure(Box::new(settings)));
        Ok(())
    }
}

/// What an earlier daemon left of the VIP: a lease that still runs is adopted, an address
/// without one is handed over. An address that the operator has configured for good tells
/// nothing of an earlier daemon, and is neither adopted nor removed: as long as the data plane
/// is attached it answers for nothing without a lease, but without lbd it would.
fn found(
    lease: &LeaseHandle,
    socket: &mut VipSocket,
    settings: &Settings,
) -> anyhow::Result<Found> {
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
    let held = lease.lease_until_ns() > clock::boottime_ns();
    Ok(if held {
        Found::LeaseHeld
    } else {
        Found::LeaseOver
    })
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
