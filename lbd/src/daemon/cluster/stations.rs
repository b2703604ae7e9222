//! Whose frames count as the cluster's own: the MACs in `NODES`. Pure.
//!
//! A frame of a node was steered already: no list, no rate and no balancing applies to it. So a MAC is a
//! node's by that node's own signed word ([`Station`]), and never by what the kernel learnt of a neighbour:
//! any host on the segment can answer ARP and ND. What has never spoken on the channel steers nothing.
//!
//! Without that proof in the cluster (no channel on this box, or `cluster.authentication` is not
//! `enforce`, as while versions change) the nodes that have told nothing are taken by their neighbour entries.
//! So are those that answer the health check while this box has heard no peer at all: a firewall that closes
//! the channel must not have the boxes drop what they steer to each other.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    channel::Station, daemon::log_limiter::LogLimiter, host::neighbours::Vouched, units::Mac,
};

/// How long a start goes by the MACs that a former daemon left, while the peers have not spoken yet.
const ADOPTED_NS: u64 = 60_000_000_000;
/// Between two lines about the same address, and how long the status tells of it.
const AGAIN_NS: u64 = 60_000_000_000;

/// How long a start waits for the first word of a peer.
const FIRST_WORD_NS: u64 = 3_000_000_000;
/// What an operator is told while no peer has said one.
const MUTE: &str = "no peer has been heard on the channel: boxes are known by their answers to ARP, which any host on \
                    the segment can give; let node.channel's port through";

/// A MAC that another host named for a node's address.
#[derive(Clone, Copy, Debug)]
struct Refused {
    mac: Mac,
    seen_ns: u64,
}

/// What the nodes have told of their MACs, and what others have claimed.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Stations {
    told: BTreeMap<IpAddr, (String, Station)>,
    started_ns: u64,
    has_heard: bool,
    /// The operator was told of [`MUTE`].
    said_mute: bool,
    /// Of a former daemon, until then.
    adopted: (Vec<Mac>, u64),
    refused: BTreeMap<IpAddr, Refused>,
    refused_log: LogLimiter<IpAddr>,
    refused_count: u64,
}

impl Stations {
    /// A daemon that starts now.
    pub(in crate::daemon) fn starting(now_ns: u64) -> Self {
        Self {
            started_ns: now_ns,
            ..Self::default()
        }
    }

    /// Whether no peer has told its MACs since the start, though each had the time.
    pub(in crate::daemon) fn is_mute(&self, now_ns: u64) -> bool {
        !self.has_heard && now_ns.saturating_sub(self.started_ns) >= FIRST_WORD_NS
    }

    /// What to say, once, of boxes that are known by ARP because of that.
    pub(in crate::daemon) fn say_mute(&mut self) -> Option<&'static str> {
        (!std::mem::replace(&mut self.said_mute, true)).then_some(MUTE)
    }

    /// Goes on with what a former daemon knew.
    pub(in crate::daemon) fn adopt(&mut self, macs: Vec<Mac>, now_ns: u64) {
        self.adopted = (macs, now_ns + ADOPTED_NS);
    }

    /// Takes what the peers have told. Returns whether it is news.
    pub(in crate::daemon) fn take(
        &mut self,
        told: BTreeMap<IpAddr, (String, Station)>,
        now_ns: u64,
    ) -> bool {
        let (adopted, until_ns) = &mut self.adopted;
        let is_over = !adopted.is_empty() && now_ns >= *until_ns;
        if is_over {
            adopted.clear();
        }
        if self.told == told {
            return is_over;
        }
        self.told = told;
        self.has_heard |= !self.told.is_empty();
        self.refused
            .retain(|address, _| self.told.contains_key(address));
        self.refused_log
            .retain(|address| self.told.contains_key(address));
        true
    }

    /// What stands for the nodes' addresses.
    pub(in crate::daemon) fn vouched(&self) -> BTreeMap<IpAddr, Vouched> {
        let told = self.told.iter();
        let vouched = told.filter_map(|(address, (_, station))| {
            let vouched = Vouched {
                home: station.home?,
                macs: station.macs.clone(),
            };
            Some((*address, vouched))
        });
        vouched.collect()
    }

    /// The MACs of the cluster's other boxes. `neighbours`: those of nodes that may be known by the kernel's word.
    pub(in crate::daemon) fn node_macs(&self, neighbours: &[(IpAddr, Mac)]) -> Vec<Mac> {
        let told = self.told.values().flat_map(|(_, station)| &station.macs);
        let mut macs: BTreeSet<Mac> = told.chain(&self.adopted.0).copied().collect();
        let mut by_mac: BTreeMap<Mac, BTreeSet<IpAddr>> = BTreeMap::new();
        for (address, mac) in neighbours {
            by_mac.entry(*mac).or_default().insert(*address);
        }
        let untold = by_mac.iter().filter_map(|(mac, addresses)| {
            // One MAC for two addresses is a gateway's, or that of a host that answers for both.
            let address = addresses.first().filter(|_| addresses.len() == 1)?;
            (!self.told.contains_key(address)).then_some(*mac)
        });
        macs.extend(untold);
        macs.into_iter().collect()
    }

    /// The kernel was told another MAC of a node than the node tells. Returns what to say of it, now and then.
    pub(in crate::daemon) fn refuse(
        &mut self,
        address: IpAddr,
        mac: Mac,
        now_ns: u64,
    ) -> Option<String> {
        self.refused_count += 1;
        let refused = Refused {
            mac,
            seen_ns: now_ns,
        };
        self.refused.insert(address, refused);
        let is_due = self.refused_log.allows(address, AGAIN_NS, now_ns);
        is_due.then(|| self.sentence(address, refused))
    }

    /// What an operator has to see to.
    pub(in crate::daemon) fn warnings(&self, now_ns: u64) -> Vec<String> {
        let mute = self.said_mute && self.is_mute(now_ns);
        let recent = self
            .refused
            .iter()
            .filter(|(_, refused)| now_ns.saturating_sub(refused.seen_ns) < AGAIN_NS);
        let claims = recent.map(|(address, refused)| self.sentence(*address, *refused));
        claims.chain(mute.then(|| MUTE.to_owned())).collect()
    }

    /// How often an entry was refused.
    pub(in crate::daemon) fn refused_count(&self) -> u64 {
        self.refused_count
    }

    fn sentence(&self, address: IpAddr, refused: Refused) -> String {
        let whose = |(_, station): &&(String, Station)| station.has(refused.mac);
        let by = self.told.values().find(whose);
        let by = by.map_or(String::new(), |(name, _)| format!(", which is {name}'s"));
        let told = self.told.get(&address);
        let name = told.map_or(String::new(), |(name, _)| format!("{name} "));
        let home = told.and_then(|(_, station)| station.home);
        let home = home.map_or(String::new(), |home| {
            format!(" Frames go to {home}, as it says itself.")
        });
        format!(
            "{name}({address}): a host on the segment answers for it with {}{by}; that is refused.{home} \
             Look for that host, and let the switch inspect ARP",
            refused.mac
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn stations_of(nodes: &[(u8, u8)]) -> BTreeMap<IpAddr, (String, Station)> {
        let nodes = nodes.iter().map(|(node, home)| {
            let station = Station::new(Some(mac(*home)), &[]);
            (address(*node), (format!("mx{node}"), station))
        });
        nodes.collect()
    }

    #[test]
    fn what_a_node_has_told_is_no_matter_of_its_neighbours() {
        let mut stations = Stations::default();
        // mx2 runs an lbd, mx3 has told nothing.
        stations.take(stations_of(&[(2, 2)]), 0);
        let macs = |neighbours: &[(IpAddr, Mac)]| stations.node_macs(neighbours);
        assert_eq!(macs(&[]), [mac(2)]);
        assert_eq!(macs(&[(address(3), mac(3))]), [mac(2), mac(3)]);
        assert_eq!(
            macs(&[(address(2), mac(66))]),
            [mac(2)],
            "it has told its own"
        );
        for other in [2, 4] {
            let shared = [(address(3), mac(66)), (address(other), mac(66))];
            assert_eq!(macs(&shared), [mac(2)], "one MAC, two addresses");
        }
    }

    #[test]
    fn a_box_is_mute_until_the_first_word_of_any_peer() {
        let mut stations = Stations::starting(5 * SECOND);
        assert!(!stations.is_mute(7 * SECOND));
        assert!(stations.is_mute(8 * SECOND));
        assert!(
            stations.warnings(8 * SECOND).is_empty(),
            "no box is known by ARP"
        );
        assert!(stations.say_mute().is_some() && stations.say_mute().is_none());
        assert_eq!(stations.warnings(8 * SECOND), [MUTE]);
        stations.take(stations_of(&[(2, 2)]), 9 * SECOND);
        assert!(!stations.is_mute(9 * SECOND));
        assert!(stations.warnings(9 * SECOND).is_empty());
        stations.take(BTreeMap::new(), 99 * SECOND);
        assert!(
            !stations.is_mute(99 * SECOND),
            "a peer that was taken off spoke"
        );
    }

    #[test]
    fn what_a_former_daemon_knew_holds_until_the_peers_had_time_to_speak() {
        let mut stations = Stations::default();
        stations.adopt(vec![mac(9)], SECOND);
        assert!(stations.take(stations_of(&[(2, 2)]), 2 * SECOND));
        assert_eq!(stations.node_macs(&[]), [mac(2), mac(9)]);
        assert!(!stations.take(stations_of(&[(2, 2)]), 60 * SECOND));
        assert!(
            stations.take(stations_of(&[(2, 2)]), 61 * SECOND),
            "is news"
        );
        assert_eq!(stations.node_macs(&[]), [mac(2)]);
        assert!(!stations.take(stations_of(&[(2, 2)]), 62 * SECOND));
    }

    #[test]
    fn a_claim_is_named_once_a_minute_with_whose_mac_it_is() {
        let mut stations = Stations::default();
        stations.take(stations_of(&[(2, 2), (3, 3)]), 0);
        let said = stations.refuse(address(2), mac(3), SECOND).unwrap();
        for part in [
            "mx2 (192.0.2.2)",
            "02:00:00:00:00:03, which is mx3's",
            "to 02:00:00:00:00:02",
        ] {
            assert!(said.contains(part), "{said}");
        }
        for seconds in 2..61 {
            assert_eq!(stations.refuse(address(2), mac(66), seconds * SECOND), None);
        }
        assert_eq!(stations.warnings(61 * SECOND).len(), 1);
        assert!(stations.refuse(address(2), mac(66), 61 * SECOND).is_some());
        assert_eq!(stations.warnings(121 * SECOND), Vec::<String>::new());
        assert_eq!(stations.refused_count(), 61);
    }
}
