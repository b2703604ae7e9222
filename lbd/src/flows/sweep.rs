//! The walk over all flows: expires, counts, repairs.
use std::sync::atomic::{AtomicU64, Ordering};

use lbd_common::{
    flow::{FlowWord, flag, state, tag},
    maps::MAX_BACKENDS,
};

use super::{
    key::FlowKey,
    load::LoadCheck,
    sources::SourceSet,
    table::{Flows, Flows4, Flows6, Slot, age, is_live, read},
};

/// Of so many sweeps, one looks a given bucket's flows up for duplicates: it is the only part of a
/// sweep that jumps about in memory.
const DUPLICATE_ROUND: usize = 64;

/// Units of `seen` after which a claim is its writer's death: writers finish in microseconds.
const STUCK_UNITS: u16 = 4;

/// After how long a flow that is not heard is forgotten, in units of `seen` (2^30 ns, 1.07 s).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// The client has not answered the handshake.
    pub half_open: u16,
    /// An open session.
    pub established: u16,
    /// FIN or RST was seen; trailing frames still follow.
    pub closing: u16,
    /// Denied or dead, and the client has not sent a frame to answer with RST.
    pub doomed: u16,
}

impl Timeouts {
    /// The longest idle time of an open session that the 16-bit clock can tell: 8 h.
    pub const LONGEST_S: u64 = 8 * 3600;

    /// With this idle time for open sessions, at most [`Self::LONGEST_S`].
    pub fn with_established_s(seconds: u64) -> Self {
        Self {
            established: units(seconds.min(Self::LONGEST_S)),
            ..Self::default()
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            half_open: units(30),
            // RFC 5321 section 4.5.3.2 has clients and servers wait for 10 minutes at most.
            established: units(3600),
            closing: units(10),
            doomed: units(60),
        }
    }
}

fn units(seconds: u64) -> u16 {
    u16::try_from((seconds * 1_000_000_000) >> lbd_common::flow::SEEN_SHIFT).unwrap_or(u16::MAX / 2)
}

/// A backend's flows, as of a sweep.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BackendFlows {
    /// Open sessions: their clients have answered.
    pub sessions: u64,
    /// Flows whose client has not answered yet.
    pub half_open: u64,
    /// Different addresses among the open sessions' clients: see [`SourceSet`] for how exact.
    pub unique_sources: u64,
    /// Flows that count in `LOAD`.
    counted: u64,
}

/// What a sweep found and did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SweepReport {
    /// By backend id; ids beyond the end have no flow.
    pub backends: Vec<BackendFlows>,
    /// Flows that were idle for too long, and are forgotten.
    pub expired: u64,
    /// Slots that a writer had claimed and left.
    pub stuck_freed: u64,
    /// Second entries of a flow that were removed.
    pub duplicates: u64,
    /// Flows of a backend id that cannot be: removed.
    pub impossible: u64,
    /// What was added to `LOAD` where it had drifted: backend id and difference.
    pub corrections: Vec<(u16, i64)>,
}

impl SweepReport {
    /// A backend's flows.
    pub fn backend(&self, id: u16) -> BackendFlows {
        self.backends
            .get(usize::from(id))
            .copied()
            .unwrap_or_default()
    }
}

/// What one sweep leaves for the next. About 16 KiB a backend that has flows.
#[derive(Clone, Debug, Default)]
pub struct Sweeper {
    sources: Vec<SourceSet>,
    checks: Vec<LoadCheck>,
    round: usize,
}

impl Sweeper {
    /// Walks both tables. `load` is `LOAD`, `now_seen` the clock of `FlowWord::seen`.
    ///
    /// Call it every second or so: it also is what makes a new denial reach open sessions in time.
    pub fn sweep(
        &mut self,
        v4: &Flows4<'_>,
        v6: &Flows6<'_>,
        load: &[AtomicU64],
        now_seen: u16,
        timeouts: Timeouts,
    ) -> SweepReport {
        let before = snapshot(load);
        let mut report = SweepReport::default();
        self.sources.iter_mut().for_each(SourceSet::clear);
        self.walk(v4, now_seen, timeouts, &mut report);
        self.walk(v6, now_seen, timeouts, &mut report);
        self.remove_duplicates(v4, &mut report);
        self.remove_duplicates(v6, &mut report);
        self.round = (self.round + 1) % DUPLICATE_ROUND;
        for (backend, sources) in report.backends.iter_mut().zip(&self.sources) {
            if backend.sessions != 0 {
                backend.unique_sources = sources.len();
            }
        }
        self.correct(load, &before, &mut report);
        report
    }

    fn walk<K: FlowKey>(
        &mut self,
        flows: &Flows<'_, K>,
        now_seen: u16,
        timeouts: Timeouts,
        report: &mut SweepReport,
    ) {
        let slot_words = Flows::<K>::slot_words();
        for words in flows.words().chunks_exact(slot_words) {
            let slot = Slot { words };
            let bits = slot.state_word().load(Ordering::Acquire);
            if bits == 0 {
                continue;
            }
            let word = FlowWord::from_bits(bits);
            if let Some(count) = overdue(word, now_seen, timeouts, report)
                && flows.change(slot, word, FlowWord::default())
            {
                *count += 1;
                continue;
            }
            // Again: a frame that came just now keeps the flow, and may have changed it.
            let word = FlowWord::from_bits(slot.state_word().load(Ordering::Acquire));
            if is_live(word.state) {
                self.count(slot, word, report, K::source_bits);
            }
        }
    }

    #[inline]
    fn count<W: Default + AsMut<[u64]>>(
        &mut self,
        slot: Slot<'_>,
        word: FlowWord,
        report: &mut SweepReport,
        source_bits: impl Fn(&W) -> u64,
    ) {
        let id = usize::from(word.backend);
        if id >= report.backends.len() {
            if id >= MAX_BACKENDS as usize {
                return;
            }
            report.backends.resize(id + 1, BackendFlows::default());
        }
        let backend = &mut report.backends[id];
        backend.counted += u64::from(word.flags & flag::COUNTED);
        match word.state {
            state::ESTABLISHED => {
                backend.sessions += 1;
                if id >= self.sources.len() {
                    self.sources.resize_with(id + 1, SourceSet::default);
                }
                self.sources[id].insert(source_bits(&slot.key_words()));
            }
            state::HALF_OPEN => backend.half_open += 1,
            _ => {}
        }
    }

    /// Two CPUs that see a flow's first frames at once each find no flow, and each make one. Frames
    /// follow the entry that is found first; the other would count in `LOAD` until it is idle.
    fn remove_duplicates<K: FlowKey>(&self, flows: &Flows<'_, K>, report: &mut SweepReport) {
        for bucket in (self.round..flows.bucket_count()).step_by(DUPLICATE_ROUND) {
            for slot in flows.slots(bucket) {
                let word = FlowWord::from_bits(slot.state_word().load(Ordering::Acquire));
                if !is_live(word.state) {
                    continue;
                }
                let words: K::Words = slot.key_words();
                let Some(word) = read(slot, &words, word.tag) else {
                    continue;
                };
                let hash = K::from_words(words).hash();
                let first = flows
                    .candidates(hash)
                    .find(|slot| read(*slot, &words, tag(hash)).is_some());
                let is_first = first.is_none_or(|first| std::ptr::eq(first.words, slot.words));
                if !is_first && flows.change(slot, word, FlowWord::default()) {
                    report.duplicates += 1;
                }
            }
        }
    }

    fn correct(&mut self, load: &[AtomicU64], before: &[u64], report: &mut SweepReport) {
        self.checks.resize(load.len(), LoadCheck::default());
        for (id, check) in (0_u16..).zip(&mut self.checks) {
            let after = &load[usize::from(id)];
            let counted = report.backend(id).counted;
            let difference = check.observe(
                counted,
                before[usize::from(id)],
                after.load(Ordering::Relaxed),
            );
            if difference != 0 {
                after.fetch_add(difference.cast_unsigned(), Ordering::Relaxed);
                report.corrections.push((id, difference));
            }
        }
    }
}

/// The counter of the reason for which a word is to be freed; `None` when it stays.
fn overdue(
    word: FlowWord,
    now_seen: u16,
    timeouts: Timeouts,
    report: &mut SweepReport,
) -> Option<&mut u64> {
    let idle = age(now_seen, word.seen);
    let limit = match word.state {
        state::CLAIMING => {
            return (idle >= STUCK_UNITS).then_some(&mut report.stuck_freed);
        }
        state::HALF_OPEN => timeouts.half_open,
        state::ESTABLISHED => timeouts.established,
        state::CLOSING => timeouts.closing,
        state::DOOMED => timeouts.doomed,
        _ => return Some(&mut report.impossible),
    };
    if u32::from(word.backend) >= MAX_BACKENDS {
        return Some(&mut report.impossible);
    }
    (idle > limit).then_some(&mut report.expired)
}

fn snapshot(load: &[AtomicU64]) -> Vec<u64> {
    load.iter()
        .map(|load| load.load(Ordering::Relaxed))
        .collect()
}
