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
    /// Reads both tables, as words, in one linear walk each.
    pub fn of(flows4: &[AtomicU64], flows6: &[AtomicU64]) -> Self {
        let ids = usize::from(u16::MAX) + 1;
        let (mut backends, mut vips) = (vec![false; ids], vec![false; ids]);
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
                let vip = (key >> vip_shift) as u16;
                backends[usize::from(word.backend)] = true;
                vips[usize::from(vip)] = true;
            }
        }
        Self {
            backends: present(&backends),
            vips: present(&vips),
        }
    }
}

fn present(ids: &[bool]) -> BTreeSet<u16> {
    (0..=u16::MAX)
        .zip(ids)
        .filter_map(|(id, present)| present.then_some(id))
        .collect()
}
