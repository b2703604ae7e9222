//! The weighted Maglev ring.
//!
//! After Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016),
//! section 3.4: every backend has its own permutation of the slots and claims, in its turn, the
//! first slot of it that is free. Weights set the turns: the k-th turn of a backend comes at
//! `(k + 1/2) / weight`, so that shares are exact to a slot for any sum of the weights.
//!
//! The permutation is of the backend's *identity* (its address or name), never of its id or its
//! place in the list: the same backends give the same ring on every node. All arithmetic is on
//! integers, so on every architecture too.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lbd_common::{
    hash::mix,
    ring::{NO_BACKEND, RING_SLOTS},
};

use crate::units::WeightPermille;

/// Slots as an index.
pub const SLOTS: usize = RING_SLOTS as usize;

/// A backend as the ring sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// What the backend is on every node: its address or name. Two entries never share it.
    pub identity: &'a [u8],
    /// Its share relative to the others'; 0 gets no slot.
    pub weight: WeightPermille,
    /// What its slots hold: its id.
    pub value: u32,
}

/// [`SLOTS`] slots, each with a backend's value or [`NO_BACKEND`].
#[derive(Clone, Eq, PartialEq)]
pub struct Ring(Box<[u32]>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({:#018x})", self.fingerprint())
    }
}

impl Ring {
    /// A ring in which every slot is empty.
    #[must_use]
    pub fn empty() -> Self {
        Self(vec![NO_BACKEND; SLOTS].into_boxed_slice())
    }

    /// The slots, in order.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.0
    }

    /// What a slot holds.
    ///
    /// # Panics
    /// When there is no such slot.
    #[must_use]
    pub fn get(&self, slot: u32) -> u32 {
        self.0[slot as usize]
    }

    /// A hash of the whole ring, to see whether two nodes have the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let fold = |hash: u64, slot: &u32| mix(hash ^ u64::from(*slot));
        self.0.iter().fold(0, fold)
    }

    /// How many slots differ.
    #[must_use]
    pub fn moved(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(a, b)| a != b).count()
    }

    /// Builds the ring. When no entry has a weight, every slot is [`NO_BACKEND`].
    ///
    /// Takes time by `SLOTS * (log(entries) + log(SLOTS))`: a thousand entries cost not twice what
    /// ten do. A removal moves its own slots and few of the others', as the tests measure.
    #[must_use]
    pub fn build(entries: &[Entry<'_>]) -> Self {
        let mut ring = Self::empty();
        let mut entries: Vec<&Entry<'_>> =
            entries.iter().filter(|entry| entry.weight.0 > 0).collect();
        entries.sort_by_key(|entry| entry.identity);
        let total: u64 = entries.iter().map(|entry| u64::from(entry.weight.0)).sum();
        let mut claimants: Vec<Claimant> = entries
            .iter()
            .map(|entry| Claimant::new(entry, total))
            .collect();
        // By time, then by place in the sorted list: a tie is broken the same way everywhere.
        let mut turns: BinaryHeap<Reverse<(u64, usize)>> = claimants
            .iter()
            .enumerate()
            .map(|(i, claimant)| Reverse((claimant.interval / 2, i)))
            .collect();
        for _ in 0..SLOTS {
            let Some(mut turn) = turns.peek_mut() else {
                break;
            };
            let (time, i) = turn.0;
            let claimant = &mut claimants[i];
            turn.0.0 = time + claimant.interval;
            drop(turn);
            let slot = claimant.next_free(&ring.0);
            ring.0[slot] = claimant.value;
        }
        ring
    }
}

/// A backend while it claims slots.
struct Claimant {
    value: u32,
    /// Time between two turns; times stay below 2^16 slots * 2^20 + 2^34 * 2^20.
    interval: u64,
    position: usize,
    skip: usize,
}

impl Claimant {
    fn new(entry: &Entry<'_>, total: u64) -> Self {
        let (first, second) = hash_identity(entry.identity);
        let slots = u64::from(RING_SLOTS);
        let index = |hash: u64| usize::try_from(hash).expect("below the number of slots");
        Self {
            value: entry.value,
            interval: (total << 20) / u64::from(entry.weight.0),
            position: index(first % slots),
            skip: index(second % (slots - 1) + 1),
        }
    }

    /// The first free slot of its permutation from where it stands. There is one while not every
    /// slot is claimed: the skip and the prime number of slots have no common divisor.
    fn next_free(&mut self, slots: &[u32]) -> usize {
        loop {
            let slot = self.position;
            self.position += self.skip;
            if self.position >= SLOTS {
                self.position -= SLOTS;
            }
            if slots[slot] == NO_BACKEND {
                return slot;
            }
        }
    }
}

/// Two hashes of an identity, by 8-byte words in a fixed byte order.
fn hash_identity(identity: &[u8]) -> (u64, u64) {
    let mut hash = mix(identity.len() as u64 + 1);
    for chunk in identity.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_le_bytes(word)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    (mix(hash), mix(hash ^ 0x6a09_e667_f3bc_c908))
}
