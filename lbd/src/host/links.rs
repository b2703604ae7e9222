//! Interfaces: what lbd needs to know of one, and what changed between two looks.
use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, Prop,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::HostError;
use super::netlink::Netlink;
use crate::config::Network;
use crate::units::Mac;

/// One interface as it is now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// Its name in this network namespace.
    pub name: String,
    /// Its other names (`ip link property add altname`).
    pub alt_names: Vec<String>,
    /// Its number, unique in this network namespace.
    pub ifindex: u32,
    /// Its MAC; None for what is not Ethernet (a tunnel).
    pub mac: Option<Mac>,
    /// The largest IP packet in bytes.
    pub mtu: u32,
    /// Set up by the operator.
    pub up: bool,
    /// The other end is there.
    pub carrier: bool,
    /// It is the loopback.
    pub loopback: bool,
    /// The id of the XDP program attached to it, by whomever.
    pub xdp_program_id: Option<u32>,
    /// The interface that it is a VLAN of.
    pub vlan_of: Option<u32>,
    /// The bond or bridge that it is a port of.
    pub port_of: Option<u32>,
    /// Its addresses, by family and value.
    pub addresses: Vec<LinkAddress>,
}

impl Link {
    /// Whether frames can be sent and received now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.up && self.carrier
    }

    /// Whether `address` is one of its own.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LinkAddress {
    /// The address itself.
    pub address: IpAddr,
    /// The length of its subnet's prefix in bits.
    pub prefix_bits: u8,
    /// Seconds until the kernel removes it; None stays until it is deleted.
    pub valid_s: Option<u32>,
}

impl LinkAddress {
    /// Whether a host address of the same value would be the same entry: IPv4 keeps one for each
    /// prefix, IPv6 one.
    pub(super) fn excludes_lease(&self) -> bool {
        self.address.is_ipv6() || self.prefix_bits == host_bits(self.address)
    }
}

/// The number of bits of a whole address.
pub(super) fn host_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// What happened to an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkChange {
    /// It is new, or something about it differs: this is how it is now.
    Now(Link),
    /// It is no longer there (deleted, renamed, or moved to another namespace).
    Gone {
        /// The name it had.
        name: String,
        /// The number it had.
        ifindex: u32,
    },
}

/// All interfaces of this network namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Links {
    by_index: BTreeMap<u32, Link>,
}

impl Links {
    /// Reads them from the kernel: two requests, well under a millisecond on an ordinary box.
    pub fn read() -> Result<Self, HostError> {
        read(&mut Netlink::open()?)
    }

    /// These interfaces and no others.
    #[cfg(test)]
    pub(super) fn of(links: impl IntoIterator<Item = Link>) -> Self {
        let by_index = links.into_iter().map(|link| (link.ifindex, link)).collect();
        Self { by_index }
    }

    /// The interface of this name.
    pub fn named(&self, name: &str) -> Result<&Link, HostError> {
        self.by_index
            .values()
            .find(|link| link.name == name)
            .ok_or_else(|| HostError::NoInterface(name.to_owned()))
    }

    /// The interface of this number.
    #[must_use]
    pub fn numbered(&self, ifindex: u32) -> Option<&Link> {
        self.by_index.get(&ifindex)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_index.values()
    }

    /// Whether any interface has this address: is it this box's own?
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.by_index.values().any(|link| link.has(address))
    }

    /// Which of the interfaces of these names a virtual address belongs on: the first with an
    /// address of its own whose subnet holds it, else the first. `None` if that is not there.
    #[must_use]
    pub fn facing(&self, vip: IpAddr, names: &[String]) -> Option<&Link> {
        let own_subnet = |own: &LinkAddress| {
            own.prefix_bits < host_bits(own.address)
                && own.address != vip
                && Network::of(own.address, own.prefix_bits).contains(vip)
        };
        let mut links = names.iter().filter_map(|name| self.named(name).ok());
        links
            .find(|link| link.addresses.iter().any(own_subnet))
            .or_else(|| self.named(names.first()?).ok())
    }

    /// The MACs that frames for this box are addressed to on the interfaces of these names, each with the
    /// number of the interface that XDP sees: the interface's own first, then those of VLANs on it. A
    /// bond's frames come in by its ports (`bond_xdp_set` of `drivers/net/bonding/bond_main.c`), for the
    /// bond's MAC or the port's own (`fail_over_mac`).
    #[must_use]
    pub fn own_macs(&self, names: &[String]) -> Vec<(u32, Mac)> {
        let named = || names.iter().filter_map(|name| self.named(name).ok());
        let own = named().filter_map(|link| Some((link.ifindex, link.mac?)));
        let ports = named().flat_map(|link| {
            self.iter()
                .filter(|port| port.port_of == Some(link.ifindex))
                .flat_map(|port| [link.mac, port.mac].map(|mac| Some((port.ifindex, mac?))))
                .flatten()
        });
        let vlans = named().flat_map(|link| {
            self.iter()
                .filter(|vlan| vlan.vlan_of == Some(link.ifindex))
                .filter_map(|vlan| Some((link.ifindex, vlan.mac?)))
        });
        let mut macs = Vec::new();
        for mac in own.chain(ports).chain(vlans) {
            if !macs.contains(&mac) {
                macs.push(mac);
            }
        }
        macs
    }

    /// Those of these names.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        let by_index = self
            .iter()
            .filter(|link| names.contains(&link.name))
            .map(|link| (link.ifindex, link.clone()))
            .collect();
        Self { by_index }
    }

    /// What changed from `self` to `now` on the interfaces of these names.
    ///
    /// A lease that was renewed is no change: `valid_s` counts down by itself and is not compared.
    #[must_use]
    pub fn changes(&self, now: &Self, names: &[String]) -> Vec<LinkChange> {
        let watched = |link: &&Link| names.contains(&link.name);
        let gone = self
            .iter()
            .filter(watched)
            .filter(|old| {
                now.numbered(old.ifindex)
                    .is_none_or(|new| new.name != old.name)
            })
            .map(|old| LinkChange::Gone {
                name: old.name.clone(),
                ifindex: old.ifindex,
            });
        let changed = now
            .iter()
            .filter(watched)
            .filter(|new| {
                self.numbered(new.ifindex)
                    .is_none_or(|old| without_lifetimes(old) != without_lifetimes(new))
            })
            .map(|new| LinkChange::Now(new.clone()));
        gone.chain(changed).collect()
    }

    /// Takes the kernel's word for one interface. Its addresses come by messages of their own.
    pub(super) fn set_link(&mut self, message: &LinkMessage) {
        if !is_of_the_interface(message) {
            return;
        }
        let mut link = link_of(message);
        if let Some(known) = self.by_index.remove(&link.ifindex) {
            link.addresses = known.addresses;
        }
        self.by_index.insert(link.ifindex, link);
    }

    /// Takes the kernel's word for one address; false when only its lifetime is new, as it is each
    /// time a lease is renewed.
    pub(super) fn set_address(&mut self, message: &AddressMessage) -> bool {
        let Some((ifindex, address)) = address_of(message) else {
            return false;
        };
        let Some(link) = self.by_index.get_mut(&ifindex) else {
            return false;
        };
        let known = link
            .addresses
            .iter_mut()
            .find(|other| same(other, &address));
        if let Some(known) = known {
            known.valid_s = address.valid_s;
            return false;
        }
        link.addresses.push(address);
        link.addresses.sort_unstable();
        true
    }

    /// The interface is gone.
    pub(super) fn remove_link(&mut self, message: &LinkMessage) {
        if is_of_the_interface(message) {
            self.by_index.remove(&message.header.index);
        }
    }

    /// The address is gone.
    pub(super) fn remove_address(&mut self, message: &AddressMessage) {
        let Some((ifindex, address)) = address_of(message) else {
            return;
        };
        if let Some(link) = self.by_index.get_mut(&ifindex) {
            link.addresses.retain(|other| !same(other, &address));
        }
    }
}

/// Reads all interfaces over a connection that is open already.
pub(super) fn read(netlink: &mut Netlink) -> Result<Links, HostError> {
    let mut links = Links::default();
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    for message in netlink.dump(&request, || "list the interfaces".to_owned())? {
        if let RouteNetlinkMessage::NewLink(link) = message {
            links.set_link(&link);
        }
    }
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    for message in netlink.dump(&request, || "list the addresses".to_owned())? {
        if let RouteNetlinkMessage::NewAddress(address) = message {
            links.set_address(&address);
        }
    }
    Ok(links)
}

fn same(a: &LinkAddress, b: &LinkAddress) -> bool {
    (a.address, a.prefix_bits) == (b.address, b.prefix_bits)
}

fn without_lifetimes(link: &Link) -> Link {
    let mut link = link.clone();
    for address in &mut link.addresses {
        address.valid_s = address.valid_s.map(|_| 0);
    }
    link
}

/// The same group of messages also tells of bridge ports (`AF_BRIDGE`): an interface that leaves a
/// bridge is "deleted" as a port, and still there.
fn is_of_the_interface(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn link_of(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        ifindex: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        ..Link::default()
    };
    let (mut below, mut is_vlan) = (None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::PropList(properties) => {
                let names = properties.iter().filter_map(|property| match property {
                    Prop::AltIfName(name) => Some(name.clone()),
                    _ => None,
                });
                link.alt_names.extend(names);
            }
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) if !link.loopback => link.mac = mac_of(bytes),
            LinkAttribute::Xdp(attributes) => link.xdp_program_id = xdp_program_id(attributes),
            LinkAttribute::Controller(ifindex) => link.port_of = Some(*ifindex),
            LinkAttribute::Link(ifindex) => below = Some(*ifindex),
            LinkAttribute::LinkInfo(infos) => {
                is_vlan = infos.contains(&LinkInfo::Kind(InfoKind::Vlan));
            }
            _ => {}
        }
    }
    link.vlan_of = below.filter(|_| is_vlan);
    link
}

/// The attached program, whichever hook it is on.
fn xdp_program_id(attributes: &[LinkXdp]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    })
}

/// Six bytes that are not all zero.
pub(super) fn mac_of(bytes: &[u8]) -> Option<Mac> {
    let mac = Mac(bytes.try_into().ok()?);
    (mac != Mac::default()).then_some(mac)
}

/// The lifetime that stands for "for ever" in `struct ifa_cacheinfo`.
const FOREVER: u32 = u32::MAX;

/// The interface's number and the address. `IFA_LOCAL` is the box's own end; `IFA_ADDRESS` is the
/// peer's on a point-to-point link, and the only one IPv6 sends.
fn address_of(message: &AddressMessage) -> Option<(u32, LinkAddress)> {
    let mut own = None;
    let mut peer = None;
    let mut valid_s = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::CacheInfo(info) if info.ifa_valid != FOREVER => {
                valid_s = Some(info.ifa_valid);
            }
            _ => {}
        }
    }
    Some((
        message.header.index,
        LinkAddress {
            address: own.or(peer)?,
            prefix_bits: message.header.prefix_len,
            valid_s,
        },
    ))
}

#[cfg(test)]
mod tests;
