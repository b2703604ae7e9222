//! What a flow is known by.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use lbd_common::flow::{hash4, hash6, parts4, parts6, words4, words6};

/// A flow's key in one of the two tables.
pub trait FlowKey: Copy + Eq + std::fmt::Debug + Send + Sync + 'static {
    /// The key as the table holds it: the words of a slot before its last.
    type Words: Copy + Eq + AsRef<[u64]> + AsMut<[u64]> + Default;

    /// The key as words.
    fn to_words(self) -> Self::Words;

    /// The key that these words are.
    fn from_words(words: Self::Words) -> Self;

    /// The hash that chooses its buckets and its tag.
    fn hash(self) -> u64;

    /// The client.
    fn source(self) -> SocketAddr;

    /// The id of the virtual address and port.
    fn vip_id(self) -> u16;

    /// A number for the source's address alone, as good as its bits.
    fn source_bits(words: &Self::Words) -> u64;
}

/// An IPv4 flow's key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key4 {
    /// The client's address.
    pub source: Ipv4Addr,
    /// The client's port.
    pub port: u16,
    /// The id of the virtual address and port.
    pub vip_id: u16,
}

/// An IPv6 flow's key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key6 {
    /// The client's address.
    pub source: Ipv6Addr,
    /// The client's port.
    pub port: u16,
    /// The id of the virtual address and port.
    pub vip_id: u16,
}

impl Key4 {
    /// Of a client's flow with a service.
    pub fn of(client: SocketAddrV4, vip_id: u16) -> Self {
        Self {
            source: *client.ip(),
            port: client.port(),
            vip_id,
        }
    }
}

impl Key6 {
    /// Of a client's flow with a service.
    pub fn of(client: SocketAddrV6, vip_id: u16) -> Self {
        Self {
            source: *client.ip(),
            port: client.port(),
            vip_id,
        }
    }
}

impl FlowKey for Key4 {
    type Words = [u64; 1];

    fn to_words(self) -> [u64; 1] {
        let source = u32::from_ne_bytes(self.source.octets());
        words4(source, self.port.to_be(), self.vip_id)
    }

    fn from_words(words: [u64; 1]) -> Self {
        let (source, port_be, vip_id) = parts4(words);
        Self {
            source: source.to_ne_bytes().into(),
            port: u16::from_be(port_be),
            vip_id,
        }
    }

    fn hash(self) -> u64 {
        hash4(
            u32::from_ne_bytes(self.source.octets()),
            self.port.to_be(),
            self.vip_id,
        )
    }

    fn source(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.source), self.port)
    }

    fn vip_id(self) -> u16 {
        self.vip_id
    }

    fn source_bits(words: &[u64; 1]) -> u64 {
        words[0] & 0xffff_ffff
    }
}

impl FlowKey for Key6 {
    type Words = [u64; 3];

    fn to_words(self) -> [u64; 3] {
        words6(quarters(self.source), self.port.to_be(), self.vip_id)
    }

    fn from_words(words: [u64; 3]) -> Self {
        let (source, port_be, vip_id) = parts6(words);
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(source) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Self {
            source: octets.into(),
            port: u16::from_be(port_be),
            vip_id,
        }
    }

    fn hash(self) -> u64 {
        hash6(quarters(self.source), self.port.to_be(), self.vip_id)
    }

    fn source(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(self.source), self.port)
    }

    fn vip_id(self) -> u16 {
        self.vip_id
    }

    fn source_bits(words: &[u64; 3]) -> u64 {
        // Multiplied, so that addresses that differ in both halves do not cancel out.
        words[0].wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ words[1]
    }
}

/// An address as four words in memory order.
fn quarters(address: Ipv6Addr) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(address.octets().chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}

#[cfg(test)]
mod tests {
    use lbd_common::flow::{Slot4, Slot6};
    use proptest::prelude::*;

    use super::*;
    use crate::dataplane::plain::Plain as _;

    fn words_of(bytes: &[u8]) -> Vec<u64> {
        bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
            .collect()
    }

    proptest! {
        #[test]
        fn an_ipv4_key_lies_as_the_program_has_it(source: Ipv4Addr, port: u16, vip_id: u16) {
            let key = Key4 { source, port, vip_id };
            let slot = Slot4 {
                source: u32::from_ne_bytes(source.octets()),
                port_be: port.to_be(),
                vip_id,
                ..Slot4::default()
            };
            prop_assert_eq!(&key.to_words()[..], &words_of(slot.as_bytes())[..1]);
            prop_assert_eq!(Key4::from_words(key.to_words()), key);
        }

        #[test]
        fn an_ipv6_key_lies_as_the_program_has_it(source: Ipv6Addr, port: u16, vip_id: u16) {
            let key = Key6 { source, port, vip_id };
            let mut slot = Slot6 { port_be: port.to_be(), vip_id, ..Slot6::default() };
            for (word, bytes) in slot.source.iter_mut().zip(source.octets().chunks_exact(4)) {
                *word = u32::from_ne_bytes(bytes.try_into().unwrap());
            }
            prop_assert_eq!(&key.to_words()[..], &words_of(slot.as_bytes())[..3]);
            prop_assert_eq!(Key6::from_words(key.to_words()), key);
        }
    }
}
