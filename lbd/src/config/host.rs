//! Whether a configuration fits the box it is to run on.
use std::net::{IpAddr, SocketAddr};

use super::{Config, error::ConfigError, reader::Complaint, suggest};

/// What the box has; the caller found it out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostFacts {
    /// The names of all interfaces.
    pub interfaces: Vec<String>,
    /// The addresses of all interfaces.
    pub addresses: Vec<IpAddr>,
}

/// Every way in which the file does not fit the box.
#[must_use]
pub fn check_host(config: &Config, host: &HostFacts) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut complain = |path: &str, problem: String, hint: String| {
        errors.push(config.error(path, Complaint::new(problem, hint)));
    };
    let names: Vec<&str> = host.interfaces.iter().map(String::as_str).collect();
    for (i, interface) in config.node.interfaces.iter().enumerate() {
        if names.contains(&interface.as_str()) {
            continue;
        }
        let hint = match suggest::nearest(interface, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("this box has: {}", names.join(", ")),
        };
        complain(
            &format!("node.interfaces[{i}]"),
            format!("this box has no interface {interface:?}"),
            hint,
        );
    }
    let has = |address: IpAddr| host.addresses.contains(&address);
    for (path, listener) in [
        ("node.http", config.node.http),
        ("node.channel", config.node.channel),
    ] {
        let absent =
            |at: &SocketAddr| !at.ip().is_unspecified() && !at.ip().is_loopback() && !has(at.ip());
        if let Some(at) = listener.filter(absent) {
            complain(
                path,
                format!("this box does not have the address {}", at.ip()),
                "give one of its own addresses".to_owned(),
            );
        }
    }
    for (s, site) in config.cluster.sites.iter().enumerate() {
        for (b, backend) in site.backends.iter().enumerate() {
            if backend.name == config.node.name && !has(backend.address) {
                complain(
                    &format!("cluster.sites[{s}].backends[{b}].address"),
                    format!(
                        "{} is this box by node.name, but this box does not have {}",
                        backend.name, backend.address
                    ),
                    "give this box's own address, or its right node.name".to_owned(),
                );
            }
        }
    }
    errors
}
