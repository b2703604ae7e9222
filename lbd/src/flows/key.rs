//! What a flow is known by.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lbd_common::flow::{hash4, hash6};

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

/// The word of a slot that ends a key: port and VIP id at `shift` and 16 above it.
const fn tail(port: u16, vip_id: u16, shift: u32) -> u64 {
    (port.to_be() as u64) << shift | (vip_id as u64) << (shift + 16)
}

#[expect(clippy::cast_possible_truncation, reason = "the 16 bits of each field")]
const fn split_tail(word: u64, shift: u32) -> (u16, u16) {
    (
        u16::from_be((word >> shift) as u16),
        (word >> (shift + 16)) as u16,
    )
}

impl FlowKey for Key4 {
    type Words = [u64; 1];

    fn to_words(self) -> [u64; 1] {
        // Fields of `Slot4` in memory order, on a little-endian machine, as is the program's.
        [u64::from(u32::from_ne_bytes(self.source.octets())) | tail(self.port, self.vip_id, 32)]
    }

    fn from_words([word]: [u64; 1]) -> Self {
        let (port, vip_id) = split_tail(word, 32);
        let [a, b, c, d, ..] = word.to_ne_bytes();
        Self {
            source: Ipv4Addr::new(a, b, c, d),
            port,
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
        let [a, b] = halves(self.source);
        [a, b, tail(self.port, self.vip_id, 0)]
    }

    fn from_words([a, b, tail]: [u64; 3]) -> Self {
        let (port, vip_id) = split_tail(tail, 0);
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&a.to_ne_bytes());
        octets[8..].copy_from_slice(&b.to_ne_bytes());
        Self {
            source: octets.into(),
            port,
            vip_id,
        }
    }

    fn hash(self) -> u64 {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.source.octets().chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        hash6(words, self.port.to_be(), self.vip_id)
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

fn halves(address: Ipv6Addr) -> [u64; 2] {
    let octets = address.octets();
    let (mut a, mut b) = ([0; 8], [0; 8]);
    a.copy_from_slice(&octets[..8]);
    b.copy_from_slice(&octets[8..]);
    [u64::from_ne_bytes(a), u64::from_ne_bytes(b)]
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
