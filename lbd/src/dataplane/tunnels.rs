//! `TUNNELS`: between which addresses the cluster's boxes tunnel.
use std::{collections::BTreeMap, mem::offset_of, net::IpAddr, sync::atomic::Ordering};

use lbd_common::{
    hash::{MAX_PROBE, slot_u32, slot_v6},
    maps::TUNNEL_SLOTS,
    tunnel::TunnelEnd,
};

use super::{
    address,
    mmap::{MmapArray, words_of},
};
use crate::table::slots::{self, Slot, SlotsError, Step};

/// `TunnelEnd::family` in a slot whose address has gone.
const BURIED: u32 = u32::MAX;

/// The 8-byte word of a [`TunnelEnd`] that holds `family` and `side`.
const FAMILY_WORD: usize = offset_of!(TunnelEnd, family) / 8;
const _: () = assert!(FAMILY_WORD == offset_of!(TunnelEnd, side) / 8);

/// The addresses in the map.
pub(super) fn addresses(map: &MmapArray<TunnelEnd>) -> impl Iterator<Item = IpAddr> {
    (0..map.len())
        .map(|slot| map.get(slot))
        .filter_map(|end| address::from_words(end.family, end.address))
}

/// Makes `map` hold exactly `ends`, each with its [`lbd_common::tunnel::side`]. A search finds every
/// address that stays at every moment.
pub(super) fn write(
    map: &MmapArray<TunnelEnd>,
    ends: &BTreeMap<IpAddr, u32>,
) -> Result<(), SlotsError> {
    let current: Vec<Slot<IpAddr>> = (0..map.len())
        .map(|slot| {
            let end = map.get(slot);
            match address::from_words(end.family, end.address) {
                Some(address) => Slot::Held(address),
                None if end.family == 0 => Slot::Free,
                None => Slot::Buried,
            }
        })
        .collect();
    let wanted: Vec<IpAddr> = ends.keys().copied().collect();
    for step in slots::steps(&current, &wanted, home, MAX_PROBE as usize)? {
        match step {
            Step::Hold { slot, key } => hold(map, slot, key, ends[&key]),
            Step::Bury { slot } => set(map, slot, offset_of!(TunnelEnd, family), BURIED),
            Step::Free { slot } => set(map, slot, offset_of!(TunnelEnd, family), 0),
        }
    }
    for (slot, held) in current.iter().enumerate() {
        if let Slot::Held(address) = held
            && let Some(side) = ends.get(address)
        {
            set(map, slot, offset_of!(TunnelEnd, side), *side);
        }
    }
    Ok(())
}

fn home(address: IpAddr) -> usize {
    let words = address::words(address);
    let slot = match address {
        IpAddr::V4(_) => slot_u32(words[0], TUNNEL_SLOTS),
        IpAddr::V6(_) => slot_v6(words, TUNNEL_SLOTS),
    };
    slot as usize
}

/// Fills a slot that no search finds, then lets searches find it.
fn hold(map: &MmapArray<TunnelEnd>, slot: usize, address: IpAddr, side: u32) {
    let end = TunnelEnd {
        address: address::words(address),
        family: u32::from(address::family(address)),
        side,
        ..TunnelEnd::default()
    };
    let words = words_of(&end);
    for (at, word) in words.iter().enumerate() {
        if at != FAMILY_WORD {
            map.entry(slot)[at].store(*word, Ordering::Release);
        }
    }
    map.entry(slot)[FAMILY_WORD].store(words[FAMILY_WORD], Ordering::Release);
}

fn set(map: &MmapArray<TunnelEnd>, slot: usize, offset: usize, value: u32) {
    map.field_u32(slot, offset).store(value, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use lbd_common::tunnel::side;

    use super::*;

    fn held(map: &MmapArray<TunnelEnd>) -> BTreeMap<IpAddr, u32> {
        (0..map.len())
            .map(|slot| map.get(slot))
            .filter_map(|end| Some((address::from_words(end.family, end.address)?, end.side)))
            .collect()
    }

    #[test]
    fn the_map_holds_what_was_written_last() {
        let map = MmapArray::anonymous(TUNNEL_SLOTS as usize).unwrap();
        let [a, b, c] =
            ["192.0.2.11", "2001:db8::12", "203.0.113.13"].map(|text| text.parse().unwrap());
        for ends in [
            BTreeMap::from([(a, side::OWN), (b, side::PEER)]),
            BTreeMap::from([(a, side::PEER), (b, side::OWN), (c, side::PEER)]),
            BTreeMap::from([(c, side::OWN)]),
            BTreeMap::new(),
        ] {
            write(&map, &ends).unwrap();
            assert_eq!(held(&map), ends);
        }
    }

    #[test]
    fn a_cluster_of_the_largest_size_fits() {
        let map = MmapArray::anonymous(TUNNEL_SLOTS as usize).unwrap();
        let ends: BTreeMap<IpAddr, u32> = (0..lbd_common::maps::MAX_BACKENDS)
            .map(|n| (IpAddr::from((0x0a00_0000 + n).to_be_bytes()), side::PEER))
            .collect();
        write(&map, &ends).unwrap();
        assert_eq!(held(&map).len(), ends.len());
    }
}
