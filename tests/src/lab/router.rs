//! A second segment, 10.78.0.0/24 and `fd00:78::/64`, behind a router.
//!
//! ```text
//!   client1   mx1   mx2                 mx3
//!      |       |     |                   |
//!      +------ br0 --+-- router -- br1 --+
//! ```
use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::{Result, bail};

use super::{INTERFACE, Lab, addresses, bare_host, host::Host, port};

const NEAR4: Ipv4Addr = Ipv4Addr::new(10, 77, 255, 254);
const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0xffff);
const FAR4: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x78, 0, 0, 0, 0, 0, 1);
/// The interface of a node that has an arm there.
pub const FAR_INTERFACE: &str = "eth1";
/// The far segment, as routes name it.
pub const FAR_SEGMENTS: [(&str, &str); 2] = [
    ("10.78.0.0/24", "10.77.255.254"),
    ("fd00:78::/64", "fd00:77::ffff"),
];

impl Lab {
    /// Moves a node to a segment of its own behind a router, with other addresses. Call it once,
    /// before anything runs on the node.
    pub fn put_behind_router(&mut self, index: usize) -> Result<()> {
        let router = self.make_router()?;
        self.move_node(index)?;
        let others = self.nodes.iter().enumerate();
        let others = others.filter(|(other, _)| *other != index);
        for host in others.map(|(_, node)| node).chain(&self.clients) {
            route_to_far_segment(host)?;
        }
        self.router = Some(router);
        Ok(())
    }

    /// Moves the only client to a segment of its own behind a router, which is on the nodes' segment
    /// as [`near_router`]. Call it once, before anything runs.
    pub fn put_client_behind_router(&mut self) -> Result<Host> {
        let router = self.make_router()?;
        let [client] = &mut self.clients[..] else {
            bail!("a lab with one client");
        };
        move_to_far_segment(&self.switch, client, 100)?;
        for node in &self.nodes {
            route_to_far_segment(node)?;
        }
        self.router = Some(router.clone());
        Ok(router)
    }

    fn make_router(&self) -> Result<Host> {
        let mut router = bare_host(&self.prefix, "router", addresses::mac(3, 0))?;
        router.addresses4.push(NEAR4);
        router.addresses6.push(NEAR6);
        self.connect(&router)?;
        router.set_sysctls(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv6.conf.all.forwarding", "1"),
        ])?;
        self.switch.ip_batch(&format!(
            "link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set br1 up\n\
             link add p-far type veth peer name eth1 netns {}\n\
             link set p-far master br1 up\n",
            router.namespace
        ))?;
        router.ip_batch(&format!(
            "link set eth1 up\naddr add {FAR4}/24 dev eth1\naddr add {FAR6}/64 dev eth1 nodad\n"
        ))?;
        Ok(router)
    }

    /// Gives a node an `eth1` on the far segment, and takes its way through the router: call it after
    /// [`Self::put_behind_router`]. Returns its IPv4 address there.
    pub fn add_far_arm(&self, index: usize) -> Result<Ipv4Addr> {
        let node = &self.nodes[index];
        let last = 101 + u8::try_from(index)?;
        let v4 = Ipv4Addr::new(10, 78, 0, last);
        let v6 = Ipv6Addr::new(0xfd00, 0x78, 0, 0, 0, 0, 0, last.into());
        let port = format!("{}-far", port(node));
        self.switch.ip_batch(&format!(
            "link add {port} type veth peer name {FAR_INTERFACE} netns {}\n\
             link set {port} master br1 up\n",
            node.namespace
        ))?;
        let mut lines = String::new();
        for (segment, gateway) in FAR_SEGMENTS {
            let _ = writeln!(lines, "route del {segment} via {gateway}");
        }
        let _ = write!(
            lines,
            "link set {FAR_INTERFACE} up\n\
             addr add {v4}/24 dev {FAR_INTERFACE}\n\
             addr add {v6}/64 dev {FAR_INTERFACE} nodad\n"
        );
        node.ip_batch(&lines)?;
        self.make_like_nics(&[port])?;
        Ok(v4)
    }

    fn move_node(&mut self, index: usize) -> Result<()> {
        let last = 11 + u8::try_from(index)?;
        move_to_far_segment(&self.switch, &mut self.nodes[index], last)
    }
}

/// The router's address on the segment of the nodes.
#[must_use]
pub fn near_router() -> Ipv4Addr {
    NEAR4
}

fn move_to_far_segment(switch: &Host, host: &mut Host, last: u8) -> Result<()> {
    host.addresses4 = vec![Ipv4Addr::new(10, 78, 0, last)];
    host.addresses6 = vec![Ipv6Addr::new(0xfd00, 0x78, 0, 0, 0, 0, 1, last.into())];
    let (v4, v6) = (host.address4(), host.address6());
    switch.ip(&format!("link set {} master br1", port(host)))?;
    host.ip_batch(&format!(
        "addr flush dev {INTERFACE} scope global\n\
         addr add {v4}/24 dev {INTERFACE}\n\
         addr add {v6}/64 dev {INTERFACE} nodad\n\
         route add default via {FAR4}\n\
         route add default via {FAR6} dev {INTERFACE}\n"
    ))
}

fn route_to_far_segment(host: &Host) -> Result<()> {
    let mut lines = String::new();
    for (segment, gateway) in FAR_SEGMENTS {
        let _ = writeln!(lines, "route add {segment} via {gateway}");
    }
    host.ip_batch(&lines)
}
