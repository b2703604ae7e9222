//! What the box has, for checking a configuration against it.
use super::HostError;
use super::links::Links;
use crate::config::HostFacts;

/// Reads the names and addresses of all interfaces, `lo` and whatever holds a VIP included.
pub fn facts() -> Result<HostFacts, HostError> {
    let links = Links::read()?;
    Ok(HostFacts {
        interfaces: links.iter().map(|link| link.name.clone()).collect(),
        addresses: links
            .iter()
            .flat_map(|link| link.addresses.iter())
            .map(|address| address.address)
            .collect(),
    })
}
