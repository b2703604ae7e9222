//! What differs between IPv4 and IPv6: the map, and the words of a key.
use lbd_common::{
    flow::{hash4, hash6, parts4, parts6},
    hash::mix,
};

use super::{
    path::{
        lists::{Listed, listed4, listed6},
        source,
    },
    tables::maps::{FLOWS4, FLOWS4_MASK, FLOWS6, FLOWS6_MASK},
};

/// A family whose flow key is `K` words of 64 bits, as they stand in a slot.
pub(crate) trait Family<const K: usize> {
    /// 4 or 6.
    const NUMBER: u8;
    /// One cache line of the table, as eight words.
    fn bucket(index: u32) -> Option<*mut u64>;
    /// Buckets less one.
    fn mask() -> u32;
    /// See [`Key`].
    fn hash(key: &Key<K>) -> u64;
    /// Of the source alone: IPv4 /32, IPv6 /64.
    fn source_hash(key: &Key<K>) -> u64;
    /// What the lists say of the source.
    fn listed(key: &Key<K>) -> Listed;
    /// Whether no client can have the source's address: see [`super::path::source`].
    fn is_odd_source(key: &Key<K>) -> bool;
    /// Source address (as an event has it), source port and VIP id.
    fn parts(key: &Key<K>) -> ([u32; 4], u16, u16);
}

/// A flow's key.
pub(crate) type Key<const K: usize> = [u64; K];

pub(crate) struct V4;
pub(crate) struct V6;

pub(crate) use lbd_common::flow::{words4 as key4, words6 as key6};

impl Family<1> for V4 {
    const NUMBER: u8 = 4;

    #[inline(always)]
    fn bucket(index: u32) -> Option<*mut u64> {
        FLOWS4.get_ptr_mut(index).map(<*mut _>::cast)
    }

    #[inline(always)]
    fn mask() -> u32 {
        FLOWS4_MASK.load()
    }

    #[inline(always)]
    fn hash(key: &Key<1>) -> u64 {
        let ([source, ..], port_be, vip_id) = Self::parts(key);
        hash4(source, port_be, vip_id)
    }

    #[inline(always)]
    fn source_hash(key: &Key<1>) -> u64 {
        mix(key[0] & 0xffff_ffff)
    }

    #[inline(always)]
    fn listed(key: &Key<1>) -> Listed {
        listed4(key[0] as u32)
    }

    #[inline(always)]
    fn is_odd_source(key: &Key<1>) -> bool {
        source::is_odd4(key[0] as u32)
    }

    #[inline(always)]
    fn parts(key: &Key<1>) -> ([u32; 4], u16, u16) {
        let (source, port_be, vip_id) = parts4(*key);
        ([source, 0, 0, 0], port_be, vip_id)
    }
}

impl Family<3> for V6 {
    const NUMBER: u8 = 6;

    #[inline(always)]
    fn bucket(index: u32) -> Option<*mut u64> {
        FLOWS6.get_ptr_mut(index).map(<*mut _>::cast)
    }

    #[inline(always)]
    fn mask() -> u32 {
        FLOWS6_MASK.load()
    }

    #[inline(always)]
    fn hash(key: &Key<3>) -> u64 {
        let (source, port_be, vip_id) = Self::parts(key);
        hash6(source, port_be, vip_id)
    }

    #[inline(always)]
    fn source_hash(key: &Key<3>) -> u64 {
        mix(key[0])
    }

    #[inline(always)]
    fn listed(key: &Key<3>) -> Listed {
        listed6(Self::parts(key).0)
    }

    #[inline(always)]
    fn is_odd_source(key: &Key<3>) -> bool {
        source::is_odd6(Self::parts(key).0)
    }

    #[inline(always)]
    fn parts(key: &Key<3>) -> ([u32; 4], u16, u16) {
        parts6(*key)
    }
}
