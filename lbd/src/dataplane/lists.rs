//! `ALLOW4`, `ALLOW6`, `DENY4`, `DENY6`, `DENY_LENGTHS`: who may open sessions.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lbd_common::{
    denied::DenyLengths,
    maps::{ALLOW4, ALLOW6, DENY4, DENY6, LIST_ENTRIES},
};

use super::{
    address,
    call_map::CallMap,
    error::{DataPlaneError, Result},
    mmap::MmapArray,
    pins::PinDir,
};
use crate::config::Network;

/// The networks that are always allowed, and those that are denied.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccessLists {
    /// Admitted, also when a denied network holds them.
    pub allow: BTreeSet<Network>,
    /// Not admitted.
    pub deny: BTreeSet<Network>,
}

impl AccessLists {
    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// For asking about many addresses.
    pub fn judge(&self) -> AccessJudge {
        AccessJudge {
            allow: Ranges::of(&self.allow),
            deny: Ranges::of(&self.deny),
        }
    }
}

/// Answers whether an address is denied by bisection: for the sweep that ends sessions of sources
/// which are denied from now on.
#[derive(Clone, Debug, Default)]
pub struct AccessJudge {
    allow: Ranges,
    deny: Ranges,
}

impl AccessJudge {
    /// Whether the lists deny this source, as the program would say.
    pub fn denies(&self, source: IpAddr) -> bool {
        self.deny.contain(source) && !self.allow.contain(source)
    }
}

/// Networks as ranges of addresses that do not overlap, in order.
#[derive(Clone, Debug, Default)]
struct Ranges {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl Ranges {
    fn of(networks: &BTreeSet<Network>) -> Self {
        let (v4, v6): (Vec<Network>, Vec<Network>) = networks
            .iter()
            .partition(|network| network.address().is_ipv4());
        Self {
            v4: merged(&v4),
            v6: merged(&v6),
        }
    }

    fn contain(&self, source: IpAddr) -> bool {
        let ranges = if source.is_ipv4() { &self.v4 } else { &self.v6 };
        let source = bits(source);
        let after = ranges.partition_point(|(first, _)| *first <= source);
        after
            .checked_sub(1)
            .is_some_and(|at| ranges[at].1 >= source)
    }
}

/// The ranges of networks of one family.
fn merged(networks: &[Network]) -> Vec<(u128, u128)> {
    let mut ranges: Vec<(u128, u128)> = networks.iter().map(|network| range(*network)).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            // Two networks are apart, or one holds the other.
            Some((_, end)) if *end >= first => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn range(network: Network) -> (u128, u128) {
    let first = bits(network.address());
    let host_bits = match network.address() {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    } - u32::from(network.prefix_len());
    let hosts = 1_u128
        .checked_shl(host_bits)
        .map_or(u128::MAX, |hosts| hosts - 1);
    (first, first.saturating_add(hosts))
}

/// One change of one list.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Change {
    Allow(Vec<Network>),
    Deny(Vec<Network>),
    DenyNoMore(Vec<Network>),
    AllowNoMore(Vec<Network>),
}

/// The changes from `current` to `wanted`, in this order: at every moment a source that both admit
/// is admitted. (Whoever is allowed before or after is allowed in between; of the denied networks,
/// those of before go first, so that none is denied that neither denies.)
fn changes(current: &AccessLists, wanted: &AccessLists) -> [Change; 4] {
    let without = |these: &BTreeSet<Network>, those: &BTreeSet<Network>| {
        these.difference(those).copied().collect()
    };
    [
        Change::Allow(without(&wanted.allow, &current.allow)),
        Change::DenyNoMore(without(&current.deny, &wanted.deny)),
        Change::Deny(without(&wanted.deny, &current.deny)),
        Change::AllowNoMore(without(&current.allow, &wanted.allow)),
    ]
}

/// One list in its two maps.
#[derive(Debug)]
struct ListMaps {
    v4: CallMap,
    v6: CallMap,
}

/// A key of each list: the prefix length, then the address in memory order.
type Key4 = [u32; 2];
type Key6 = [u32; 5];

impl ListMaps {
    fn read(&self) -> Result<BTreeSet<Network>> {
        let v4 = self
            .v4
            .keys::<Key4>()?
            .into_iter()
            .map(|[length, word]| network(Ipv4Addr::from(word.to_ne_bytes()).into(), length));
        let v6 = self
            .v6
            .keys::<Key6>()?
            .into_iter()
            .map(|[length, words @ ..]| {
                let address = address::from_words(6, words);
                network(address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), length)
            });
        Ok(v4.chain(v6).collect())
    }

    fn add(&self, networks: &[Network]) -> Result<()> {
        let (keys4, keys6) = keys(networks);
        self.v4.set_all(&keys4, &vec![1_u32; keys4.len()])?;
        self.v6.set_all(&keys6, &vec![1_u32; keys6.len()])
    }

    fn remove(&self, networks: &[Network]) -> Result<()> {
        let (keys4, keys6) = keys(networks);
        self.v4.remove_all(&keys4)?;
        self.v6.remove_all(&keys6)
    }
}

fn network(address: IpAddr, prefix_len: u32) -> Network {
    Network::of(address, u8::try_from(prefix_len).unwrap_or(u8::MAX))
}

fn keys(networks: &[Network]) -> (Vec<Key4>, Vec<Key6>) {
    let (mut keys4, mut keys6) = (Vec::new(), Vec::new());
    for network in networks {
        let length = u32::from(network.prefix_len());
        let [a, b, c, d] = address::words(network.address());
        match network.address() {
            IpAddr::V4(_) => keys4.push([length, a]),
            IpAddr::V6(_) => keys6.push([length, a, b, c, d]),
        }
    }
    (keys4, keys6)
}

/// Both lists as they are loaded.
#[derive(Debug)]
pub(super) struct LoadedLists {
    allow: ListMaps,
    deny: ListMaps,
    deny_lengths: MmapArray<DenyLengths>,
    /// What the maps hold; unknown until they are first changed.
    current: Option<AccessLists>,
}

impl LoadedLists {
    pub(super) fn open(pins: &PinDir, deny_lengths: MmapArray<DenyLengths>) -> Result<Self> {
        Ok(Self {
            allow: ListMaps {
                v4: CallMap::open(pins, ALLOW4)?,
                v6: CallMap::open(pins, ALLOW6)?,
            },
            deny: ListMaps {
                v4: CallMap::open(pins, DENY4)?,
                v6: CallMap::open(pins, DENY6)?,
            },
            deny_lengths,
            current: None,
        })
    }

    /// Makes the maps hold exactly `wanted`.
    pub(super) fn write(&mut self, wanted: &AccessLists) -> Result<()> {
        for (list, networks) in [
            ("access.allow", &wanted.allow),
            ("access.deny", &wanted.deny),
        ] {
            check(list, networks)?;
        }
        // An error below leaves it unknown again.
        let current = match self.current.take() {
            Some(current) => current,
            None => AccessLists {
                allow: self.allow.read()?,
                deny: self.deny.read()?,
            },
        };
        // Lengths that no network has are looked up in vain. What is on the list must be looked up.
        set_lengths(&self.deny_lengths, current.deny.union(&wanted.deny));
        for change in changes(&current, wanted) {
            match change {
                Change::Allow(networks) => self.allow.add(&networks)?,
                Change::Deny(networks) => self.deny.add(&networks)?,
                Change::DenyNoMore(networks) => self.deny.remove(&networks)?,
                Change::AllowNoMore(networks) => self.allow.remove(&networks)?,
            }
        }
        set_lengths(&self.deny_lengths, &wanted.deny);
        self.current = Some(wanted.clone());
        Ok(())
    }
}

/// Has the program look up networks of the lengths that these have.
fn set_lengths<'a>(map: &MmapArray<DenyLengths>, networks: impl IntoIterator<Item = &'a Network>) {
    let mut lengths = DenyLengths::default();
    for network in networks {
        let bits = u32::from(network.prefix_len());
        if network.address().is_ipv4() {
            lengths.add4(bits);
        } else {
            lengths.add6(bits);
        }
    }
    map.set(0, &lengths);
}

fn check(list: &'static str, networks: &BTreeSet<Network>) -> Result<()> {
    let v4 = networks
        .iter()
        .filter(|network| network.address().is_ipv4())
        .count();
    let longest = v4.max(networks.len() - v4);
    if longest <= LIST_ENTRIES as usize {
        return Ok(());
    }
    Err(DataPlaneError::ListTooLong {
        list,
        count: longest,
        limit: LIST_ENTRIES,
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    /// Networks of a few bits, so that they overlap and addresses hit them.
    fn networks() -> impl Strategy<Value = BTreeSet<Network>> {
        btree_set(
            (any::<bool>(), 0_u8..16, 0_u8..=4).prop_map(|(v6, number, length)| {
                if v6 {
                    Network::of(
                        Ipv6Addr::from_bits(u128::from(number) << 124).into(),
                        length,
                    )
                } else {
                    Network::of(Ipv4Addr::from_bits(u32::from(number) << 28).into(), length)
                }
            }),
            0..6,
        )
    }

    fn sources() -> impl Iterator<Item = IpAddr> {
        (0..16_u8).flat_map(|number| {
            [
                IpAddr::from(Ipv4Addr::from_bits(u32::from(number) << 28 | 7)),
                Ipv6Addr::from_bits(u128::from(number) << 124 | 7).into(),
            ]
        })
    }

    fn denies(lists: &AccessLists, source: IpAddr) -> bool {
        let held =
            |networks: &BTreeSet<Network>| networks.iter().any(|network| network.contains(source));
        held(&lists.deny) && !held(&lists.allow)
    }

    proptest! {
        #[test]
        fn a_source_admitted_before_and_after_is_admitted_in_between(
            a in (networks(), networks()),
            b in (networks(), networks()),
        ) {
            let current = AccessLists { allow: a.0, deny: a.1 };
            let wanted = AccessLists { allow: b.0, deny: b.1 };
            let admitted: Vec<IpAddr> = sources()
                .filter(|source| !denies(&current, *source) && !denies(&wanted, *source))
                .collect();
            let mut lists = current.clone();
            for change in changes(&current, &wanted) {
                // Each network by itself: the kernel takes them one after the other.
                let (networks, allows, adds) = match change {
                    Change::Allow(networks) => (networks, true, true),
                    Change::AllowNoMore(networks) => (networks, true, false),
                    Change::Deny(networks) => (networks, false, true),
                    Change::DenyNoMore(networks) => (networks, false, false),
                };
                for network in networks {
                    let list = if allows { &mut lists.allow } else { &mut lists.deny };
                    if adds {
                        list.insert(network);
                    } else {
                        list.remove(&network);
                    }
                    prop_assert!(admitted.iter().all(|source| !denies(&lists, *source)));
                }
            }
            prop_assert_eq!(lists, wanted);
        }

        #[test]
        fn the_judge_says_what_the_networks_say(allow in networks(), deny in networks()) {
            let lists = AccessLists { allow, deny };
            let judge = lists.judge();
            for source in sources() {
                prop_assert_eq!(judge.denies(source), denies(&lists, source), "{}", source);
            }
        }
    }

    #[test]
    fn keys_are_prefix_length_and_bytes_of_the_header() {
        let networks = ["198.51.100.0/24", "2001:db8::/32"].map(|text| {
            let (address, length) = text.split_once('/').unwrap();
            Network::of(address.parse().unwrap(), length.parse().unwrap())
        });
        let (keys4, keys6) = keys(&networks);
        assert_eq!(keys4, [[24, u32::from_ne_bytes([198, 51, 100, 0])]]);
        assert_eq!(
            keys6,
            [[32, u32::from_ne_bytes([0x20, 1, 0x0d, 0xb8]), 0, 0, 0]]
        );
    }
}
