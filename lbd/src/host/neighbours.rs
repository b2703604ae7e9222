//! Which MAC stands for a backend's or a peer's address: the routing table names the next hop, the
//! kernel's neighbour table its MAC, the interface our own.
//!
//! Frames that XDP sends leave no trace in the neighbour table, so an entry that nothing else uses
//! goes stale and a changed MAC stays unnoticed. The kernel is therefore asked to confirm each hop
//! whenever it is stale or unknown ([`Neighbours::hops_to_confirm`]), at one exchange a hop each
//! reachable time (30 s on average). It sends the ARP or ND itself (`NTF_USE`), and makes no entry
//! that would have to be undone.
//!
//! Any host on the segment can answer ARP and ND, also unasked. Where a peer has told its MACs by the signed
//! channel ([`Neighbours::vouch`]), an entry with another one is refused: frames go to the MAC that the
//! peer told, and the kernel's entry is corrected ([`Neighbours::corrections`]), since this box's own stack
//! asks the peer too.
//!
//! A MAC that the kernel can no longer confirm stays in use, marked as such: whether a backend is
//! dead is for the health check to say, and a wrong guess here would cut its sessions.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::links::Links;
use crate::units::Mac;

/// Where the routing table sends frames for an address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Route {
    /// To this box itself.
    Local,
    /// To `next_hop` (the address itself when it is on the link).
    Via {
        /// Whose MAC is wanted.
        next_hop: IpAddr,
        /// The interface that faces it.
        ifindex: u32,
        /// Our own address that the kernel would send from.
        source: Option<IpAddr>,
        /// The largest IP packet in bytes on this route, where that is less than the interface's:
        /// the operator's `mtu`, or a path's that the kernel has learnt.
        mtu: Option<u32>,
    },
    /// Nowhere.
    #[default]
    Unreachable,
}

/// How an address is reached now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// It is one of this box's own addresses.
    Local,
    /// No route leads there, or one over an interface that has no MACs.
    Unreachable,
    /// The next hop has never answered; it is asked again every second.
    Resolving {
        /// The interface it is asked on.
        ifindex: u32,
    },
    /// Frames go here.
    Resolved(Hop),
}

/// What a frame to an address is sent with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hop {
    /// The interface it leaves by.
    pub ifindex: u32,
    /// Its new destination: the address's own MAC, or its gateway's.
    pub mac: Mac,
    /// Its new source: our interface's MAC.
    pub source_mac: Mac,
    /// Whose MAC it is: the address itself when it is on the link, else its gateway.
    pub next_hop: IpAddr,
    /// Our own address on the way there, for an outer header (`ipip`).
    pub source: Option<IpAddr>,
    /// The largest IP packet in bytes that may go there.
    pub mtu: u32,
    /// The kernel vouches for the MAC; false: it is the last one known, and no host answers for it.
    pub is_confirmed: bool,
}

/// The MACs that a node has told of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vouched {
    /// Of the interface that has its address.
    pub home: Mac,
    /// Every one that may stand for its address: two interfaces on one segment answer for each other.
    pub macs: Vec<Mac>,
}

/// News of one address that is followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Neighbour {
    /// The backend's or peer's address.
    pub address: IpAddr,
    /// How it is reached from now on.
    pub reach: Reach,
    /// What another host told the kernel instead; it is not used.
    pub refused: Option<Mac>,
}

/// The state of an entry in the kernel's table (NUD), as far as it matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// Confirmed not long ago.
    Valid(Mac),
    /// The operator has written it.
    Fixed(Mac),
    /// Valid until proven otherwise, and no probe is under way.
    Stale(Mac),
    /// The kernel is asking, without an answer so far.
    Asking,
    /// It asked in vain, or has no entry.
    Absent,
}

#[derive(Clone, Copy, Debug, Default)]
struct Followed {
    route: Route,
    told: Option<(Reach, Option<Mac>)>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    entry: Entry,
    last_mac: Option<Mac>,
}

/// A next hop: an address is a neighbour's name only together with the interface.
type HopKey = (u32, IpAddr);

/// The addresses that are followed, and what is known of the hops on their way.
#[derive(Debug, Default)]
pub struct Neighbours {
    followed: BTreeMap<IpAddr, Followed>,
    heard: BTreeMap<HopKey, Heard>,
    vouched: BTreeMap<IpAddr, Vouched>,
}

impl Neighbours {
    /// Follows exactly these addresses. What is known of those that stay, stays.
    pub fn follow(&mut self, addresses: &[IpAddr]) {
        self.followed
            .retain(|address, _| addresses.contains(address));
        for address in addresses {
            self.followed.entry(*address).or_default();
        }
        self.forget_unused_hops();
    }

    /// Takes these nodes' word, given by the signed channel, for what stands for their addresses.
    pub fn vouch(&mut self, vouched: BTreeMap<IpAddr, Vouched>) {
        self.vouched = vouched;
    }

    /// The kernel's entries that another host's word made, and what is right.
    pub fn corrections(&self) -> Vec<(u32, IpAddr, Mac)> {
        let wrong = self.followed.iter().filter_map(|(&address, followed)| {
            let Route::Via {
                next_hop, ifindex, ..
            } = followed.route
            else {
                return None;
            };
            let vouched = self.vouched.get(&address).filter(|_| next_hop == address)?;
            match self.heard.get(&(ifindex, address))?.entry {
                Entry::Valid(mac) | Entry::Stale(mac) if !vouched.macs.contains(&mac) => {
                    Some((ifindex, address, vouched.home))
                }
                _ => None,
            }
        });
        wrong.collect()
    }

    /// The addresses that are followed.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.followed.keys().copied()
    }

    /// Takes the routing table's word for an address.
    pub fn set_route(&mut self, address: IpAddr, route: Route) {
        if let Some(followed) = self.followed.get_mut(&address) {
            followed.route = route;
        }
    }

    /// Takes the kernel's word for a neighbour; those on no path of ours are ignored.
    pub fn hear(&mut self, ifindex: u32, address: IpAddr, entry: Entry) {
        let hop = (ifindex, address);
        if !self.hops().contains(&hop) {
            return;
        }
        let last_mac = match entry {
            Entry::Valid(mac) | Entry::Fixed(mac) | Entry::Stale(mac) => Some(mac),
            Entry::Asking | Entry::Absent => self.heard.get(&hop).and_then(|h| h.last_mac),
        };
        self.heard.insert(hop, Heard { entry, last_mac });
    }

    /// Begins a fresh reading of the kernel's whole table: what it does not mention is absent.
    pub fn begin_reading(&mut self) {
        for heard in self.heard.values_mut() {
            heard.entry = Entry::Absent;
        }
        self.forget_unused_hops();
    }

    /// The hops that the kernel should ask for now, since nothing else makes it.
    pub fn hops_to_confirm(&self) -> Vec<HopKey> {
        self.hops()
            .into_iter()
            .filter(|hop| {
                self.heard
                    .get(hop)
                    .is_none_or(|heard| matches!(heard.entry, Entry::Stale(_) | Entry::Absent))
            })
            .collect()
    }

    /// Each address whose reach differs from what was told last; new ones always do.
    pub fn news(&mut self, links: &Links) -> Vec<Neighbour> {
        let mut news = Vec::new();
        for (&address, followed) in &mut self.followed {
            let reach = reach(followed.route, &self.heard, links);
            let now = match (reach, self.vouched.get(&address)) {
                (Reach::Resolved(hop), Some(vouched))
                    if hop.next_hop == address && !is_fixed(&self.heard, hop) =>
                {
                    vetted(hop, vouched)
                }
                _ => (reach, None),
            };
            if followed.told != Some(now) {
                followed.told = Some(now);
                let (reach, refused) = now;
                news.push(Neighbour {
                    address,
                    reach,
                    refused,
                });
            }
        }
        news
    }

    fn hops(&self) -> BTreeSet<HopKey> {
        self.followed
            .values()
            .filter_map(|followed| match followed.route {
                Route::Via {
                    next_hop, ifindex, ..
                } => Some((ifindex, next_hop)),
                Route::Local | Route::Unreachable => None,
            })
            .collect()
    }

    fn forget_unused_hops(&mut self) {
        let hops = self.hops();
        self.heard.retain(|hop, _| hops.contains(hop));
    }
}

fn is_fixed(heard: &BTreeMap<HopKey, Heard>, hop: Hop) -> bool {
    let heard = heard.get(&(hop.ifindex, hop.next_hop));
    heard.is_some_and(|heard| matches!(heard.entry, Entry::Fixed(_)))
}

/// The way to a node, by the MAC that it has told where the kernel has another one; and that one.
fn vetted(hop: Hop, vouched: &Vouched) -> (Reach, Option<Mac>) {
    if vouched.macs.contains(&hop.mac) {
        return (Reach::Resolved(hop), None);
    }
    let told = Hop {
        mac: vouched.home,
        is_confirmed: true,
        ..hop
    };
    (Reach::Resolved(told), Some(hop.mac))
}

fn reach(route: Route, heard: &BTreeMap<HopKey, Heard>, links: &Links) -> Reach {
    let (next_hop, ifindex, source, route_mtu) = match route {
        Route::Local => return Reach::Local,
        Route::Unreachable => return Reach::Unreachable,
        Route::Via {
            next_hop,
            ifindex,
            source,
            mtu,
        } => (next_hop, ifindex, source, mtu),
    };
    let Some((link, source_mac)) = links
        .numbered(ifindex)
        .and_then(|link| Some((link, link.mac?)))
    else {
        return Reach::Unreachable;
    };
    let heard = heard.get(&(ifindex, next_hop));
    match heard.and_then(|heard| heard.last_mac.map(|mac| (mac, heard.entry))) {
        None => Reach::Resolving { ifindex },
        Some((mac, entry)) => Reach::Resolved(Hop {
            ifindex,
            mac,
            source_mac,
            next_hop,
            source,
            mtu: route_mtu.unwrap_or(link.mtu).min(link.mtu),
            is_confirmed: matches!(entry, Entry::Valid(_) | Entry::Fixed(_) | Entry::Stale(_)),
        }),
    }
}

#[cfg(test)]
mod tests;
