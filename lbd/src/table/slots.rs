//! Keys in open-addressed slots, placed so that the program can read them while they change.
//!
//! The program looks at the slots from a key's home on, wrapping around, at most `max_probe` of
//! them; a slot that holds the key ends the search, and so does a free one. A key that goes leaves
//! its slot *buried* where freeing it would hide a key behind it: a buried slot holds nothing and
//! ends no search.
use std::fmt;

use thiserror::Error;

/// What a slot holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Slot<K> {
    /// Nothing: ends a search.
    Free,
    /// Nothing any more: a search goes on behind it.
    Buried,
    /// This key.
    Held(K),
}

/// One write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step<K> {
    /// Put the key into the slot.
    Hold {
        /// The slot's index.
        slot: usize,
        /// The key that it will hold.
        key: K,
    },
    /// Take the slot's key away.
    Bury {
        /// The slot's index.
        slot: usize,
    },
    /// Let searches end at the slot.
    Free {
        /// The slot's index.
        slot: usize,
    },
}

/// Why the keys have no place.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SlotsError {
    /// More keys than half of the slots.
    #[error("{wanted} entries are more than the {limit} that fit; give fewer")]
    TooMany {
        /// Keys to place.
        wanted: usize,
        /// Half of the slots.
        limit: usize,
    },
    /// Every slot that a search for the key looks at is taken.
    #[error("no slot within reach for {key}: too many entries share its hash; replace one of them")]
    NoSlot {
        /// The key, as `Debug` prints it.
        key: String,
    },
    /// A key is given twice.
    #[error("{key} is given twice")]
    Twice {
        /// The key, as `Debug` prints it.
        key: String,
    },
}

/// The slot a search for `key` ends at, when it finds it: the program's rule.
pub fn find<K: Eq>(slots: &[Slot<K>], key: &K, home: usize, max_probe: usize) -> Option<usize> {
    for slot in probe(home, slots.len(), max_probe) {
        match &slots[slot] {
            Slot::Held(held) if held == key => return Some(slot),
            Slot::Free => return None,
            Slot::Held(_) | Slot::Buried => {}
        }
    }
    None
}

/// The writes that turn `current` into a table of exactly the `wanted` keys.
///
/// After each of them a search finds every key that is in both, and finds no key that is in neither.
/// A key that stays keeps its slot. `home` is the key's home slot, below `current.len()`.
pub fn steps<K: Copy + Eq + fmt::Debug>(
    current: &[Slot<K>],
    wanted: &[K],
    home: impl Fn(K) -> usize,
    max_probe: usize,
) -> Result<Vec<Step<K>>, SlotsError> {
    let limit = current.len() / 2;
    if wanted.len() > limit {
        return Err(SlotsError::TooMany {
            wanted: wanted.len(),
            limit,
        });
    }
    for (i, key) in wanted.iter().enumerate() {
        if wanted[..i].contains(key) {
            return Err(SlotsError::Twice {
                key: format!("{key:?}"),
            });
        }
    }
    let mut slots = current.to_vec();
    let mut steps = Vec::new();
    // Going first leaves more room for coming; no key depends on a slot that is only buried.
    for (slot, held) in slots.iter_mut().enumerate() {
        if matches!(held, Slot::Held(key) if !wanted.contains(key)) {
            *held = Slot::Buried;
            steps.push(Step::Bury { slot });
        }
    }
    let mut coming: Vec<K> = wanted
        .iter()
        .copied()
        .filter(|key| find(&slots, key, home(*key), max_probe).is_none())
        .collect();
    // By home slot, so that the keys of a cluster share its length: fewer end out of reach.
    coming.sort_by_key(|key| home(*key));
    for key in coming {
        let slot = probe(home(key), slots.len(), max_probe)
            .find(|&slot| !matches!(slots[slot], Slot::Held(_)))
            .ok_or_else(|| SlotsError::NoSlot {
                key: format!("{key:?}"),
            })?;
        slots[slot] = Slot::Held(key);
        steps.push(Step::Hold { slot, key });
    }
    free_tails(&mut slots, &mut steps);
    Ok(steps)
}

/// Frees each buried slot that a free one follows: what a search would find behind it, the
/// free one hides already. Two rounds, since a run of buried slots may wrap around.
fn free_tails<K>(slots: &mut [Slot<K>], steps: &mut Vec<Step<K>>) {
    let count = slots.len();
    for slot in (0..count).rev().chain((0..count).rev()) {
        let next = (slot + 1) % count;
        if matches!(slots[slot], Slot::Buried) && matches!(slots[next], Slot::Free) {
            slots[slot] = Slot::Free;
            steps.push(Step::Free { slot });
        }
    }
}

fn probe(home: usize, count: usize, max_probe: usize) -> impl Iterator<Item = usize> {
    (0..max_probe.min(count)).map(move |distance| (home + distance) % count)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    const COUNT: usize = 32;
    const MAX_PROBE: usize = 8;

    /// Crowded on purpose: 128 keys share 32 homes.
    fn home(key: u8) -> usize {
        usize::from(key) % COUNT
    }

    fn apply(slots: &mut [Slot<u8>], step: Step<u8>) {
        match step {
            Step::Hold { slot, key } => slots[slot] = Slot::Held(key),
            Step::Bury { slot } => slots[slot] = Slot::Buried,
            Step::Free { slot } => slots[slot] = Slot::Free,
        }
    }

    fn found(slots: &[Slot<u8>], key: u8) -> bool {
        find(slots, &key, home(key), MAX_PROBE).is_some()
    }

    proptest! {
        #[test]
        fn every_prefix_of_the_writes_keeps_what_stays_and_shows_nothing_else(
            tables in proptest::collection::vec(btree_set(0_u8..128, 0..=COUNT / 2), 1..8),
        ) {
            let mut slots = [Slot::Free; COUNT];
            let mut before: Vec<u8> = Vec::new();
            for table in tables {
                let wanted: Vec<u8> = table.into_iter().collect();
                let Ok(steps) = steps(&slots, &wanted, home, MAX_PROBE) else { continue };
                for step in steps {
                    apply(&mut slots, step);
                    for key in 0..128 {
                        let (was, is) = (before.contains(&key), wanted.contains(&key));
                        if was && is {
                            prop_assert!(found(&slots, key), "{key} lost at {step:?}");
                        }
                        if !was && !is {
                            prop_assert!(!found(&slots, key), "{key} came up at {step:?}");
                        }
                    }
                }
                for key in 0..128 {
                    prop_assert_eq!(found(&slots, key), wanted.contains(&key));
                }
                before = wanted;
            }
        }

        #[test]
        fn an_emptied_table_has_no_buried_slot_left(first in btree_set(0_u8..128, 0..=COUNT / 2)) {
            let wanted: Vec<u8> = first.into_iter().collect();
            let mut slots = [Slot::Free; COUNT];
            if let Ok(filling) = steps(&slots, &wanted, home, MAX_PROBE) {
                for step in filling {
                    apply(&mut slots, step);
                }
                let emptying = steps(&slots, &[], home, MAX_PROBE).unwrap();
                for step in emptying {
                    apply(&mut slots, step);
                }
                prop_assert_eq!(slots, [Slot::Free; COUNT]);
            }
        }
    }

    #[test]
    fn more_than_half_full_is_refused() {
        let wanted: Vec<u8> = (0..17).collect();
        let refused = steps(&[Slot::Free; COUNT], &wanted, home, MAX_PROBE);
        assert_eq!(
            refused,
            Err(SlotsError::TooMany {
                wanted: 17,
                limit: 16
            })
        );
    }

    #[test]
    fn a_key_out_of_reach_is_refused_by_name() {
        // Nine keys of one home, of which a search reaches eight.
        let wanted: Vec<u8> = (0..9).map(|i| i * 4).collect();
        let refused = steps(&[Slot::Free; COUNT], &wanted, |_| 5, MAX_PROBE);
        assert_eq!(refused, Err(SlotsError::NoSlot { key: "32".into() }));
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let refused = steps(&[Slot::Free; COUNT], &[7, 7], home, MAX_PROBE);
        assert_eq!(refused, Err(SlotsError::Twice { key: "7".into() }));
    }
}
