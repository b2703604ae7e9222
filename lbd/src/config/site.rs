//! `cluster.sites`: the backends, and what each may override.
use std::net::IpAddr;

use serde::Serialize;

use super::{choice::choice, stats::Source};
use crate::units::Weight;

choice! {
    /// How a frame reaches a backend on another box.
    pub enum Forwarding {
        /// Destination MAC rewritten; the VIP sits on the backend's loopback, which answers the
        /// client itself. Same segment.
        Dsr = "dsr",
        /// Addresses translated, and the port where the backend has its own. The client's address
        /// stays, so the backend's route to the client has to lead through the director: its
        /// default gateway is one of `virtual_addresses`, on the interface that faces it.
        Nat = "nat",
        /// Encapsulated in IPv4 or IPv6, for a backend on another subnet or site. There lbd takes the
        /// frames out again, if they come from an address that another backend or one of
        /// `unicast_peers` has; so boxes that tunnel to each other need addresses of one family. What
        /// is too long for the tunnel (the way's MTU less 20 or 40 bytes) is told to the client by ICMP.
        /// With `node.xdp: generic` turn GRO off: a frame that it put together fits no tunnel.
        Ipip = "ipip",
    }
}

/// A site: judged by its own averages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Site {
    /// Unique in the cluster.
    pub name: String,
    /// The sites that take over, in this order, what this one has no room for. Default none.
    pub spill: Vec<String>,
    /// At least one.
    pub backends: Vec<Backend>,
}

/// A mail node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backend {
    /// Unique in the cluster. The box whose `node.name` it is serves it from its own stack.
    pub name: String,
    /// The box's own address, never a VIP. Unique in the cluster.
    pub address: IpAddr,
    /// `nat` only: the port of the box. Default `null`: the VIP's.
    pub port: Option<u16>,
    /// 0 to 10,000, relative to the other backends' weights; 0 takes no new session. Default 100.
    pub weight: Weight,
    /// Default: the cluster's.
    pub forwarding: Forwarding,
    /// Where its figures come from. Default: the cluster's.
    pub stats: Source,
}
