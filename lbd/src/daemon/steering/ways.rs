//! The way to each backend, as the kernel's neighbour table and routes have it.
use tracing::{info, warn};

use super::{Steering, tunnel};
use crate::{
    config::{Config, Forwarding},
    daemon::{clock, context::Context},
    host::neighbours::{Hop, Neighbour, Reach},
    policy::Sign,
};

use super::members::Member;

impl Steering {
    /// Takes in the way to a backend or a director.
    pub(in crate::daemon) fn neighbour(
        &mut self,
        neighbour: &Neighbour,
        context: &mut Context<'_>,
    ) {
        let hop = match neighbour.reach {
            Reach::Resolved(hop) => Some(hop),
            Reach::Local | Reach::Unreachable | Reach::Resolving { .. } => None,
        };
        let cluster = &mut *context.cluster;
        if let Some(mac) = neighbour.refused {
            let now_ns = clock::boottime_ns();
            if let Some(said) = cluster.stations.refuse(neighbour.address, mac, now_ns) {
                warn!("{said}");
            }
        }
        if self.members.note_director(neighbour.address, hop) {
            cluster.mark_nodes_stale();
        }
        let Some(member) = self.members.by_address(neighbour.address) else {
            return;
        };
        // A hop that a former daemon left stands until the kernel knows better.
        let is_adopted = member.hop.is_some_and(|hop| !hop.is_confirmed);
        let is_asked = matches!(neighbour.reach, Reach::Resolving { .. });
        if member.hop == hop || is_adopted && is_asked {
            return;
        }
        log_way(member, hop, neighbour.reach, context.config);
        let is_lost = hop.is_some_and(|hop| !hop.is_confirmed && hop.next_hop == member.address);
        let is_lost = is_lost && member.hop.is_some();
        member.hop = hop;
        let changed = member.clone();
        self.write_backend(&changed, context.plane);
        cluster.mark_nodes_stale();
        self.settle_health(&changed.name, context, clock::boottime_ns());
        if is_lost {
            let now_ns = clock::boottime_ns();
            self.sign_of(&changed.name, Sign::NoNeighbour, context, now_ns);
        }
    }
}

fn log_way(member: &Member, hop: Option<Hop>, reach: Reach, config: &Config) {
    let (name, address) = (&member.name, member.address);
    match (hop, reach) {
        (Some(hop), _) if hop.is_confirmed => info!(
            "{name} ({address}) is at {}, path MTU {} bytes",
            hop.mac, hop.mtu
        ),
        (Some(hop), _) => {
            info!(
                "{name} ({address}) no longer answers at {}, which stays in use",
                hop.mac
            );
        }
        (None, Reach::Unreachable) => warn!("{name} ({address}): there is no route to it"),
        (None, _) => info!("{name} ({address}) resolving its link-layer address"),
    }
    let vips = &config.cluster.virtual_addresses;
    if let Some(hop) = hop
        && member.forwarding == Forwarding::Ipip
        && tunnel::is_too_small_for_ipv6(tunnel::mtu(hop.mtu, address))
        && vips.iter().any(|vip| vip.address.is_ipv6())
    {
        warn!(
            "{name} ({address}): the path MTU is {} bytes, too small to tunnel IPv6 clients: raise it to 1320",
            hop.mtu
        );
    }
}
