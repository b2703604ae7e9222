//! Who has which address on the lab's one segment, 10.77.0.0/16 and `fd00:77::/64`.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lbd::units::Mac;

/// The virtual addresses that the cluster serves.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// See [`VIP4`].
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x100);

/// Bits of the segment's prefix.
pub const PREFIX4: u8 = 16;
/// See [`PREFIX4`].
pub const PREFIX6: u8 = 64;

/// Source addresses a client host can have, of each family.
pub const MAX_SOURCES: u16 = 2000;

/// The address of node `index` (from 0): 10.77.0.11 and on.
#[must_use]
pub fn node4(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 11 + index)
}

/// The address of node `index` (from 0): `fd00:77::11` and on.
#[must_use]
pub fn node6(index: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x11 + u16::from(index))
}

/// Whether an address is one of a node's, and not a client's.
#[must_use]
pub fn is_node(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => (0..=u8::MAX - 11).any(|index| node4(index) == address),
        IpAddr::V6(address) => (0..=u8::MAX).any(|index| node6(index) == address),
    }
}

/// Source address `nth` of client `index` (both from 0): 10.77.16.1 and on, 250 in a third byte.
#[must_use]
pub fn client4(index: u8, nth: u16) -> Ipv4Addr {
    let third = 16 + 8 * u16::from(index) + nth / 250;
    let third = u8::try_from(third).expect("a lab has few clients");
    let fourth = u8::try_from(nth % 250).expect("below 250") + 1;
    Ipv4Addr::new(10, 77, third, fourth)
}

/// Source address `nth` of client `index` (both from 0).
#[must_use]
pub fn client6(index: u8, nth: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 1 + u16::from(index), 1 + nth)
}

/// What all source addresses of client `index` lie in, of each family.
#[must_use]
pub fn client_blocks(index: u8) -> (String, String) {
    let third = 16 + 8 * u16::from(index);
    let group = 1 + u16::from(index);
    (
        format!("10.77.{third}.0/21"),
        format!("fd00:77::{group:x}:0/112"),
    )
}

/// The virtual address of the family of `like`.
#[must_use]
pub fn vip_like(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => VIP4.into(),
        IpAddr::V6(_) => VIP6.into(),
    }
}

/// A locally administered MAC; `kind` keeps nodes and clients apart.
pub(super) fn mac(kind: u8, index: u8) -> Mac {
    Mac([0x02, 0x4c, 0x42, 0, kind, 1 + index])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_hosts_share_an_address() {
        let mut seen = HashSet::from([IpAddr::from(VIP4), VIP6.into()]);
        for index in 0..4 {
            assert!(seen.insert(node4(index).into()) && seen.insert(node6(index).into()));
            for nth in 0..MAX_SOURCES {
                let [_, _, third, _] = client4(index, nth).octets();
                let group = client6(index, nth).segments()[6];
                let block4 = format!("10.77.{}.0/21", third & !7);
                let block6 = format!("fd00:77::{group:x}:0/112");
                assert_eq!(client_blocks(index), (block4, block6));
                assert!(seen.insert(client4(index, nth).into()));
                assert!(seen.insert(client6(index, nth).into()));
            }
        }
    }
}
