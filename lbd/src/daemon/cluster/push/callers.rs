//! The peers, and how they are called.
use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    PushContext,
    link::{Link, LinkError},
};
use crate::{config::ClusterKeys, daemon::cluster::channel};

/// Who can be called, and how.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    own: String,
    pub(super) from: SocketAddr,
    keys: ClusterKeys,
}

impl Callers {
    pub(super) fn of(context: &PushContext) -> Result<Self, String> {
        let config = &context.running;
        match (config.node.channel, config.keys()) {
            (Some(from), Some(keys)) => Ok(Self {
                own: channel::own_name(config, from),
                from,
                keys: keys.clone(),
            }),
            (None, _) => Err("without node.channel there is no way to the peers".to_owned()),
            (_, None) => Err("without cluster.secret_file no peer would believe it".to_owned()),
        }
    }

    pub(super) async fn call(&self, peer: &str, at: SocketAddr) -> Result<Link, LinkError> {
        Link::call(&self.own, self.from, peer, at, &self.keys).await
    }
}

/// Every other node, and where it is called.
pub(super) fn peers(context: &PushContext, callers: &Callers) -> BTreeMap<String, SocketAddr> {
    channel::peers(&context.running, callers.from)
        .into_iter()
        .collect()
}

/// Where a peer is called; a name that is none is a mistake.
pub(super) fn known(
    peers: &BTreeMap<String, SocketAddr>,
    name: &str,
) -> Result<SocketAddr, String> {
    let names: Vec<&str> = peers.keys().map(String::as_str).collect();
    peers.get(name).copied().ok_or_else(|| {
        format!(
            "there is no peer {name}; the peers are {}",
            names.join(", ")
        )
    })
}
