//! A container on a node: a network namespace of its own, to which the node's rules hand what comes for SMTP.
use anyhow::Result;
use lbd::units::Mac;

use super::{Host, Lab, bare_host};

const NODE: [u8; 4] = [10, 99, 0, 1];
const INSIDE: [u8; 4] = [10, 99, 0, 2];

impl Lab {
    /// Makes one on a node, as container engines do: the node translates port 25 of every IPv4 address that it
    /// has, and forwards.
    pub fn container(&self, node: &Host) -> Result<Host> {
        let name = format!("{}c", node.name);
        let mut inside = bare_host(&self.prefix, &name, Mac::default())?;
        inside.addresses4.push(INSIDE.into());
        let [node_address, inside_address] = [NODE, INSIDE].map(std::net::Ipv4Addr::from);
        node.ip_batch(&format!(
            "link add box type veth peer name eth0 netns {}\n\
             addr add {node_address}/24 dev box\n\
             link set box up\n",
            inside.namespace
        ))?;
        inside.ip_batch(&format!(
            "addr add {inside_address}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via {node_address}\n"
        ))?;
        node.set_sysctls(&[("net.ipv4.ip_forward", "1")])?;
        let hand_on = format!("fib daddr type local tcp dport 25 dnat to {inside_address}");
        node.output(
            "nft",
            &[format!(
                "add table ip box; \
                 add chain ip box in {{ type nat hook prerouting priority -100; }}; \
                 add chain ip box own {{ type nat hook output priority -100; }}; \
                 add rule ip box in {hand_on}; \
                 add rule ip box own {hand_on}"
            )],
        )?;
        Ok(inside)
    }
}
