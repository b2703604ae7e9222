//! A table as memory: look up, insert, change, walk.
use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering},
};

use lbd_common::flow::{FlowWord, buckets, flag, is_kept, is_live, keep_order, state, tag};

use super::key::{FlowKey, Key4, Key6};

/// Words of a bucket: one cache line.
pub(super) const BUCKET_WORDS: usize = 8;

/// Tries of an insert against others that take the slot it chose.
const TRIES: usize = 4;

/// A view of a table and of `LOAD`, which its changes keep right. Every clone sees the same memory.
#[derive(Debug)]
pub struct Flows<'m, K> {
    words: &'m [AtomicU64],
    load: &'m [AtomicU64],
    mask: u32,
    key: PhantomData<fn() -> K>,
}

/// The IPv4 flows.
pub type Flows4<'m> = Flows<'m, Key4>;
/// The IPv6 flows.
pub type Flows6<'m> = Flows<'m, Key6>;

/// What the table knows of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flow<K> {
    /// Who talks to which service.
    pub key: K,
    /// The rest.
    pub word: FlowWord,
}

/// A flow to insert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewFlow {
    /// Backend id.
    pub backend: u16,
    /// One of [`state`].
    pub state: u8,
    /// Bits of [`flag`]; with [`flag::COUNTED`] it adds to `LOAD`.
    pub flags: u8,
}

/// The outcome of an insert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Insert {
    /// It is in a slot of its own now.
    Inserted,
    /// It is there already, with this word; nothing was changed.
    Exists(FlowWord),
    /// Both buckets are full of flows that may not be displaced.
    NoRoom,
}

/// One slot: the words of its key, then its flow word.
#[derive(Clone, Copy)]
pub(super) struct Slot<'m> {
    pub(super) words: &'m [AtomicU64],
}

impl<'m> Slot<'m> {
    pub(super) fn state_word(&self) -> &'m AtomicU64 {
        &self.words[self.words.len() - 1]
    }

    pub(super) fn key_words<W: Default + AsMut<[u64]>>(&self) -> W {
        let mut words = W::default();
        for (to, from) in words.as_mut().iter_mut().zip(self.words) {
            *to = from.load(Ordering::Acquire);
        }
        words
    }
}

impl<'m, K: FlowKey> Flows<'m, K> {
    /// Words of a slot.
    pub(super) fn slot_words() -> usize {
        K::Words::default().as_ref().len() + 1
    }

    /// `words` is the table: a power of two of buckets of 8. `load` is indexed by backend id.
    pub fn new(words: &'m [AtomicU64], load: &'m [AtomicU64]) -> Self {
        let buckets = words.len() / BUCKET_WORDS;
        assert!(
            buckets.is_power_of_two() && words.len().is_multiple_of(BUCKET_WORDS),
            "a table has a power of two of buckets"
        );
        let mask = u32::try_from(buckets - 1).unwrap_or(u32::MAX);
        Self {
            words,
            load,
            mask,
            key: PhantomData,
        }
    }

    pub(super) fn words(&self) -> &'m [AtomicU64] {
        self.words
    }

    /// How many buckets it has.
    pub fn bucket_count(&self) -> usize {
        self.words.len() / BUCKET_WORDS
    }

    /// How many flows it has places for.
    pub fn capacity(&self) -> usize {
        self.words.len() / Self::slot_words()
    }

    /// The slots of a bucket.
    pub(super) fn slots(&self, bucket: usize) -> impl Iterator<Item = Slot<'m>> + use<'m, K> {
        let words = &self.words[bucket * BUCKET_WORDS..][..BUCKET_WORDS];
        words
            .chunks_exact(Self::slot_words())
            .map(|words| Slot { words })
    }

    /// The slots in which a key may be, in the order in which the program looks.
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = Slot<'m>> + use<'m, K> {
        let (first, second) = buckets(hash, self.mask);
        let second = (second != first).then_some(second);
        let slots = [Some(first), second].map(|bucket| {
            bucket
                .map(|bucket| self.slots(bucket as usize))
                .into_iter()
                .flatten()
        });
        slots.into_iter().flatten()
    }

    /// What the table knows of a flow.
    pub fn lookup(&self, key: K) -> Option<FlowWord> {
        self.find(key).map(|(_, word)| word)
    }

    pub(super) fn find(&self, key: K) -> Option<(Slot<'m>, FlowWord)> {
        let (hash, wanted) = (key.hash(), key.to_words());
        self.candidates(hash).find_map(|slot| {
            let word = read(slot, &wanted, tag(hash))?;
            Some((slot, word))
        })
    }

    /// Puts a flow into the table, as of a peer's. Takes a free slot, else the one whose flow gives way
    /// most readily ([`keep_order`]).
    pub fn insert(&self, key: K, new: NewFlow, now_seen: u16) -> Insert {
        let (hash, words) = (key.hash(), key.to_words());
        let word = FlowWord {
            backend: new.backend,
            state: new.state,
            flags: new.flags,
            tag: tag(hash),
            seen: now_seen,
        };
        for _ in 0..TRIES {
            if let Some(word) = self.lookup(key) {
                return Insert::Exists(word);
            }
            let Some((slot, old)) = self.best_place(hash, now_seen) else {
                return Insert::NoRoom;
            };
            if self.take(slot, old, words, word) {
                return Insert::Inserted;
            }
        }
        Insert::NoRoom
    }

    /// The slot that is given up most readily, of the emptier bucket when both have a free one: in a
    /// table half full that leaves a few flows of a million without a place; taking the first free
    /// slot leaves thousands.
    fn best_place(&self, hash: u64, now_seen: u16) -> Option<(Slot<'m>, FlowWord)> {
        let (first, second) = buckets(hash, self.mask);
        let best_of = |bucket: u32| {
            let slots = || {
                self.slots(bucket as usize).map(|slot| {
                    let bits = slot.state_word().load(Ordering::Acquire);
                    (keep_order(bits, now_seen), slot, FlowWord::from_bits(bits))
                })
            };
            let taken = slots()
                .filter(|(_, _, word)| word.state != state::FREE)
                .count();
            let (order, slot, word) = slots().min_by_key(|(order, ..)| *order)?;
            Some(((order, taken), (slot, word)))
        };
        [first, second]
            .into_iter()
            .filter_map(best_of)
            .filter(|((order, _), _)| !is_kept(*order))
            .min_by_key(|(order, _)| *order)
            .map(|(_, best)| best)
    }

    /// Claims `slot` from `old`, writes the key, then the flow's word.
    fn take(&self, slot: Slot<'m>, old: FlowWord, words: K::Words, word: FlowWord) -> bool {
        let claim = FlowWord {
            state: state::CLAIMING,
            flags: 0,
            ..word
        };
        if !swap(slot, old, claim) {
            return false;
        }
        self.uncount(old);
        for (to, from) in slot.words.iter().zip(words.as_ref()) {
            // Release: whoever reads the new key reads the claim, or what came after it, too.
            to.store(*from, Ordering::Release);
        }
        // By compare-and-swap, because a sweep frees a claim that stands too long.
        if !swap(slot, claim, word) {
            return false;
        }
        self.count(word);
        true
    }

    /// Puts a peer's flow in the place of `old`, which this table has of the same client. False when
    /// that has changed meanwhile; nothing was changed then.
    pub fn replace(&self, key: K, old: FlowWord, new: NewFlow, now_seen: u16) -> bool {
        let Some((slot, _)) = self.find(key).filter(|(_, word)| *word == old) else {
            return false;
        };
        let word = FlowWord {
            backend: new.backend,
            state: new.state,
            flags: new.flags,
            seen: now_seen,
            ..old
        };
        self.change(slot, old, word)
    }

    /// Notes that a flow's client has ended it, as a peer tells. A mark, as its own FIN would be: the flow
    /// no longer counts, and frames follow it as before. False when the table does not know it.
    pub fn close(&self, key: K, now_seen: u16) -> bool {
        while let Some((slot, word)) = self.find(key) {
            let marked = match word.state {
                state::ESTABLISHED => FlowWord {
                    state: state::CLOSING,
                    flags: word.flags & !flag::COUNTED | flag::CLIENT_ENDED,
                    seen: now_seen,
                    ..word
                },
                state::HALF_OPEN | state::UNPROVEN => FlowWord {
                    flags: word.flags & !flag::COUNTED | flag::CLIENT_ENDED,
                    ..word
                },
                _ => return true,
            };
            if self.change(slot, word, marked) {
                return true;
            }
        }
        false
    }

    /// Marks every flow that `is_doomed` picks: its next frame is answered with RST. Returns how many.
    pub fn doom(&self, now_seen: u16, is_doomed: impl Fn(&Flow<K>) -> bool) -> u64 {
        let mut count = 0;
        for (slot, flow) in self.live() {
            let word = flow.word;
            if word.state == state::DOOMED || !is_doomed(&flow) {
                continue;
            }
            let doomed = FlowWord {
                state: state::DOOMED,
                flags: word.flags & !flag::COUNTED,
                seen: now_seen,
                ..word
            };
            // A frame that came between has changed the word; what it made of it is doomed as well.
            count += u64::from(
                self.change(slot, word, doomed) || self.doom_again(slot, &flow, now_seen),
            );
        }
        count
    }

    fn doom_again(&self, slot: Slot<'m>, flow: &Flow<K>, now_seen: u16) -> bool {
        (0..TRIES).any(|_| {
            let Some(word) = read(slot, &flow.key.to_words(), flow.word.tag) else {
                return false;
            };
            let doomed = FlowWord {
                state: state::DOOMED,
                flags: word.flags & !flag::COUNTED,
                seen: now_seen,
                ..word
            };
            self.change(slot, word, doomed)
        })
    }

    /// Every flow, as it is when the walk comes by.
    pub fn iter(&self) -> impl Iterator<Item = Flow<K>> + use<'_, 'm, K> {
        self.live().map(|(_, flow)| flow)
    }

    /// The flows of one part of the table, of so many: all parts are the whole table.
    pub fn part(&self, part: usize, of: usize) -> impl Iterator<Item = Flow<K>> + use<'_, 'm, K> {
        let buckets = self.bucket_count();
        let at = |part: usize| buckets * part.min(of) / of.max(1);
        self.in_buckets(at(part), at(part + 1))
    }

    /// The flows of some buckets: from one up to another, which is left out.
    pub fn in_buckets(
        &self,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = Flow<K>> + use<'_, 'm, K> {
        let to = to.min(self.bucket_count());
        let from = from.min(to);
        let words = &self.words[from * BUCKET_WORDS..to * BUCKET_WORDS];
        Self::live_in(words).map(|(_, flow)| flow)
    }

    fn live(&self) -> impl Iterator<Item = (Slot<'m>, Flow<K>)> + use<'_, 'm, K> {
        Self::live_in(self.words)
    }

    fn live_in(words: &'m [AtomicU64]) -> impl Iterator<Item = (Slot<'m>, Flow<K>)> + use<'m, K> {
        words.chunks_exact(Self::slot_words()).filter_map(|words| {
            let slot = Slot { words };
            let word = FlowWord::from_bits(slot.state_word().load(Ordering::Acquire));
            if !is_live(word.state) {
                return None;
            }
            let words: K::Words = slot.key_words();
            let key = K::from_words(words);
            // By the key's own tag: a writer whose claim was taken for dead may have left its
            // key under another flow's word.
            let word = read(slot, &words, tag(key.hash()))?;
            Some((slot, Flow { key, word }))
        })
    }

    /// Replaces a flow's word. Who wins counts `LOAD`.
    pub(super) fn change(&self, slot: Slot<'m>, old: FlowWord, new: FlowWord) -> bool {
        let won = swap(slot, old, new);
        if won {
            let stays = old.flags & new.flags & flag::COUNTED != 0 && old.backend == new.backend;
            if !stays {
                self.uncount(old);
                self.count(new);
            }
        }
        won
    }

    fn count(&self, word: FlowWord) {
        if word.flags & flag::COUNTED != 0
            && let Some(load) = self.load.get(usize::from(word.backend))
        {
            load.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn uncount(&self, word: FlowWord) {
        if word.flags & flag::COUNTED != 0
            && let Some(load) = self.load.get(usize::from(word.backend))
        {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn swap(slot: Slot<'_>, old: FlowWord, new: FlowWord) -> bool {
    slot.state_word()
        .compare_exchange(
            old.to_bits(),
            new.to_bits(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        )
        .is_ok()
}

/// The word of `slot` if it holds a live flow of this key and tag.
pub(super) fn read<W>(slot: Slot<'_>, wanted: &W, tag: u16) -> Option<FlowWord>
where
    W: Eq + Default + AsRef<[u64]> + AsMut<[u64]>,
{
    if slot.key_words::<W>() != *wanted {
        return None;
    }
    let word = FlowWord::from_bits(slot.state_word().load(Ordering::Acquire));
    let ours = is_live(word.state) && word.tag == tag && slot.key_words::<W>() == *wanted;
    ours.then_some(word)
}
