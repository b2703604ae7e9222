//! Whether a configuration fits the box it is to run on.
use std::net::{IpAddr, SocketAddr};

use super::{Config, error::ConfigError, source::Complaint, suggest};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(node: &str, host: &HostFacts) -> Vec<String> {
        let text = format!(
            "node: {{name: mx1, {node}}}\ncluster: {{virtual_router_id: 51, virtual_addresses: \
             [192.0.2.25/24], sites: [{{name: here, backends: [{{name: mx1, address: 192.0.2.11}}]}}]}}\n"
        );
        let config = Config::parse(&text, "lbd.yaml").unwrap();
        let errors = check_host(&config, host);
        errors.iter().map(ToString::to_string).collect()
    }

    fn host() -> HostFacts {
        HostFacts {
            interfaces: vec!["lo".to_owned(), "enp1s0".to_owned()],
            addresses: vec!["192.0.2.11".parse().unwrap()],
        }
    }

    #[test]
    fn a_box_that_has_everything_is_fine() {
        let node = "interfaces: [enp1s0], channel: 192.0.2.11:9426, http: 0.0.0.0:9425";
        assert_eq!(told(node, &host()), Vec::<String>::new());
    }

    #[test]
    fn a_missing_interface_is_told_with_its_line_and_the_nearest() {
        let told = told("interfaces: [enp1s0, enp2s0, wan]", &host());
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("lbd.yaml:1:40: node.interfaces[1]: "),
            "{told:?}"
        );
        assert!(told[0].contains("did you mean `enp1s0`?"), "{told:?}");
        assert!(told[1].contains("this box has: lo, enp1s0"), "{told:?}");
    }

    #[test]
    fn an_address_of_another_box_is_told() {
        let mut host = host();
        host.addresses.clear();
        let told = told("interfaces: [lo], channel: 192.0.2.99:9426", &host);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("node.channel: this box does not have the address 192.0.2.99"));
        assert!(told[1].contains("mx1 is this box by node.name"), "{told:?}");
    }
}
