//! What rtnetlink's messages about routes and neighbours say.
use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};

use super::links::mac_of;
use super::neighbours::{Entry, Route};

/// The way that the answer to a route look-up for `address` names.
pub(super) fn route_of(address: IpAddr, message: &RouteMessage) -> Route {
    match message.header.kind {
        RouteType::Local => return Route::Local,
        RouteType::Unicast => {}
        _ => return Route::Unreachable,
    }
    let mut next_hop = address;
    let mut interface = None;
    let mut source = None;
    let mut mtu = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => interface = Some(*ifindex),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway))
            | RouteAttribute::Via(RouteVia::Inet(gateway)) => next_hop = (*gateway).into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway))
            | RouteAttribute::Via(RouteVia::Inet6(gateway)) => next_hop = (*gateway).into(),
            RouteAttribute::PrefSource(RouteAddress::Inet(own)) => source = Some((*own).into()),
            RouteAttribute::PrefSource(RouteAddress::Inet6(own)) => source = Some((*own).into()),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(bytes) => Some(*bytes),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    interface.map_or(Route::Unreachable, |ifindex| Route::Via {
        next_hop,
        ifindex,
        source,
        mtu,
    })
}

/// The interface, the address and the state that a message about a neighbour names.
pub(super) fn neighbour_of(message: &NeighbourMessage) -> Option<(u32, IpAddr, Entry)> {
    let mut address: Option<IpAddr> = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some((*v4).into());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some((*v6).into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = mac_of(bytes),
            _ => {}
        }
    }
    let entry = match (message.header.state, mac) {
        (NeighbourState::Stale, Some(mac)) => Entry::Stale(mac),
        (
            NeighbourState::Reachable
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Noarp,
            Some(mac),
        ) => Entry::Valid(mac),
        (NeighbourState::Permanent, Some(mac)) => Entry::Fixed(mac),
        (NeighbourState::Incomplete, _) => Entry::Asking,
        _ => Entry::Absent,
    };
    Some((message.header.ifindex, address?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Mac;

    #[test]
    fn an_entry_counts_by_its_state_and_only_with_a_mac() {
        use NeighbourState as S;
        let mac = Mac([2, 0, 0, 0, 0, 2]);
        let table: [(S, &[u8], Entry); 10] = [
            (S::Reachable, &mac.0, Entry::Valid(mac)),
            (S::Delay, &mac.0, Entry::Valid(mac)),
            (S::Probe, &mac.0, Entry::Valid(mac)),
            (S::Permanent, &mac.0, Entry::Fixed(mac)),
            (S::Stale, &mac.0, Entry::Stale(mac)),
            (S::Incomplete, &[], Entry::Asking),
            (S::Failed, &mac.0, Entry::Absent),
            (S::None, &[], Entry::Absent),
            // A tunnel's: no MAC, or one of zeroes.
            (S::Noarp, &[10, 0, 0, 1], Entry::Absent),
            (S::Noarp, &[0; 6], Entry::Absent),
        ];
        for (state, bytes, entry) in table {
            let mut message = NeighbourMessage::default();
            message.header.ifindex = 2;
            message.header.state = state;
            assert_eq!(neighbour_of(&message), None, "without an address");
            let address: IpAddr = [192, 0, 2, 12].into();
            message.attributes = vec![
                NeighbourAttribute::Destination(address.into()),
                NeighbourAttribute::LinkLayerAddress(bytes.to_vec()),
            ];
            assert_eq!(
                neighbour_of(&message),
                Some((2, address, entry)),
                "{state:?}"
            );
        }
    }

    #[test]
    fn a_route_without_an_interface_leads_nowhere() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        let address: IpAddr = [192, 0, 2, 12].into();
        assert_eq!(route_of(address, &message), Route::Unreachable);
        message.attributes = vec![RouteAttribute::Oif(2)];
        let via = Route::Via {
            next_hop: address,
            ifindex: 2,
            source: None,
            mtu: None,
        };
        assert_eq!(route_of(address, &message), via);
        message
            .attributes
            .push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]));
        let narrow = Route::Via {
            next_hop: address,
            ifindex: 2,
            source: None,
            mtu: Some(1400),
        };
        assert_eq!(route_of(address, &message), narrow);
        for kind in [
            RouteType::BlackHole,
            RouteType::Unreachable,
            RouteType::Prohibit,
        ] {
            message.header.kind = kind;
            assert_eq!(route_of(address, &message), Route::Unreachable, "{kind:?}");
        }
    }
}
