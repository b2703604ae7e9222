//! Which ids the flow tables still speak of.
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use lbd_common::flow::{FlowWord, state};

use super::key::{FlowKey, Key4, Key6};

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
        note::<Key4>(flows4, &mut backends, &mut vips);
        note::<Key6>(flows6, &mut backends, &mut vips);
        Self {
            backends: present(&backends),
            vips: present(&vips),
        }
    }
}

fn note<K: FlowKey>(table: &[AtomicU64], backends: &mut [bool], vips: &mut [bool]) {
    let key_words = K::Words::default().as_ref().len();
    for slot in table.chunks_exact(key_words + 1) {
        let word = FlowWord::from_bits(slot[key_words].load(Ordering::Acquire));
        if word.state == state::FREE {
            continue;
        }
        let mut words = K::Words::default();
        for (to, from) in words.as_mut().iter_mut().zip(slot) {
            *to = from.load(Ordering::Relaxed);
        }
        backends[usize::from(word.backend)] = true;
        vips[usize::from(K::from_words(words).vip_id())] = true;
    }
}

fn present(ids: &[bool]) -> BTreeSet<u16> {
    (0..=u16::MAX)
        .zip(ids)
        .filter_map(|(id, present)| present.then_some(id))
        .collect()
}
