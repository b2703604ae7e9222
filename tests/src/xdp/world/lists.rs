//! The access lists.
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{LpmTrie, MapData, lpm_trie::Key};
use lbd_common::maps;

use super::{List, World, words};

impl World {
    /// Puts a prefix on a list.
    pub fn list(&mut self, list: List, address: IpAddr, bits: u32) -> Result<()> {
        match address {
            IpAddr::V4(address) => {
                let name = if list == List::Allow {
                    maps::ALLOW4
                } else {
                    maps::DENY4
                };
                let key = Key::new(bits, u32::from_ne_bytes(address.octets()));
                self.trie(name)?.insert(&key, 1, 0)?;
                self.listed.push((name, address.into(), bits));
            }
            IpAddr::V6(address) => {
                let name = if list == List::Allow {
                    maps::ALLOW6
                } else {
                    maps::DENY6
                };
                let key = Key::new(bits, words(address.octets()));
                self.trie(name)?.insert(&key, 1, 0)?;
                self.listed.push((name, address.into(), bits));
            }
        }
        Ok(())
    }

    fn trie<K: aya::Pod>(&mut self, name: &str) -> Result<LpmTrie<&mut MapData, K, u32>> {
        Ok(self
            .ebpf
            .map_mut(name)
            .with_context(|| name.to_owned())?
            .try_into()?)
    }

    pub(super) fn clear_lists(&mut self) -> Result<()> {
        for (name, address, bits) in std::mem::take(&mut self.listed) {
            match address {
                IpAddr::V4(address) => {
                    let key = Key::new(bits, u32::from_ne_bytes(address.octets()));
                    self.trie(name)?.remove(&key)?;
                }
                IpAddr::V6(address) => {
                    let key = Key::new(bits, words(address.octets()));
                    self.trie(name)?.remove(&key)?;
                }
            }
        }
        Ok(())
    }
}
