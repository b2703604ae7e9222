//! The node that this one takes for the master.
use std::{collections::BTreeSet, net::IpAddr};

use serde::Serialize;

use crate::election::Heard;
use crate::units::Priority;
use crate::vrrp::Interval;

/// The node that this one takes for the master.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Leader {
    /// Where its last advert came from.
    pub address: IpAddr,
    /// The other family's address, when heard.
    pub other_address: Option<IpAddr>,
    /// As last heard.
    pub priority: Priority,
    /// Adopted from it.
    pub interval: Interval,
    /// When it was last heard.
    pub heard_ns: u64,
    /// See [`Heard::leased`].
    pub leased: bool,
}

impl Leader {
    pub(super) fn is(&self, address: IpAddr) -> bool {
        self.address == address || self.other_address == Some(address)
    }

    /// All its addresses that were heard, whichever of them spoke last.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        [Some(self.address), self.other_address]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The address to ask its box for: ARP where there is IPv4.
    pub(super) fn question(&self) -> IpAddr {
        match self.other_address {
            Some(other) if other.is_ipv4() => other,
            _ => self.address,
        }
    }

    /// Whether `address` may be of this leader: it is, or its family was not heard yet.
    pub(super) fn may_be(&self, address: IpAddr) -> bool {
        self.is(address)
            || (self.other_address.is_none() && self.address.is_ipv4() != address.is_ipv4())
    }

    pub(super) fn following(heard: &Heard, before: Option<Self>, now_ns: u64) -> Self {
        let other_address = before
            .filter(|leader| leader.priority == heard.priority)
            .and_then(|leader| {
                [Some(leader.address), leader.other_address]
                    .into_iter()
                    .flatten()
                    .find(|a| a.is_ipv4() != heard.from.is_ipv4())
            });
        Self {
            address: heard.from,
            other_address,
            priority: heard.priority,
            interval: heard.interval,
            heard_ns: now_ns,
            // The channel knows a box by one address, and its adverts come from one in each family.
            leased: heard.leased
                || (other_address.is_some() && before.is_some_and(|leader| leader.leased)),
        }
    }
}
