//! Which ids the flow tables still speak of.
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use lbd_common::flow::{FlowWord, state};

/// Ids of backends and of services that flows have: not to be given to others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IdsInUse {
    /// Backend ids.
    pub backends: BTreeSet<u16>,
    /// VIP ids.
    pub vips: BTreeSet<u16>,
}

impl IdsInUse {
    /// Reads both tables, as words: a few milliseconds for tables of the default size.
    pub fn of(flows4: &[AtomicU64], flows6: &[AtomicU64]) -> Self {
        let mut ids = Self::default();
        let mut last = None;
        // A slot ends with its word; the VIP id is in the word before (bits 48 to 63 of an IPv4
        // flow's key, bits 16 to 31 of an IPv6 one's).
        for (table, slot_words, vip_shift) in [(flows4, 2, 48), (flows6, 4, 16)] {
            for slot in table.chunks_exact(slot_words) {
                let word = FlowWord::from_bits(slot[slot_words - 1].load(Ordering::Acquire));
                if word.state == state::FREE {
                    continue;
                }
                let key = slot[slot_words - 2].load(Ordering::Relaxed);
                #[expect(clippy::cast_possible_truncation, reason = "the 16 bits of the id")]
                let pair = (word.backend, (key >> vip_shift) as u16);
                if last != Some(pair) {
                    last = Some(pair);
                    ids.backends.insert(pair.0);
                    ids.vips.insert(pair.1);
                }
            }
        }
        ids
    }
}
