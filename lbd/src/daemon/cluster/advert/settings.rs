//! What the advert thread is told once, and again at each change of the configuration.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    config::{Authentication, Config, VrrpChecksum},
    election::{self, Families},
    host::links::{Link, LinkAddress},
    units::Mac,
    vrrp::{Addresses, AuthMode, Authenticator, ChecksumForm, Interval, Key},
};

/// The interface that carries adverts and VIPs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its number.
    pub ifindex: u32,
    /// Its own MAC, which announcements give.
    pub mac: Mac,
    /// Its primary IPv4 address, the source of IPv4 adverts.
    pub v4: Option<Ipv4Addr>,
    /// The source of IPv6 adverts: its link-local address, or the one that unicast peers know.
    pub v6: Option<Ipv6Addr>,
}

/// A virtual address and where it belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Placed {
    /// The address.
    pub address: IpAddr,
    /// The interface's number.
    pub ifindex: u32,
    /// The interface's own MAC.
    pub mac: Mac,
}

/// One host's address that ends by itself.
fn is_lease(address: &LinkAddress) -> bool {
    let host_bits = if address.address.is_ipv4() { 32 } else { 128 };
    address.valid_s.is_some() && address.prefix_bits == host_bits
}

impl Interface {
    /// The addresses from which adverts go out on `link`: those that the peers know where they are
    /// unicast, else the first IPv4 and the link-local one; never a VIP, nor what looks like one
    /// that a dead daemon left. `None` for what is not Ethernet.
    #[must_use]
    pub fn of(link: &Link, vips: &[IpAddr], unicast_peers: &[IpAddr]) -> Option<Self> {
        let own: Vec<IpAddr> = link
            .addresses
            .iter()
            .filter(|address| !is_lease(address) && !vips.contains(&address.address))
            .map(|address| address.address)
            .collect();
        let known = || own.iter().filter(|address| unicast_peers.contains(address));
        let v4 = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        let v6 = |address: &IpAddr| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(*address),
        };
        let link_local = || {
            own.iter()
                .filter_map(v6)
                .find(Ipv6Addr::is_unicast_link_local)
        };
        Some(Self {
            ifindex: link.ifindex,
            mac: link.mac?,
            v4: known().find_map(v4).or_else(|| own.iter().find_map(v4)),
            v6: known().find_map(v6).or_else(link_local),
        })
    }
}

/// How adverts are authenticated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authenticate {
    /// How far the roll-out is.
    pub mode: AuthMode,
    /// The first signs, all verify. At least one.
    pub keys: Vec<Key>,
}

/// The advert thread's configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The machine's.
    pub election: election::Config,
    /// Where it happens.
    pub interface: Interface,
    /// VRID.
    pub virtual_router_id: u8,
    /// The IPv4 list of an advert.
    pub advertised_v4: Vec<Ipv4Addr>,
    /// The IPv6 list of an advert, a link-local address first.
    pub advertised_v6: Vec<Ipv6Addr>,
    /// What is put on the interface and announced.
    pub virtual_addresses: Vec<IpAddr>,
    /// Those of them that belong on other interfaces than [`Self::interface`].
    pub elsewhere: Vec<Placed>,
    /// Empty: multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// The IPv4 checksum that is sent.
    pub checksum: ChecksumForm,
    /// `None`: a trailer is neither sent nor looked at.
    pub authenticate: Option<Authenticate>,
    /// Boxes on the segment that are probed along with a silent master: the
    /// other nodes; the caller adds the gateways.
    pub witnesses: Vec<IpAddr>,
}

impl Settings {
    /// What the configuration file says, for this interface and with these keys (the first signs).
    ///
    /// Adverts go out in a family when the cluster has addresses of it and the interface has one to
    /// send from.
    #[must_use]
    pub fn of(file: &Config, interface: Interface, keys: Vec<Key>) -> Self {
        let cluster = &file.cluster;
        let advertised_v4 = cluster.virtual_addresses_v4();
        let advertised_v6 = cluster.virtual_addresses_v6();
        let families = Families {
            v4: interface.v4.filter(|_| !advertised_v4.is_empty()),
            v6: interface.v6.filter(|_| !advertised_v6.is_empty()),
        };
        let mode = match cluster.authentication {
            Authentication::Off => None,
            Authentication::ReceiveOnly => Some(AuthMode::ReceiveOnly),
            Authentication::Permissive => Some(AuthMode::Permissive),
            Authentication::Enforce => Some(AuthMode::Enforce),
        };
        Self {
            election: election::Config::of(file, families),
            interface,
            virtual_router_id: cluster.virtual_router_id,
            advertised_v4,
            advertised_v6,
            virtual_addresses: cluster
                .virtual_addresses
                .iter()
                .map(|vip| vip.address)
                .collect(),
            elsewhere: Vec::new(),
            unicast_peers: cluster.unicast_peers.clone(),
            checksum: match cluster.vrrp_checksum {
                VrrpChecksum::Rfc5798 => ChecksumForm::WithPseudoHeader,
                VrrpChecksum::Rfc9568 => ChecksumForm::MessageOnly,
            },
            authenticate: mode.map(|mode| Authenticate { mode, keys }),
            witnesses: cluster
                .backends()
                .filter(|(_, backend)| backend.name != file.node.name)
                .map(|(_, backend)| backend.address)
                .collect(),
        }
    }

    /// All virtual addresses, with where they belong.
    pub(super) fn placed(&self) -> Vec<Placed> {
        let here = |address| Placed {
            address,
            ifindex: self.interface.ifindex,
            mac: self.interface.mac,
        };
        let place = |address: &IpAddr| {
            let elsewhere = self.elsewhere.iter().find(|vip| vip.address == *address);
            elsewhere.copied().unwrap_or_else(|| here(*address))
        };
        self.virtual_addresses.iter().map(place).collect()
    }

    /// The list to advertise in the family of `source`.
    pub(super) fn advertised(&self, source: IpAddr) -> Addresses {
        match source {
            IpAddr::V4(_) => Addresses::V4(self.advertised_v4.clone()),
            IpAddr::V6(_) => Addresses::V6(self.advertised_v6.clone()),
        }
    }

    pub(super) fn authenticator(&self) -> Option<Authenticator> {
        let Authenticate { mode, keys } = self.authenticate.clone()?;
        let window_s = Authenticator::default_window_s(self.election.interval);
        Authenticator::new(mode, keys, window_s)
    }

    /// For how many seconds an address is added: longer than any lease of the data plane, so that
    /// it is there whenever that one is; a killed daemon's address goes by itself.
    pub(super) fn valid_s(&self) -> u32 {
        valid_s(self.election.interval)
    }

    /// The same for the time that a successor on this box has to start.
    pub(super) fn successor_valid_s(interval: Interval) -> u32 {
        valid_s(interval.max(election::timing::SUCCESSOR))
    }
}

fn valid_s(interval: Interval) -> u32 {
    let lease_s = election::timing::lease_ns(interval).div_ceil(1_000_000_000);
    u32::try_from(lease_s).unwrap_or(u32::MAX - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(addresses: &[(&str, u8, Option<u32>)]) -> Link {
        Link {
            ifindex: 7,
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            addresses: addresses
                .iter()
                .map(|(address, prefix_bits, valid_s)| LinkAddress {
                    address: address.parse().unwrap(),
                    prefix_bits: *prefix_bits,
                    valid_s: *valid_s,
                })
                .collect(),
            ..Link::default()
        }
    }

    #[test]
    fn adverts_never_come_from_a_vip_or_the_rest_of_one() {
        let vips = ["192.0.2.5".parse().unwrap()];
        let link = link(&[
            ("192.0.2.4", 32, Some(3)),
            ("192.0.2.5", 24, None),
            ("192.0.2.11", 24, Some(3600)),
            ("2001:db8::11", 64, None),
            ("fe80::11", 64, None),
        ]);
        let interface = Interface::of(&link, &vips, &[]).unwrap();
        assert_eq!(interface.v4, Some("192.0.2.11".parse().unwrap()));
        assert_eq!(interface.v6, Some("fe80::11".parse().unwrap()));
    }

    #[test]
    fn to_unicast_peers_adverts_come_from_the_address_they_know() {
        let link = link(&[
            ("192.0.2.9", 24, None),
            ("192.0.2.11", 24, None),
            ("2001:db8::11", 64, None),
            ("fe80::11", 64, None),
        ]);
        let peers = ["192.0.2.11", "192.0.2.12", "2001:db8::11"].map(|a| a.parse().unwrap());
        let interface = Interface::of(&link, &[], &peers).unwrap();
        assert_eq!(interface.v4, Some("192.0.2.11".parse().unwrap()));
        assert_eq!(interface.v6, Some("2001:db8::11".parse().unwrap()));
    }
}
