//! What the advert thread is told once, and again at each change of the configuration.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Authentication, Config, VrrpChecksum};
use crate::election::{self, Families};
use crate::units::Mac;
use crate::vrrp::{Addresses, AuthMode, Authenticator, ChecksumForm, Key};

/// The interface that carries adverts and VIPs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its number.
    pub ifindex: u32,
    /// Its own MAC, which announcements give.
    pub mac: Mac,
    /// Its primary IPv4 address, the source of IPv4 adverts.
    pub v4: Option<Ipv4Addr>,
    /// Its link-local address, the source of IPv6 adverts.
    pub v6: Option<Ipv6Addr>,
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
    /// Empty: multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// The IPv4 checksum that is sent.
    pub checksum: ChecksumForm,
    /// `None`: a trailer is neither sent nor looked at.
    pub authenticate: Option<Authenticate>,
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
            unicast_peers: cluster.unicast_peers.clone(),
            checksum: match cluster.vrrp_checksum {
                VrrpChecksum::Rfc5798 => ChecksumForm::WithPseudoHeader,
                VrrpChecksum::Rfc9568 => ChecksumForm::MessageOnly,
            },
            authenticate: mode.map(|mode| Authenticate { mode, keys }),
        }
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
        let lease_s = election::timing::lease_ns(self.election.interval).div_ceil(1_000_000_000);
        u32::try_from(lease_s).unwrap_or(u32::MAX - 1) + 1
    }
}
