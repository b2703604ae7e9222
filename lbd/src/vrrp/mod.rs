//! VRRPv3 on the wire (RFC 9568), and its authentication trailer.
//!
//! Pure: bytes in, values out. [`advert`] is the packet, [`auth`] the optional trailer with its
//! [`replay`] window, [`announce`] the frames that move an address to its new master and the
//! reading of a rival's claim to it.

pub mod advert;
pub mod announce;
pub mod auth;
pub mod checksum;
pub mod error;
pub mod replay;

#[cfg(test)]
mod golden;

pub use advert::{Addresses, Advert, Interval, Parsed, Received};
pub use auth::{AuthError, AuthMode, Authenticator, Key};
pub use checksum::ChecksumForm;
pub use error::VrrpError;

use std::net::{Ipv4Addr, Ipv6Addr};

/// The IP protocol number (RFC 9568, 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// The TTL or hop limit of an advert: a packet that crossed a router has less (RFC 9568, 5.1.1.3).
pub const TTL: u8 = 255;
/// Where adverts go in IPv4 (RFC 9568, 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where adverts go in IPv6 (RFC 9568, 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The link-local address of a virtual router that was given none: the modified EUI-64 of its
/// virtual MAC, 00-00-5E-00-02-VRID (RFC 9568, 7.3; RFC 4291, appendix A).
///
/// RFC 9568 5.2.9 wants a link-local address first in the list of an IPv6 advert. All nodes of a
/// cluster derive the same one.
#[must_use]
pub fn derived_link_local(virtual_router_id: u8) -> Ipv6Addr {
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        0x0200,
        0x5eff,
        0xfe00,
        0x0200 | u16::from(virtual_router_id),
    )
}

/// The lists to advertise for a cluster's addresses: the IPv4 ones as given; the IPv6 ones with a
/// link-local address first, derived when none is given.
#[must_use]
pub fn advertised(
    virtual_router_id: u8,
    addresses: &[std::net::IpAddr],
) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for address in addresses {
        match address {
            std::net::IpAddr::V4(a) => v4.push(*a),
            std::net::IpAddr::V6(a) => v6.push(*a),
        }
    }
    if let Some(first) = v6.iter().position(Ipv6Addr::is_unicast_link_local) {
        v6[..=first].rotate_right(1);
    } else if !v6.is_empty() {
        v6.insert(0, derived_link_local(virtual_router_id));
    }
    (v4, v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_list_starts_with_a_link_local_address() {
        let global: std::net::IpAddr = "2001:db8::25".parse().unwrap();
        let local: std::net::IpAddr = "fe80::50".parse().unwrap();
        let v4: std::net::IpAddr = "192.0.2.25".parse().unwrap();
        let (four, six) = advertised(51, &[v4, global]);
        assert_eq!(four, ["192.0.2.25".parse::<Ipv4Addr>().unwrap()]);
        assert_eq!(
            six[0],
            "fe80::200:5eff:fe00:233".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!(six[1], global);
        let (_, six) = advertised(51, &[global, local]);
        assert_eq!(six, [local, global]);
        assert_eq!(advertised(51, &[v4]).1, Vec::<Ipv6Addr>::new());
    }
}
