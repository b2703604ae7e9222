//! The VIP as a lease: an address with a lifetime that the kernel ends by itself.
//!
//! **Prefix.** The VIP goes on the interface as a /32 or /128, regardless of the prefix the configuration
//! writes behind it, and without a prefix route: its subnet's route belongs to the box's own address
//! there. (A box without an address in the VIP's subnet still serves it, as long as it has a route
//! over that interface to the hosts that ask by ARP.)
//!
//! **Never a source by default.** The box's own connections must not leave from an address that
//! moves away. IPv4: scope `host`, which `inet_select_addr` (net/ipv4/devinet.c) passes over for
//! all that is not on the box; scope `link` is not enough, a default route without a gateway takes
//! it. IPv6: a preferred lifetime of 0, so RFC 6724 rule 3 avoids it. Both still answer ARP and ND,
//! take connections, and serve a socket that is bound to them on purpose.
//!
//! **Lifetime.** Whole seconds are the kernel's unit (`struct ifa_cacheinfo`), and it may be late by
//! a second. It bounds how long a dead daemon's box keeps the address; how soon it falls silent is
//! the data plane's lease, in milliseconds.
use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::links::{self, LinkAddress, host_bits};
use super::netlink::Netlink;
use super::{Change, HostError};

/// The shortest lease, in seconds: one second might end before the next renewal is a second old.
pub const MIN_VALID_S: u32 = 2;

/// A blocking socket of its own for the thread that holds the VIP.
///
/// A call is one send and one receive, and the kernel answers within the send. While another process
/// holds the kernel's configuration lock (RTNL) the call waits for it: a thread with deadlines of
/// milliseconds renews from another one.
#[derive(Debug)]
pub struct VipSocket {
    netlink: Netlink,
    /// Whose each VIP is, as far as it was seen.
    owners: BTreeMap<(IpAddr, u32), Owner>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner {
    /// It is a lease: ours, or taken over from a dead predecessor.
    Lbd,
    /// An operator configured it for good: it is neither made to expire nor removed.
    Operator,
}

/// What [`VipSocket::add`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Added {
    /// The address was not there.
    New,
    /// It was there, from us or a dead predecessor, and its lifetime is renewed.
    Renewed,
    /// It is configured permanently, not by lbd; it was not touched, and will not be.
    Permanent,
}

/// A VIP that is on an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    /// The interface.
    pub ifindex: u32,
    /// The address, its prefix, and how long it stays.
    pub address: LinkAddress,
}

impl Held {
    /// Whether it looks like a lease of lbd's; anything else was not put there by lbd, stays
    /// when lbd lets go of its own, and answers ARP whoever is master.
    #[must_use]
    pub fn is_lease(&self) -> bool {
        self.address.valid_s.is_some()
            && self.address.prefix_bits == host_bits(self.address.address)
    }
}

impl VipSocket {
    /// Opens the socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, HostError> {
        Ok(Self {
            netlink: Netlink::open()?,
            owners: BTreeMap::new(),
        })
    }

    /// Adds the VIP for `valid_s` seconds (at least [`MIN_VALID_S`]); renews one that is there.
    pub fn add(&mut self, vip: IpAddr, ifindex: u32, valid_s: u32) -> Result<Added, HostError> {
        let message = lease(vip, ifindex, valid_s)?;
        let new = self.netlink.change(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
            || format!("add {vip} to interface {ifindex}"),
        );
        let added = match new {
            Ok(()) => Added::New,
            Err(error) if is(&error, libc::EEXIST) => self.take_over(vip, ifindex, valid_s)?,
            Err(error) => return Err(error),
        };
        let owner = match added {
            Added::New | Added::Renewed => Owner::Lbd,
            Added::Permanent => Owner::Operator,
        };
        self.owners.insert((vip, ifindex), owner);
        Ok(added)
    }

    fn take_over(&mut self, vip: IpAddr, ifindex: u32, valid_s: u32) -> Result<Added, HostError> {
        if self.is_permanent(vip, ifindex)? {
            return Ok(Added::Permanent);
        }
        self.replace(vip, ifindex, valid_s)?;
        Ok(Added::Renewed)
    }

    fn is_permanent(&mut self, vip: IpAddr, ifindex: u32) -> Result<bool, HostError> {
        let held = self.held(&[vip])?;
        Ok(held.iter().any(
            |Held {
                 ifindex: on,
                 address,
             }| {
                *on == ifindex && address.excludes_lease() && address.valid_s.is_none()
            },
        ))
    }

    /// Sets the lifetime to `valid_s` seconds from now; adds the VIP if it is not there.
    pub fn renew(&mut self, vip: IpAddr, ifindex: u32, valid_s: u32) -> Result<(), HostError> {
        if self.owners.get(&(vip, ifindex)) == Some(&Owner::Lbd) {
            self.replace(vip, ifindex, valid_s)
        } else {
            self.add(vip, ifindex, valid_s).map(drop)
        }
    }

    fn replace(&mut self, vip: IpAddr, ifindex: u32, valid_s: u32) -> Result<(), HostError> {
        let message = lease(vip, ifindex, valid_s)?;
        self.netlink.change(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_REPLACE,
            || format!("renew {vip} on interface {ifindex}"),
        )
    }

    /// Removes the VIP; false when it was not there, or is there for good.
    pub fn remove(&mut self, vip: IpAddr, ifindex: u32) -> Result<bool, HostError> {
        let is_operators = match self.owners.remove(&(vip, ifindex)) {
            Some(owner) => owner == Owner::Operator,
            None => self.is_permanent(vip, ifindex)?,
        };
        if is_operators {
            return Ok(false);
        }
        remove(&mut self.netlink, vip, ifindex)
    }

    /// Where these VIPs are now, on any interface but the loopback: what a dead predecessor left,
    /// or what was configured by hand.
    pub fn held(&mut self, vips: &[IpAddr]) -> Result<Vec<Held>, HostError> {
        let links = links::read(&mut self.netlink)?;
        let held = links
            .iter()
            .filter(|link| !link.loopback)
            .flat_map(|link| {
                link.addresses.iter().map(|address| Held {
                    ifindex: link.ifindex,
                    address: *address,
                })
            })
            .filter(|held| vips.contains(&held.address.address))
            .collect();
        Ok(held)
    }
}

/// What to journal before the first [`VipSocket::add`], once for the daemon's whole life: adding
/// and removing at each change of role then needs no write to disk.
#[must_use]
pub fn change(vip: IpAddr, interface: &str) -> Change {
    Change::Lease {
        address: vip,
        interface: interface.to_owned(),
    }
}

fn lease(vip: IpAddr, ifindex: u32, valid_s: u32) -> Result<AddressMessage, HostError> {
    let mut message = host_address(vip, ifindex)?;
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = valid_s.max(MIN_VALID_S);
    if vip.is_ipv4() {
        message.header.scope = AddressScope::Host;
        lifetime.ifa_preferred = lifetime.ifa_valid;
    }
    message
        .attributes
        .push(AddressAttribute::CacheInfo(lifetime));
    Ok(message)
}

/// An address of its own, without a route to a subnet. No duplicate address detection: it would
/// hold an IPv6 VIP back for a second, and a rival master is the election's matter.
pub(super) fn host_address(address: IpAddr, ifindex: u32) -> Result<AddressMessage, HostError> {
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(HostError::NotAnAddress(address));
    }
    let mut message = AddressMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = host_bits(address);
    message.header.index = ifindex;
    let flags = match address {
        IpAddr::V4(_) => AddressFlags::Noprefixroute,
        IpAddr::V6(_) => AddressFlags::Noprefixroute | AddressFlags::Nodad,
    };
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(flags),
    ];
    Ok(message)
}

/// Removes a host address; false when it (or its interface) was not there.
pub(super) fn remove(
    netlink: &mut Netlink,
    address: IpAddr,
    ifindex: u32,
) -> Result<bool, HostError> {
    let message = host_address(address, ifindex)?;
    let removed = netlink.change(RouteNetlinkMessage::DelAddress(message), 0, || {
        format!("remove {address} from interface {ifindex}")
    });
    match removed {
        Ok(()) => Ok(true),
        Err(error) if is(&error, libc::EADDRNOTAVAIL) || is(&error, libc::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the kernel refused with this errno.
pub(super) fn is(error: &HostError, errno: i32) -> bool {
    matches!(error, HostError::Refused { error, .. } if error.raw_os_error() == Some(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_no_single_host_is_refused_before_the_kernel_is_asked() {
        for address in [
            "0.0.0.0",
            "224.0.0.18",
            "127.0.0.1",
            "::",
            "::1",
            "ff02::12",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let refused = lease(address, 1, 3);
            assert!(
                matches!(refused, Err(HostError::NotAnAddress(a)) if a == address),
                "{address}"
            );
        }
    }

    #[test]
    fn a_lease_lives_for_at_least_two_seconds_and_ipv6_is_never_preferred() {
        for (vip, asked_s, valid_s, preferred_s) in [
            ("192.0.2.25", 0, 2, 2),
            ("192.0.2.25", 7, 7, 7),
            ("2001:db8::25", 1, 2, 0),
            ("2001:db8::25", 7, 7, 0),
        ] {
            let message = lease(vip.parse().unwrap(), 1, asked_s).unwrap();
            let lifetime = message.attributes.iter().find_map(|a| match a {
                AddressAttribute::CacheInfo(info) => Some((info.ifa_valid, info.ifa_preferred)),
                _ => None,
            });
            assert_eq!(
                lifetime,
                Some((valid_s, preferred_s)),
                "{vip} for {asked_s} s"
            );
        }
    }

    #[test]
    fn only_a_host_address_with_a_lifetime_is_a_lease_of_ours() {
        let held = |prefix_bits, valid_s| Held {
            ifindex: 2,
            address: LinkAddress {
                address: [192, 0, 2, 25].into(),
                prefix_bits,
                valid_s,
            },
        };
        assert!(held(32, Some(3)).is_lease());
        assert!(!held(32, None).is_lease());
        assert!(!held(24, Some(3)).is_lease());
    }
}
