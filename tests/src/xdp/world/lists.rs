//! The access lists.
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, LpmTrie, MapData, lpm_trie::Key};
use lbd_common::{
    denied::{DenyLengths, Network4, Network6},
    maps,
};

use super::{List, World, words};

impl World {
    /// Puts a prefix on a list.
    pub fn list(&mut self, list: List, address: IpAddr, bits: u32) -> Result<()> {
        let name = match (list, address) {
            (List::Allow, IpAddr::V4(_)) => maps::ALLOW4,
            (List::Allow, IpAddr::V6(_)) => maps::ALLOW6,
            (List::Deny, IpAddr::V4(_)) => maps::DENY4,
            (List::Deny, IpAddr::V6(_)) => maps::DENY6,
        };
        // A build to compare with, of before the lengths were told, has tries only.
        let is_trie = list == List::Allow || self.ebpf.map(maps::DENY_LENGTHS).is_none();
        match address {
            IpAddr::V4(address) => {
                let data = u32::from_ne_bytes(address.octets());
                if is_trie {
                    self.trie(name)?.insert(&Key::new(bits, data), 1, 0)?;
                } else {
                    self.denied(name)?.insert(Network4::of(data, bits), 1, 0)?;
                    self.deny_lengths(|lengths| lengths.add4(bits))?;
                }
            }
            IpAddr::V6(address) => {
                let data = words(address.octets());
                if is_trie {
                    self.trie(name)?.insert(&Key::new(bits, data), 1, 0)?;
                } else {
                    self.denied(name)?.insert(Network6::of(data, bits), 1, 0)?;
                    self.deny_lengths(|lengths| lengths.add6(bits))?;
                }
            }
        }
        self.listed.push((name, address, bits));
        Ok(())
    }

    fn trie<K: aya::Pod>(&mut self, name: &str) -> Result<LpmTrie<&mut MapData, K, u32>> {
        let map = self.ebpf.map_mut(name);
        Ok(map.with_context(|| name.to_owned())?.try_into()?)
    }

    fn denied<K: aya::Pod>(&mut self, name: &str) -> Result<HashMap<&mut MapData, K, u32>> {
        let map = self.ebpf.map_mut(name);
        Ok(map.with_context(|| name.to_owned())?.try_into()?)
    }

    fn deny_lengths(&mut self, change: impl FnOnce(&mut DenyLengths)) -> Result<()> {
        let mut map = self.array::<DenyLengths>(maps::DENY_LENGTHS)?;
        let mut lengths = map.get(&0, 0)?;
        change(&mut lengths);
        Ok(map.set(0, lengths, 0)?)
    }

    pub(super) fn clear_lists(&mut self) -> Result<()> {
        for (name, address, bits) in std::mem::take(&mut self.listed) {
            let is_trie = [maps::ALLOW4, maps::ALLOW6].contains(&name);
            match address {
                IpAddr::V4(address) => {
                    let data = u32::from_ne_bytes(address.octets());
                    if is_trie {
                        self.trie(name)?.remove(&Key::new(bits, data))?;
                    } else {
                        self.denied(name)?.remove(&Network4::of(data, bits))?;
                    }
                }
                IpAddr::V6(address) => {
                    let data = words(address.octets());
                    if is_trie {
                        self.trie(name)?.remove(&Key::new(bits, data))?;
                    } else {
                        self.denied(name)?.remove(&Network6::of(data, bits))?;
                    }
                }
            }
        }
        self.deny_lengths(|lengths| *lengths = DenyLengths::default())
    }
}
