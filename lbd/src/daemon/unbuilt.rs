//! What a configuration may say and this build cannot do yet. Refused, never half-done.
use crate::config::{Config, ConfigError, Forwarding};

/// One error for each backend that would be forwarded to in a way the data plane does not have.
#[must_use]
pub fn refusals(config: &Config) -> Vec<ConfigError> {
    let mut refused = Vec::new();
    for (s, site) in config.cluster.sites.iter().enumerate() {
        for (b, backend) in site.backends.iter().enumerate() {
            // A box never forwards to itself.
            if backend.forwarding != Forwarding::Nat || backend.name == config.node.name {
                continue;
            }
            refused.push(config.error_at(
                &format!("cluster.sites[{s}].backends[{b}]"),
                &format!("this version cannot forward by {} yet", backend.forwarding),
                "put the backend on the cluster's segment and use `forwarding: dsr`",
            ));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
node: {name: mx1, interfaces: [eth0]}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  forwarding: FORWARDING
  sites:
    - name: here
      backends:
        - {name: mx1, address: 192.0.2.11}
        - {name: mx2, address: 192.0.2.12}
";

    #[test]
    fn a_mode_that_the_data_plane_lacks_is_refused_with_its_line() {
        for (forwarding, refused) in [("dsr", 0), ("nat", 1), ("ipip", 0)] {
            let config = Config::parse(&FILE.replace("FORWARDING", forwarding), "f").unwrap();
            let errors = refusals(&config);
            assert_eq!(errors.len(), refused, "{forwarding}");
            assert!(
                errors.iter().all(|error| error.place.is_some()),
                "{forwarding}"
            );
        }
    }
}
