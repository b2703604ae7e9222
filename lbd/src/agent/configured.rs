//! What the agent looks at, by the configuration.

use super::{AgentConfig, Choice, MailSystem, Spool};
use crate::config::{self, Config, Forwarding};

impl From<&Config> for AgentConfig {
    fn from(config: &Config) -> Self {
        let own = config.own_backend();
        // Only with DSR and IPIP does the VIP's own address reach the backend.
        let by_vip = own.is_some_and(|backend| backend.forwarding != Forwarding::Nat);
        let vips = config.cluster.virtual_addresses.iter();
        Self {
            node: config.node.name.clone(),
            ports: config.cluster.ports.clone(),
            spools: spools(&config.node.queue),
            vips: vips.filter(|_| by_vip).map(|vip| vip.address).collect(),
        }
    }
}

fn spools(queue: &config::Queue) -> Choice {
    let system = match queue.system {
        config::MailSystem::Postfix => MailSystem::Postfix,
        config::MailSystem::Exim => MailSystem::Exim,
        config::MailSystem::Sendmail => MailSystem::Sendmail,
        config::MailSystem::None => return Choice::None,
        config::MailSystem::Auto => {
            return match &queue.spool {
                None => Choice::Auto,
                Some(path) => Choice::These(vec![Spool {
                    system: MailSystem::of(path).unwrap_or(MailSystem::Postfix),
                    path: path.clone(),
                }]),
            };
        }
    };
    Choice::These(vec![match &queue.spool {
        Some(path) => Spool {
            system,
            path: path.clone(),
        },
        None => system.usual_spool(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(queue: &str, backend: &str) -> AgentConfig {
        let text = format!(
            "node: {{name: mx1, interfaces: [eth0], queue: {queue}}}\n\
             cluster:\n  virtual_router_id: 51\n  virtual_addresses: [192.0.2.25/24]\n  \
             ports: [25, 587]\n  sites:\n    - name: here\n      backends:\n        \
             - {{name: mx1, address: 192.0.2.11{backend}}}\n        \
             - {{name: mx2, address: 192.0.2.12}}\n"
        );
        let config = Config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors:?}"));
        AgentConfig::from(&config)
    }

    #[test]
    fn the_configuration_says_what_to_look_at() {
        let dsr = configured("{system: postfix, spool: /srv/postfix}", "");
        assert_eq!(dsr.node, "mx1");
        assert_eq!(dsr.ports, [25, 587]);
        assert_eq!(dsr.vips.len(), 1);
        let spool = Spool {
            system: MailSystem::Postfix,
            path: "/srv/postfix".into(),
        };
        assert_eq!(dsr.spools, Choice::These(vec![spool]));

        let nat = configured("{system: none}", ", forwarding: nat");
        assert!(
            nat.vips.is_empty(),
            "behind NAT the VIP is on no backend but the master"
        );
        assert_eq!(nat.spools, Choice::None);

        assert_eq!(configured("{system: auto}", "").spools, Choice::Auto);
    }
}
