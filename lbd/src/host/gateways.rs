//! Who routes for this box.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::HostError;
use super::links::host_bits;
use super::messages::route_of;
use super::neighbours::Route;
use super::netlink::Netlink;

/// Documentation addresses (RFC 5737, RFC 3849): the route to them is the default route.
const ELSEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1)),
];

/// The default gateways on interface `ifindex`, at most one a family: two look-ups, however many routes the
/// size of the routing table.
pub fn gateways(ifindex: u32) -> Result<Vec<IpAddr>, HostError> {
    let mut netlink = Netlink::open()?;
    let mut gateways = Vec::new();
    for address in ELSEWHERE {
        if let Route::Via {
            next_hop,
            ifindex: on,
            ..
        } = look_up(&mut netlink, address)?
            && on == ifindex
            && next_hop != address
        {
            gateways.push(next_hop);
        }
    }
    Ok(gateways)
}

/// Those of these addresses that lie behind a router, each with the router.
pub(super) fn routers(
    addresses: impl Iterator<Item = IpAddr>,
) -> Result<Vec<(IpAddr, IpAddr)>, HostError> {
    let mut netlink = Netlink::open()?;
    let mut routers = Vec::new();
    for address in addresses {
        if let Route::Via { next_hop, .. } = look_up(&mut netlink, address)?
            && next_hop != address
        {
            routers.push((address, next_hop));
        }
    }
    Ok(routers)
}

fn look_up(netlink: &mut Netlink, address: IpAddr) -> Result<Route, HostError> {
    let mut request = RouteMessage::default();
    request.header.address_family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    request.header.destination_prefix_length = host_bits(address);
    request.attributes = vec![RouteAttribute::Destination(address.into())];
    let answers = netlink.ask(RouteNetlinkMessage::GetRoute(request), || {
        format!("look up the route to {address}")
    });
    match answers {
        Ok(answers) => Ok(answers
            .iter()
            .find_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(route) => Some(route_of(address, route)),
                _ => None,
            })
            .unwrap_or(Route::Unreachable)),
        // ENETUNREACH, or what an unreachable, blackhole or prohibit route answers with.
        Err(HostError::Refused { .. }) => Ok(Route::Unreachable),
        Err(error) => Err(error),
    }
}
