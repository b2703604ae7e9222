//! `NODES`: the cluster's boxes by MAC.
use lbd_common::{
    hash::{MAX_PROBE, slot_mac},
    maps::NODE_SLOTS,
    node::{Node, mac_to_u64},
};

use super::mmap::MmapArray;
use crate::{
    table::slots::{self, Slot, SlotsError, Step},
    units::Mac,
};

/// In a slot whose node has gone; no MAC has bits above its 48.
const BURIED: u64 = u64::MAX;

/// The boxes in the map.
pub(super) fn all(map: &MmapArray<Node>) -> impl Iterator<Item = Node> {
    (0..map.len())
        .map(|slot| map.get(slot))
        .filter(|node| ![0, BURIED].contains(&node.mac))
}

/// Makes `map` hold exactly `nodes`, each write a word.
pub(super) fn write(map: &MmapArray<Node>, nodes: &[Mac]) -> Result<(), SlotsError> {
    let current: Vec<Slot<MacWord>> = (0..map.len())
        .map(|slot| match map.get(slot).mac {
            0 => Slot::Free,
            BURIED => Slot::Buried,
            mac => Slot::Held(MacWord(mac)),
        })
        .collect();
    let mut wanted: Vec<MacWord> = nodes.iter().map(|mac| MacWord(mac_to_u64(mac.0))).collect();
    // One box has the same MAC on several segments; a MAC of zeros belongs to no box.
    wanted.sort_unstable();
    wanted.dedup();
    wanted.retain(|mac| mac.0 != 0);
    for step in slots::steps(&current, &wanted, MacWord::home, MAX_PROBE as usize)? {
        let (slot, mac) = match step {
            Step::Hold { slot, key } => (slot, key.0),
            Step::Bury { slot } => (slot, BURIED),
            Step::Free { slot } => (slot, 0),
        };
        map.set(slot, &Node { mac });
    }
    Ok(())
}

/// The MAC in a slot.
pub(super) fn mac_of(word: u64) -> Mac {
    let mut mac = Mac::default();
    mac.0.copy_from_slice(&word.to_le_bytes()[..6]);
    mac
}

/// Whether `map` holds `node`.
pub(super) fn has(map: &MmapArray<Node>, node: Mac) -> bool {
    let mac = mac_to_u64(node.0);
    mac != 0 && (0..map.len()).any(|slot| map.get(slot).mac == mac)
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct MacWord(u64);

impl MacWord {
    fn home(self) -> usize {
        slot_mac(self.0, NODE_SLOTS) as usize
    }
}

impl std::fmt::Debug for MacWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", mac_of(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(map: &MmapArray<Node>) -> Vec<u64> {
        let mut macs: Vec<u64> = (0..map.len())
            .map(|slot| map.get(slot).mac)
            .filter(|mac| *mac != 0 && *mac != BURIED)
            .collect();
        macs.sort_unstable();
        macs
    }

    #[test]
    fn the_map_holds_each_node_once_and_forgets_the_others() {
        let map = MmapArray::anonymous(NODE_SLOTS as usize).unwrap();
        let [a, b, c] = [1, 2, 3].map(|last| Mac([2, 0, 0, 0, 0, last]));
        write(&map, &[a, b, a, Mac::default()]).unwrap();
        assert_eq!(held(&map), [a, b].map(|mac| mac_to_u64(mac.0)));
        write(&map, &[b, c]).unwrap();
        assert_eq!(held(&map), [b, c].map(|mac| mac_to_u64(mac.0)));
        write(&map, &[]).unwrap();
        assert_eq!(
            map.words()
                .iter()
                .filter(|word| word.load(std::sync::atomic::Ordering::Relaxed) != 0)
                .count(),
            0
        );
    }
}
