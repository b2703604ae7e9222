//! Whether this box could serve the VIPs.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink;
use super::sockets::Listener;
use super::translation::may_translate;

/// A sentence for each VIP that is on no interface, or whose connections nothing takes.
pub(super) fn unready(vips: &[IpAddr], listeners: &[Listener]) -> io::Result<Vec<String>> {
    let listens = |vip| listeners.iter().any(|listener| listener.serves(vip));
    // Rules may hand them to a container, where this box sees no listener.
    let takes_all = !vips.iter().all(|vip| listens(*vip)) && may_translate();
    Ok(judge(
        vips,
        |vip| takes_all || listens(vip),
        &own_addresses()?,
    ))
}

fn judge(vips: &[IpAddr], takes: impl Fn(IpAddr) -> bool, own: &HashSet<IpAddr>) -> Vec<String> {
    vips.iter()
        .filter_map(|vip| {
            if !own.contains(vip) {
                Some(format!("{vip} is on no interface of this box"))
            } else if !takes(*vip) {
                Some(format!("no mail port listens on {vip}"))
            } else {
                None
            }
        })
        .collect()
}

fn own_addresses() -> io::Result<HashSet<IpAddr>> {
    let mut own = HashSet::new();
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    netlink::dump(NETLINK_ROUTE, request, |answer| {
        if let RouteNetlinkMessage::NewAddress(message) = answer {
            own.extend(
                message
                    .attributes
                    .iter()
                    .filter_map(|attribute| match attribute {
                        // On a point-to-point link `Address` is the other end's, `Local` ours.
                        AddressAttribute::Local(address) => Some(*address),
                        AddressAttribute::Address(address) if address.is_ipv6() => Some(*address),
                        _ => None,
                    }),
            );
        }
    })?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_needs_an_address_and_a_listener() {
        let vip: IpAddr = "192.0.2.25".parse().unwrap();
        let listener = Listener {
            address: "0.0.0.0:25".parse().unwrap(),
            only_v6: false,
        };
        let own = HashSet::from([vip]);
        let table: [(&[Listener], &HashSet<IpAddr>, Option<&str>); 3] = [
            (&[listener], &own, None),
            (&[], &own, Some("no mail port listens on 192.0.2.25")),
            (
                &[listener],
                &HashSet::new(),
                Some("192.0.2.25 is on no interface of this box"),
            ),
        ];
        for (listeners, own, expected) in table {
            let takes = |vip| listeners.iter().any(|listener| listener.serves(vip));
            let unready = judge(&[vip], takes, own);
            assert_eq!(unready.first().map(String::as_str), expected);
        }
    }

    #[test]
    fn loopback_is_an_address_of_this_box() {
        let own = own_addresses().unwrap();
        assert!(own.contains(&IpAddr::from([127, 0, 0, 1])), "{own:?}");
    }
}
