//! How the data plane treats a backend. Pure.
use std::{net::IpAddr, num::NonZeroU16};

use super::{members::Member, tunnel};
use crate::{
    config::Forwarding,
    dataplane::{BackendSpec, Delivery, NextHop},
    policy::HealthState,
    units::Sockets,
};

/// The entry of a backend; `own` is this box's address as a backend.
pub(in crate::daemon) fn backend_spec(member: &Member, own: Option<IpAddr>) -> BackendSpec {
    let mut hop = member.hop;
    let delivery = match member.forwarding {
        _ if member.local => Delivery::Local,
        Forwarding::Dsr => Delivery::Dsr,
        Forwarding::Nat => Delivery::Nat {
            port: match member.endpoint.sockets {
                Sockets::Own { port } => port.map(NonZeroU16::get),
                Sockets::Virtual => None,
            },
        },
        Forwarding::Ipip => {
            let by_route = hop.and_then(|hop| hop.source);
            let source = tunnel::source(own, by_route, member.address);
            if source.is_none() {
                // Without an address to send from there is no way there.
                hop = None;
            }
            Delivery::Ipip {
                source: source.unwrap_or(member.address),
                mtu: tunnel::mtu(hop.map_or(0, |hop| hop.mtu), member.address),
            }
        }
    };
    BackendSpec {
        address: member.address,
        delivery,
        next_hop: hop.map(|hop| NextHop {
            mac: hop.mac,
            source_mac: hop.source_mac,
            ifindex: hop.ifindex,
        }),
        // One that only cannot be reached keeps its sessions: the route may come back.
        alive: member.health.state != HealthState::Down || member.router().is_some(),
    }
}
