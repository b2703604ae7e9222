//! Which addresses are boxes of this cluster.
use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use crate::config::Config;

/// The addresses that the running configuration names, shared with what listens.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Known(Arc<RwLock<HashSet<IpAddr>>>);

impl Known {
    /// From now on those of this configuration.
    pub(in crate::daemon) fn follow(&self, config: &Config) {
        let cluster = &config.cluster;
        let boxes = cluster.backends().map(|(_, backend)| backend.address);
        let boxes = boxes
            .chain(cluster.directors.iter().copied())
            .chain(cluster.unicast_peers.iter().copied())
            .chain(config.node.channel.map(|own| own.ip()));
        let boxes = boxes.map(|address| address.to_canonical()).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = boxes;
    }

    /// Whether a box of the cluster has this address, or it is this box's own.
    pub(in crate::daemon) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        address.is_loopback() || known.contains(&address)
    }
}
