//! What a former daemon left in the maps, taken for true until this one knows better.
//!
//! A daemon that starts knows no backend's link-layer address yet. The pinned maps do: without them
//! every frame to another box would be dropped, and every frame from one steered a second time, until
//! the kernel has told.
use std::{collections::BTreeMap, net::IpAddr};

use lbd_common::{
    backend::{Backend, state},
    tunnel::outer_bytes,
};
use tracing::info;

use super::{
    Steering,
    followed_weights::{FollowedWeights, Whose},
    members::nanoseconds,
};
use crate::{
    channel::BackendWeight,
    config::Config,
    daemon::{clock, context::Context},
    dataplane::{DataPlane, address},
    host::{links::Links, neighbours::Hop},
    policy::HealthState,
    units::{BackendId, Mac, WeightPermille},
};

impl Steering {
    /// Gives each member the hop and the health that its entry in the maps has, and retires the
    /// backends that the configuration no longer names.
    pub(in crate::daemon) fn adopt(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let links = Links::read()?;
        let (plane, stations) = (&*context.plane, &mut context.cluster.stations);
        stations.adopt(plane.nodes(), clock::boottime_ns());
        let mut adopted = 0;
        let entries: Vec<(BackendId, Backend)> = plane.backends()?;
        for (id, entry) in &entries {
            let Some(member) = self.members.iter_mut().find(|member| member.id == *id) else {
                continue;
            };
            if entry.state == state::DEAD {
                member.health.state = HealthState::Down;
                member.checked.state = HealthState::Down;
            }
            let is_node = plane.is_node(Mac(entry.mac));
            member.hop = hop(entry, member.address, is_node, &links);
            adopted += u32::from(member.hop.is_some());
        }
        // One that is reached otherwise since is where it was.
        for (id, entry) in &entries {
            let known = plane.backend_ids().endpoint(*id);
            let member = known.and_then(|endpoint| self.members.by_address(endpoint.address));
            if let Some(member) = member.filter(|member| member.hop.is_none()) {
                let is_node = plane.is_node(Mac(entry.mac));
                member.hop = hop(entry, member.address, is_node, &links);
            }
        }
        self.adopt_weights(context.config, plane);
        let known = |id: &BackendId| self.members.iter().any(|member| member.id == *id);
        let gone: Vec<BackendId> = entries
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| !known(id))
            .collect();
        if adopted > 0 || !gone.is_empty() {
            info!(
                "took over {adopted} backends from an earlier lbd, and {} that are being removed",
                gone.len()
            );
        }
        self.weigher.leaving.add(gone, 0);
        Ok(())
    }

    /// Goes on with the weights that are in the map, until there are figures or a round of polls has
    /// brought none.
    fn adopt_weights(&mut self, config: &Config, plane: &DataPlane) {
        let weights: BTreeMap<BackendId, WeightPermille> = plane.weights().into_iter().collect();
        if weights.values().all(|weight| weight.0 == 0) {
            return;
        }
        let found = self.members.iter().filter_map(|member| {
            let weight = *weights.get(&member.id)?;
            Some(BackendWeight {
                backend: member.address,
                weight,
                in_ring: weight,
            })
        });
        let interval = nanoseconds(config.cluster.stats.interval);
        let until_ns = clock::boottime_ns() + interval * 2;
        let followed = FollowedWeights::new(Whose::Former, until_ns, found.collect());
        self.weigher.follow(followed);
    }
}

/// The hop of an entry, if it is one of this box's still.
fn hop(entry: &Backend, address: IpAddr, is_node: bool, links: &Links) -> Option<Hop> {
    let source_mac = Mac(entry.source_mac);
    let link = links.numbered(entry.ifindex)?;
    if entry.mac == [0; 6] || link.mac != Some(source_mac) {
        return None;
    }
    let family = u32::from(entry.family);
    let mtu = match entry.mtu {
        0 => link.mtu,
        inner => u32::from(inner) + u32::from(outer_bytes(entry.family)),
    };
    Some(Hop {
        ifindex: entry.ifindex,
        mac: Mac(entry.mac),
        source_mac,
        // A gateway's address is not in the map; that it is another one is all that counts.
        next_hop: if is_node {
            address
        } else {
            IpAddr::from([0_u8; 4])
        },
        source: address::from_words(family, entry.source_address)
            .filter(|source| !source.is_unspecified()),
        mtu,
        is_confirmed: false,
    })
}
