//! `cluster:`, what is the same on every box and what `lbd push` sends.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;

use super::{
    access::Access,
    address::VirtualAddress,
    choice::choice,
    duration,
    health::Health,
    policy::Policy,
    site::{Backend, Forwarding, Site},
    stats::Stats,
};

choice! {
    /// Who takes sessions.
    pub enum Mode {
        /// Every box takes its share.
        ActiveActive = "active-active",
        /// The master takes everything, the others stand by.
        ActivePassive = "active-passive",
    }
}

choice! {
    /// The checksum of an IPv4 advertisement that is sent; both are accepted.
    pub enum VrrpChecksum {
        /// With the pseudo-header (RFC 5798, 5.2.8): keepalived's and FRR's default.
        Rfc5798 = "rfc5798",
        /// Without it (RFC 9568, 5.2.8).
        Rfc9568 = "rfc9568",
    }
}

choice! {
    /// How far advertisements are authenticated (draft-cassen-vrrp-auth-hmac-00). The order is that
    /// of a roll-out.
    pub enum Authentication {
        /// No trailer is sent; a received one is ignored.
        Off = "off",
        /// No trailer is sent; a received one must be right.
        ReceiveOnly = "receive-only",
        /// A trailer is sent; advertisements without one are still accepted.
        Permissive = "permissive",
        /// A trailer is sent and required.
        Enforce = "enforce",
    }
}

choice! {
    /// What a node does while it sees no healthy backend.
    pub enum NoHealthyBackend {
        /// Lowers its priority to 1, so that a node that sees one takes over.
        LowerPriority = "lower-priority",
        /// Nothing.
        Ignore = "ignore",
    }
}

choice! {
    /// What becomes of the sessions that are still open at a drain's deadline.
    pub enum AtDeadline {
        /// They stay until they end.
        Keep = "keep",
        /// They are reset, so that the senders try again elsewhere.
        Reset = "reset",
    }
}

choice! {
    /// Whether all sessions of a sender go to one backend.
    pub enum Affinity {
        /// Each session by itself.
        Off = "off",
        /// By source address: IPv4 /32, IPv6 /64.
        Source = "source",
    }
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// VRRP's VRID, 1 to 255; unique on the segment. That of this box, where `node` has its own.
    pub virtual_router_id: u8,
    /// The VIPs, as written. At least one.
    pub virtual_addresses: Vec<VirtualAddress>,
    /// The TCP ports served on each VIP, 1 to 8 of them. Default 25.
    pub ports: Vec<u16>,
    /// Default `active-active`.
    pub mode: Mode,
    /// For the backends that say nothing else. Default `dsr`.
    pub forwarding: Forwarding,
    /// 10 ms to 40.95 s in steps of 10 ms (VRRPv3 counts centiseconds). Default 1 s.
    #[serde(serialize_with = "duration::serialize")]
    pub advertisement_interval: Duration,
    /// Whether a higher priority takes the VIP from a lower one. Default true.
    pub preempt: bool,
    /// How long a returning node of higher priority waits before it preempts. Default 0 s.
    #[serde(serialize_with = "duration::serialize")]
    pub preempt_delay: Duration,
    /// How long it waits for the flows and weights of the master at most. Default 10 s.
    #[serde(serialize_with = "duration::serialize")]
    pub sync_timeout: Duration,
    /// Nodes to advertise to by unicast, for a segment without multicast; a node skips its own
    /// address. Default none: multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// Nodes that are no backends (pure directors), each by the address of its `node.channel`: they take
    /// part in the cluster channel. Default none.
    pub directors: Vec<IpAddr>,
    /// Default `rfc5798`.
    pub vrrp_checksum: VrrpChecksum,
    /// Whether IPv6 adverts name a link-local address first, as RFC 9568 5.2.9 has it, also where
    /// `virtual_addresses` has none. keepalived 2.2 drops adverts with another number of addresses than it
    /// has itself, 2.3 complains: false where it has none. Default true.
    pub advertise_link_local: bool,
    /// Default `enforce` where there is a `secret_file`, `off` where there is none.
    pub authentication: Authentication,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    pub announce: Announce,
    /// Default `lower-priority`.
    pub no_healthy_backend: NoHealthyBackend,
    /// The keys of the cluster: see [`super::secret`]. Default `null`.
    pub secret_file: Option<PathBuf>,
    /// Polling.
    pub stats: Stats,
    /// The SMTP health check.
    pub health: Health,
    /// What the figures do to the weights.
    pub policy: Policy,
    /// Who may open sessions.
    pub access: Access,
    /// How a backend is chosen for a session.
    pub selection: Selection,
    /// When a silent flow is forgotten.
    pub idle: Idle,
    /// Draining, where the command says nothing else.
    pub drain: Drain,
    /// At least one.
    pub sites: Vec<Site>,
}

/// `cluster.announce`: gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Announce {
    /// Announcements in a burst, 1 to 100. Default 5.
    pub count: u8,
    /// Between two of a burst. Default 100 ms.
    #[serde(serialize_with = "duration::serialize")]
    pub gap: Duration,
    /// Between two single ones while master; 0 s: none. Default 1 s.
    ///
    /// Needed in addition to the burst: until the address of a killed master's box expires, that box still
    /// answers clients as a backend, and an IPv6 neighbour solicitation it sends for a client gives
    /// the VIP as its source (`ndisc_solicit`, net/ipv6/ndisc.c), which draws that client back to it.
    #[serde(serialize_with = "duration::serialize")]
    pub repeat: Duration,
}

/// `cluster.selection`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selection {
    /// Default `off`.
    pub affinity: Affinity,
    /// With affinity: a backend whose load is more than this many times the average of its
    /// weight's share is passed over. 1.0 to 100. Default 1.5.
    pub max_skew: f64,
}

/// `cluster.idle`: how long a flow that the client is silent on stays in the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Idle {
    /// After the SYN alone. Default 10 s.
    #[serde(serialize_with = "duration::serialize")]
    pub half_open: Duration,
    /// Within a session. A client may wait 10 minutes for the reply to its final dot (RFC 5321,
    /// 4.5.3.2.6). Default 15 m.
    #[serde(serialize_with = "duration::serialize")]
    pub established: Duration,
    /// After its box has ended the session: trailing frames still follow. A client's FIN or RST alone
    /// only marks a flow. Default 30 s.
    #[serde(serialize_with = "duration::serialize")]
    pub closing: Duration,
}

/// `cluster.drain`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drain {
    /// Default `null`: no deadline.
    #[serde(serialize_with = "duration::serialize_option")]
    pub deadline: Option<Duration>,
    /// Default `keep`.
    pub at_deadline: AtDeadline,
}

impl Cluster {
    /// Every backend, in the order of the file, with its site. The position is its backend id.
    pub fn backends(&self) -> impl Iterator<Item = (&Site, &Backend)> {
        self.sites
            .iter()
            .flat_map(|site| site.backends.iter().map(move |backend| (site, backend)))
    }

    /// The IPv4 VIPs, in the order of an advertisement.
    #[must_use]
    pub fn virtual_addresses_v4(&self) -> Vec<Ipv4Addr> {
        let addresses = self.virtual_addresses.iter().map(|vip| vip.address);
        let v4 = |address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        addresses.filter_map(v4).collect()
    }

    /// The IPv6 VIPs, in the order of an advertisement: its first address is link-local (RFC 9568,
    /// 5.2.9). When the file has none it is the virtual router's own, from the MAC
    /// 00-00-5e-00-02-{VRID} (RFC 4291, appendix A); empty when there is no IPv6 VIP at all.
    #[must_use]
    pub fn virtual_addresses_v6(&self) -> Vec<Ipv6Addr> {
        let addresses = self.virtual_addresses.iter().map(|vip| vip.address);
        let v6 = |address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        };
        let mut addresses: Vec<Ipv6Addr> = addresses.filter_map(v6).collect();
        // Stable: the order of the file within each kind.
        addresses.sort_by_key(|address| !address.is_unicast_link_local());
        let first_is_link_local = addresses.first().map(Ipv6Addr::is_unicast_link_local);
        if first_is_link_local == Some(false) && self.advertise_link_local {
            addresses.insert(0, link_local_of_virtual_router(self.virtual_router_id));
        }
        addresses
    }
}

/// Modified EUI-64 of the IPv6 virtual router MAC (RFC 9568, 7.3).
fn link_local_of_virtual_router(vrid: u8) -> Ipv6Addr {
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        0x0200,
        0x5eff,
        0xfe00,
        0x0200 | u16::from(vrid),
    )
}
