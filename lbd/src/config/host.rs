//! Whether a configuration fits the box it runs on.
use std::net::{IpAddr, SocketAddr};

use super::{Config, Forwarding, StartAs, error::ConfigError, source::Complaint, suggest};

/// What the box has; the caller found it out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostFacts {
    /// The names of all interfaces.
    pub interfaces: Vec<String>,
    /// Other names of interfaces, each with the interface's own.
    pub alt_names: Vec<(String, String)>,
    /// The addresses of all interfaces.
    pub addresses: Vec<IpAddr>,
    /// Backends that lie behind a router, each with the router.
    pub routers: Vec<(IpAddr, IpAddr)>,
    /// The default gateways on the first interface.
    pub gateways: Vec<IpAddr>,
}

/// Puts the interfaces' own names in the place of their other ones. Whether there were any.
pub fn name_interfaces(config: &mut Config, host: &HostFacts) -> bool {
    let mut renamed = false;
    for named in &mut config.node.interfaces {
        let own = host.alt_names.iter().find(|(alt, _)| alt == named);
        if let Some((_, own)) = own.filter(|_| !host.interfaces.contains(named)) {
            named.clone_from(own);
            renamed = true;
        }
    }
    renamed
}

/// Every way in which the file does not fit the box.
#[must_use]
pub fn check_host(config: &Config, host: &HostFacts) -> Vec<ConfigError> {
    let found = compare(config, host).into_iter();
    found.map(|(_, error)| error).collect()
}

/// What fits the box and is likely not meant.
#[must_use]
pub fn host_warnings(config: &Config, host: &HostFacts) -> Vec<ConfigError> {
    let mut warnings = Vec::new();
    // The nodes that the election asks, as `Settings::of` has them.
    let others = config
        .cluster
        .backends()
        .filter(|(_, backend)| backend.name != config.node.name);
    if config.node.start_as != StartAs::Backend && others.count() == 1 && host.gateways.is_empty() {
        let interface = config.node.interfaces.first().map_or("", String::as_str);
        let problem = format!(
            "no default route leaves by {interface:?} and there is one other box: when the two do not \
             hear each other, neither can tell which of them was cut off, and sessions that began \
             meanwhile may be lost when they do again"
        );
        let hint = "route by a gateway on that interface, or list a third box, of weight 0 if it takes no mail";
        warnings.push(config.error("cluster.sites", Complaint::new(problem, hint)));
    }
    warnings
}

/// What this box does not have and cannot run without: its first interface, which carries the virtual
/// addresses, and its own addresses.
#[must_use]
pub fn missing_at_start(config: &Config, host: &HostFacts) -> Vec<ConfigError> {
    let found = compare(config, host).into_iter();
    let needed = found.filter(|(kind, _)| *kind == Kind::Needed);
    needed.map(|(_, error)| error).collect()
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Nothing runs without it.
    Needed,
    /// All else runs without it.
    Lesser,
}

fn compare(config: &Config, host: &HostFacts) -> Vec<(Kind, ConfigError)> {
    let mut errors = Vec::new();
    let mut complain = |kind: Kind, path: &str, problem: String, hint: String| {
        errors.push((kind, config.error(path, Complaint::new(problem, hint))));
    };
    let names: Vec<&str> = host.interfaces.iter().map(String::as_str).collect();
    for (i, interface) in config.node.interfaces.iter().enumerate() {
        let is_other_name = host.alt_names.iter().any(|(alt, _)| alt == interface);
        if is_other_name || names.contains(&interface.as_str()) {
            continue;
        }
        let hint = match suggest::nearest(interface, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("this box has: {}", names.join(", ")),
        };
        let kind = if i == 0 { Kind::Needed } else { Kind::Lesser };
        complain(
            kind,
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
                Kind::Needed,
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
                    Kind::Needed,
                    &format!("cluster.sites[{s}].backends[{b}].address"),
                    format!(
                        "{} is this box by node.name, but this box does not have {}",
                        backend.name, backend.address
                    ),
                    "give this box's own address, or its right node.name".to_owned(),
                );
                continue;
            }
            let router = host.routers.iter().find(|(to, _)| *to == backend.address);
            if let Some((_, router)) = router
                && backend.forwarding == Forwarding::Dsr
                && backend.name != config.node.name
                && config.node.start_as != StartAs::Backend
            {
                complain(
                    Kind::Lesser,
                    &format!("cluster.sites[{s}].backends[{b}].address"),
                    format!(
                        "{} is behind the router {router}, and dsr reaches only boxes on the same \
                         segment: it would serve no session",
                        backend.address
                    ),
                    "use `forwarding: ipip` for it".to_owned(),
                );
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(node: &str, backends: &str) -> Config {
        let text = format!(
            "node: {{name: mx1, {node}}}\ncluster: {{virtual_router_id: 51, virtual_addresses: \
             [192.0.2.25/24], sites: [{{name: here, backends: [{{name: mx1, address: 192.0.2.11}}{backends}]}}]}}\n"
        );
        Config::parse(&text, "lbd.yaml").unwrap()
    }

    fn warnings_of(node: &str, host: &HostFacts) -> Vec<String> {
        let errors = check_host(&config(node, ""), host);
        errors.iter().map(ToString::to_string).collect()
    }

    fn host() -> HostFacts {
        HostFacts {
            interfaces: vec!["lo".to_owned(), "enp1s0".to_owned()],
            addresses: vec!["192.0.2.11".parse().unwrap()],
            ..HostFacts::default()
        }
    }

    #[test]
    fn an_interface_is_found_by_its_other_name() {
        let mut host = host();
        host.alt_names = vec![("wan0".to_owned(), "enp1s0".to_owned())];
        assert_eq!(
            warnings_of("interfaces: [wan0]", &host),
            Vec::<String>::new()
        );
        let mut config = config("interfaces: [lo, wan0]", "");
        assert!(name_interfaces(&mut config, &host));
        assert_eq!(config.node.interfaces, ["lo", "enp1s0"]);
        assert!(!name_interfaces(&mut config, &host));
    }

    #[test]
    fn a_dsr_backend_behind_a_router_is_told_to_be_tunnelled() {
        let mut host = host();
        host.routers = vec![(
            "198.51.100.7".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
        )];
        let checked = |node: &str, forwarding: &str| {
            let far = format!(", {{name: mx2, address: 198.51.100.7, forwarding: {forwarding}}}");
            check_host(&config(&format!("interfaces: [lo]{node}"), &far), &host)
        };
        let told = checked("", "dsr");
        assert_eq!(told.len(), 1, "{told:?}");
        let told = told[0].to_string();
        assert!(
            told.contains("198.51.100.7 is behind the router 192.0.2.1"),
            "{told}"
        );
        assert!(told.contains("`forwarding: ipip`"), "{told}");
        assert_eq!(checked("", "ipip"), []);
        // This box steers nothing.
        assert_eq!(checked(", start_as: backend", "dsr"), []);
    }

    #[test]
    fn two_boxes_without_a_gateway_are_warned_of() {
        let warned = |node: &str, others: &str, gateways: &[&str]| {
            let facts = HostFacts {
                gateways: gateways.iter().map(|ip| ip.parse().unwrap()).collect(),
                ..host()
            };
            let config = config(&format!("interfaces: [enp1s0]{node}"), others);
            // It is a warning: the box starts.
            assert_eq!(check_host(&config, &facts), []);
            let warnings = host_warnings(&config, &facts);
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let two = ", {name: mx2, address: 192.0.2.12}";
        let three = ", {name: mx2, address: 192.0.2.12}, {name: mx3, address: 192.0.2.13}";
        let told = warned("", two, &[]);
        assert_eq!(told.len(), 1, "{told:?}");
        for part in [
            "cluster.sites: ",
            "no default route leaves by \"enp1s0\"",
            "a third box",
        ] {
            assert!(told[0].contains(part), "{told:?}");
        }
        let nothing: [String; 0] = [];
        assert_eq!(warned("", two, &["192.0.2.1"]), nothing);
        assert_eq!(warned("", three, &[]), nothing);
        assert_eq!(warned("", "", &[]), nothing);
        // It takes part in no election.
        assert_eq!(warned(", start_as: backend", two, &[]), nothing);
    }

    #[test]
    fn only_the_first_interface_and_its_own_addresses_keep_a_box_from_starting() {
        let nothing = HostFacts::default();
        let config = config("interfaces: [enp1s0, enp2s0], channel: 192.0.2.11:9426", "");
        let missing = missing_at_start(&config, &nothing);
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(missing.len(), 3, "{missing:?}");
        assert!(
            missing
                .iter()
                .all(|missing| !missing.contains("node.interfaces[1]")),
            "{missing:?}"
        );
        assert_eq!(check_host(&config, &nothing).len(), 4);
    }

    #[test]
    fn a_box_that_has_everything_is_fine() {
        let node = "interfaces: [enp1s0], channel: 192.0.2.11:9426, http: 0.0.0.0:9425";
        assert_eq!(warnings_of(node, &host()), Vec::<String>::new());
    }

    #[test]
    fn a_missing_interface_is_told_with_its_line_and_the_nearest() {
        let told = warnings_of("interfaces: [enp1s0, enp2s0, wan]", &host());
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
        let told = warnings_of("interfaces: [lo], channel: 192.0.2.99:9426", &host);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("node.channel: this box does not have the address 192.0.2.99"));
        assert!(told[1].contains("mx1 is this box by node.name"), "{told:?}");
    }
}
