//! What the election is told to do.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Authentication, NoHealthyBackend, StartAs};
use crate::units::Priority;
use crate::vrrp::Interval;

/// When announcements (gratuitous ARP, unsolicited neighbour advertisements) are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AnnounceConfig {
    /// Announcements in a burst, at least one: one may be lost, or a rival's may come later.
    pub count: u8,
    /// Between those of a burst.
    pub gap_ns: u64,
    /// After a burst, one that often as long as we are master; 0 for none.
    pub repeat_ns: u64,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// 32 bits.
    Ipv4,
    /// 128 bits.
    Ipv6,
}

impl Family {
    /// An address's.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// The addresses from which our adverts come, one a family in which the cluster has addresses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Families {
    /// The interface's primary address.
    pub v4: Option<Ipv4Addr>,
    /// The interface's link-local address.
    pub v6: Option<Ipv6Addr>,
}

impl Families {
    /// Whether ties are decided in this address's family (see [the module](crate::election)).
    pub(super) fn is_primary(&self, address: IpAddr) -> bool {
        address.is_ipv4() || self.v4.is_none()
    }

    /// Whether adverts go out in a family.
    pub(super) fn has(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.v4.is_some(),
            Family::Ipv6 => self.v6.is_some(),
        }
    }

    /// Our address in the family of another.
    #[must_use]
    pub fn like(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }
}

/// The election's configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// 1 to 254, or 255 for the addresses' owner.
    pub priority: Priority,
    /// Between our adverts when we are master.
    pub interval: Interval,
    /// What to do at the start.
    pub start_as: StartAs,
    /// Whether to take over from a lower-priority master.
    pub preempt: bool,
    /// To wait at least that long before preempting.
    pub preempt_delay_ns: u64,
    /// To wait at most that long for flows and weights before preempting.
    pub sync_timeout_ns: u64,
    /// What to do without any healthy backend.
    pub no_healthy_backend: NoHealthyBackend,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    pub announce: AnnounceConfig,
    /// Where our adverts come from.
    pub families: Families,
    /// Unsigned adverts are refused: a start as master listens for a round before it acts, since
    /// whom it will not believe it cannot yield to.
    pub enforces: bool,
    /// The nodes tell each other their sessions: a master that was away returns as a node that starts.
    pub has_channel: bool,
}

impl Config {
    /// What the configuration file says, for adverts from these addresses.
    #[must_use]
    pub fn of(file: &crate::config::Config, families: Families) -> Self {
        let (node, cluster) = (&file.node, &file.cluster);
        Self {
            priority: node.priority,
            // The file was checked: it is a number of centiseconds that fits.
            interval: Interval::from_ns(ns(cluster.advertisement_interval))
                .unwrap_or(Interval::DEFAULT),
            start_as: node.start_as,
            preempt: cluster.preempt,
            preempt_delay_ns: ns(cluster.preempt_delay),
            sync_timeout_ns: ns(cluster.sync_timeout),
            no_healthy_backend: cluster.no_healthy_backend,
            announce: AnnounceConfig {
                count: cluster.announce.count,
                gap_ns: ns(cluster.announce.gap),
                repeat_ns: ns(cluster.announce.repeat),
            },
            families,
            enforces: cluster.authentication == Authentication::Enforce,
            has_channel: node.channel.is_some() && cluster.secret_file.is_some(),
        }
    }
}

/// 584 years fit.
fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
