//! What the box has, for checking a configuration against it.
use std::{fs, io};

use super::links::Links;
use super::{HostError, gateways};
use crate::config::{Config, Forwarding, HostFacts};

/// Reads the names and addresses of all interfaces, `lo` and any that holds a VIP included.
/// Of the ways to other boxes, those to the `dsr` backends of `config` count.
pub fn facts(config: &Config) -> Result<HostFacts, HostError> {
    let links = Links::read()?;
    let near = config
        .cluster
        .backends()
        .filter(|(_, backend)| backend.forwarding == Forwarding::Dsr)
        .map(|(_, backend)| backend.address);
    let named = config.node.interfaces.first();
    let first = links
        .iter()
        .find(|link| named.is_some_and(|name| link.name == *name || link.alt_names.contains(name)));
    Ok(HostFacts {
        gateways: first.map_or(Ok(Vec::new()), |link| gateways::gateways(link.ifindex))?,
        routers: gateways::routers(near)?,
        alt_names: links
            .iter()
            .flat_map(|link| {
                let names = link.alt_names.iter();
                names.map(|alt| (alt.clone(), link.name.clone()))
            })
            .collect(),
        interfaces: links.iter().map(|link| link.name.clone()).collect(),
        addresses: links
            .iter()
            .flat_map(|link| link.addresses.iter())
            .map(|address| address.address)
            .collect(),
    })
}

/// The host name.
///
/// # Errors
/// It cannot be read.
pub fn name() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?
        .trim()
        .to_owned())
}

/// Its first label: what a backend is usually called.
///
/// # Errors
/// As of [`name`].
pub fn short_name() -> io::Result<String> {
    let name = name()?;
    Ok(name.split('.').next().unwrap_or_default().to_owned())
}
