//! The virtual addresses on this box's loopback, which it serves from its own stack.
use std::net::IpAddr;

use tracing::warn;

use crate::{
    config::{Cluster, Config},
    daemon::{
        log_failure::log_failure,
        observe::{
            recent::{Kind, Severity},
            record::Observed,
        },
    },
    dataplane::VipSpec,
    host::{Host, links::Links, vip},
};

/// Whether they are there.
#[derive(Debug, Default)]
pub(in crate::daemon) struct VirtualAddresses {
    /// This box is a backend, or has sessions of the time when it was.
    are_held: bool,
    /// Why what they need on this box could not be put back.
    put_back_refused: Option<String>,
}

impl VirtualAddresses {
    /// A box that serves the VIP from its own stack has it on its loopback, silently. `before`: what was
    /// configured until now.
    pub(in crate::daemon) fn hold(
        &mut self,
        is_backend: bool,
        config: &Config,
        before: Option<&Cluster>,
        host: &mut Host,
    ) -> anyhow::Result<()> {
        let wanted = addresses(&config.cluster);
        if is_backend {
            host.suppress_arp(&config.node.interfaces)?;
            self.are_held = true;
            for vip in &wanted {
                host.hold_vip(*vip)?;
            }
        }
        let links = Links::read()?;
        let interfaces = &config.node.interfaces;
        for address in &wanted {
            if let Some(link) = links.facing(*address, interfaces) {
                host.make(&vip::change(*address, &link.name))?;
            }
        }
        for vip in before.map(addresses).unwrap_or_default() {
            if !wanted.contains(&vip) {
                host.drop_vip(vip)?;
            }
        }
        Ok(())
    }

    /// Takes them off a box that is no backend any more, once it has served its last session.
    pub(in crate::daemon) fn let_go(
        &mut self,
        is_serving: bool,
        cluster: &Cluster,
        host: &mut Host,
    ) {
        if is_serving || !self.are_held {
            return;
        }
        self.are_held = false;
        for vip in addresses(cluster) {
            log_failure("a virtual address on the loopback", host.drop_vip(vip));
        }
    }

    /// What this box needs to serve the virtual addresses, silently, is put back when another program has
    /// changed it: `ip addr del`, `sysctl --system`.
    pub(in crate::daemon) fn look(
        &mut self,
        config: &Config,
        host: &mut Host,
        observed: &mut Observed,
    ) {
        if !self.are_held {
            return;
        }
        let refused = put_back(config, host, observed)
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
}

fn put_back(config: &Config, host: &mut Host, observed: &mut Observed) -> anyhow::Result<()> {
    let mut say = |said: String| observed.happened(Severity::Warn, Kind::Link, None, said);
    // First of all, so that no moment has the address and answers for it.
    for key in host.suppress_arp(&config.node.interfaces)? {
        say(format!(
            "the sysctl {key} was lowered by another program, and is as lbd needs it again"
        ));
    }
    for vip in host.missing_vips(&addresses(&config.cluster))? {
        host.hold_vip(vip)?;
        say(format!(
            "{vip} was taken off lo by another program, and is there again: this box serves it"
        ));
    }
    Ok(())
}

fn addresses(cluster: &Cluster) -> Vec<IpAddr> {
    cluster
        .virtual_addresses
        .iter()
        .map(|vip| vip.address)
        .collect()
}

/// The services, for the maps.
pub(in crate::daemon) fn vip_specs(cluster: &Cluster) -> Vec<VipSpec> {
    let specs = addresses(cluster).into_iter().map(|address| VipSpec {
        address,
        ports: cluster.ports.clone(),
    });
    specs.collect()
}
