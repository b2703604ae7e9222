//! `forwarding: ipip`: how long a packet a tunnel takes, and between whom tunnels are. Pure.
use std::{collections::BTreeMap, net::IpAddr};

use lbd_common::tunnel::{outer_bytes, side};

use super::members::Members;
use crate::config::{Cluster, Forwarding};

/// What IPv6 asks of every link (RFC 8200, section 5), and so the least that its senders send.
const IPV6_MINIMUM: u16 = 1280;

/// The largest packet inside a tunnel to `address`, on a way that takes `way_mtu` bytes.
pub(in crate::daemon) fn mtu(way_mtu: u32, address: IpAddr) -> u16 {
    let outer = outer_bytes(if address.is_ipv4() { 4 } else { 6 });
    u16::try_from(way_mtu)
        .unwrap_or(u16::MAX)
        .saturating_sub(outer)
}

/// Whether IPv6 clients cannot be served through such a tunnel: below their minimum they do not go
/// (RFC 8201, section 4), at any MTU that they are told.
pub(in crate::daemon) fn is_too_small_for_ipv6(mtu: u16) -> bool {
    mtu < IPV6_MINIMUM
}

/// The addresses that the program knows as tunnels' ends, with their [`side`]: this box's own if it
/// is sent to by `ipip`, and those that other boxes send from. `None`: those that there are stay, for
/// a box that is sent to by `nat` may have sessions that were opened through a tunnel.
pub(in crate::daemon) fn ends(
    members: &Members,
    cluster: &Cluster,
) -> Option<BTreeMap<IpAddr, u32>> {
    let local = members.local();
    if local.is_some_and(|local| local.forwarding == Forwarding::Nat) {
        return None;
    }
    let Some(own) = local.filter(|local| local.forwarding == Forwarding::Ipip) else {
        return Some(BTreeMap::new());
    };
    let mut ends: BTreeMap<IpAddr, u32> = members
        .iter()
        .map(|member| member.address)
        // A pure director is no backend.
        .chain(cluster.unicast_peers.iter().copied())
        .chain(cluster.directors.iter().copied())
        .map(|address| (address, side::PEER))
        .collect();
    ends.insert(own.address, side::OWN);
    Some(ends)
}

/// The address that this box tunnels to `address` from: the one that the other boxes know it by,
/// unless that is of the other family; then what the route says.
pub(in crate::daemon) fn source(
    own: Option<IpAddr>,
    by_route: Option<IpAddr>,
    address: IpAddr,
) -> Option<IpAddr> {
    own.filter(|own| own.is_ipv4() == address.is_ipv4())
        .or(by_route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, daemon::steering::members, units::BackendId};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_tunnel_takes_what_the_way_takes_less_its_header() {
        for (way, address, inner) in [
            (1500, "192.0.2.12", 1480),
            (1500, "2001:db8::12", 1460),
            (9000, "192.0.2.12", 8980),
            (1400, "2001:db8::12", 1360),
            // The loopback's, and none at all.
            (65_536, "192.0.2.12", 65_515),
            (0, "192.0.2.12", 0),
        ] {
            assert_eq!(mtu(way, ip(address)), inner, "{way} to {address}");
        }
        assert!(is_too_small_for_ipv6(mtu(1300, ip("2001:db8::12"))));
        assert!(!is_too_small_for_ipv6(mtu(1300, ip("192.0.2.12"))));
    }

    #[test]
    fn a_box_tunnels_from_the_address_it_is_known_by() {
        let (own, other) = (Some(ip("192.0.2.11")), Some(ip("2001:db8::11")));
        let route = Some(ip("192.0.2.2"));
        assert_eq!(source(own, route, ip("203.0.113.1")), own);
        assert_eq!(source(other, route, ip("203.0.113.1")), route);
        assert_eq!(source(None, route, ip("203.0.113.1")), route);
        assert_eq!(source(other, None, ip("203.0.113.1")), None);
    }

    #[test]
    fn only_a_box_that_is_tunnelled_to_takes_out_and_from_the_cluster_only() {
        let file = "
node: {name: NAME, interfaces: [eth0]}
cluster:
  virtual_router_id: 51
  virtual_addresses: [192.0.2.25/24]
  unicast_peers: [192.0.2.2, 192.0.2.11]
  sites:
    - name: here
      backends:
        - {name: mx1, address: 192.0.2.11}
        - {name: mx2, address: 203.0.113.12, forwarding: ipip}
        - {name: mx3, address: 203.0.113.13, forwarding: ipip}
        - {name: mx4, address: 192.0.2.14, forwarding: nat}
";
        let of = |name: &str| {
            let config = Config::parse(&file.replace("NAME", name), "f").unwrap();
            let endpoints = members::endpoints(name, &config.cluster);
            let ids = (0..).map(BackendId);
            let ids = endpoints.into_iter().zip(ids).collect();
            let mut members = Members::default();
            members.configure(name, &config.cluster, &ids);
            ends(&members, &config.cluster)
        };
        assert_eq!(of("mx1"), Some(BTreeMap::new()));
        assert_eq!(of("lb1"), Some(BTreeMap::new()));
        assert_eq!(of("mx4"), None);
        let expected = BTreeMap::from([
            (ip("192.0.2.2"), side::PEER),
            (ip("192.0.2.11"), side::PEER),
            (ip("203.0.113.12"), side::OWN),
            (ip("203.0.113.13"), side::PEER),
            (ip("192.0.2.14"), side::PEER),
        ]);
        assert_eq!(of("mx2"), Some(expected));
    }
}
