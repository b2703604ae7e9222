//! The walk over all flows: expires, counts, repairs.
use std::sync::atomic::{AtomicU64, Ordering};

use lbd_common::{
    flow::{FlowWord, ON_ITS_WAY_UNITS, age, flag, is_live, state, tag},
    maps::MAX_BACKENDS,
    sign::service_bit,
};

use super::{
    key::FlowKey,
    load::LoadCheck,
    sources::SourceSet,
    table::{Flows, Flows4, Flows6, Slot, read},
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
    /// The client has, and no box has confirmed the session; the backend's box tells of its sessions.
    pub unproven: u16,
    /// Likewise, where the box tells nothing: the server may be slow with its greeting.
    pub unproven_silent: u16,
    /// An open session, also one whose client seems to have ended it.
    pub established: u16,
    /// Its box has ended it; trailing frames still follow.
    pub ended: u16,
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
            unproven: units(30),
            // RFC 5321 section 4.5.3.2.1: a client waits for the greeting for 5 minutes.
            unproven_silent: units(300),
            ended: units(10),
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
    /// Sessions that count: the proven ones, and those whose client has answered just now.
    pub sessions: u64,
    /// Those of them that are proven.
    pub proven: u64,
    /// Flows whose client has not answered yet.
    pub half_open: u64,
    /// Different addresses among the clients of [`Self::sessions`]: see [`SourceSet`] for how exact.
    pub unique_sources: u64,
    /// Different addresses among the clients of [`Self::proven`].
    pub proven_sources: u64,
    /// Established flows, also those that the backend's own figure leaves no room for.
    pub established: u64,
    /// Flows that count in `LOAD`.
    counted: u64,
}

/// A service's flows, as of a sweep.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServiceFlows {
    /// The proven sessions.
    pub sessions: u64,
    /// Different addresses among their clients.
    pub unique_sources: u64,
}

/// How many flows of each state there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StateCounts {
    /// A SYN was steered.
    pub half_open: u64,
    /// The client has answered, and no box has confirmed it.
    pub unproven: u64,
    /// Confirmed.
    pub established: u64,
    /// Confirmed, and its client seems to have ended it.
    pub closing: u64,
    /// Ended by its box.
    pub ended: u64,
    /// Denied or dead.
    pub doomed: u64,
}

impl StateCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.of_strangers() + self.established + self.closing + self.ended + self.doomed
    }

    /// Those that a stranger can have made with two frames.
    pub fn of_strangers(&self) -> u64 {
        self.half_open + self.unproven
    }

    fn count(&mut self, state: u8) {
        match state {
            state::HALF_OPEN => self.half_open += 1,
            state::UNPROVEN => self.unproven += 1,
            state::ESTABLISHED => self.established += 1,
            state::CLOSING => self.closing += 1,
            state::ENDED => self.ended += 1,
            _ => self.doomed += 1,
        }
    }
}

/// What a sweep found and did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SweepReport {
    /// By backend id; ids beyond the end have no flow.
    pub backends: Vec<BackendFlows>,
    /// In the order of [`Sweeper::services`].
    pub services: Vec<ServiceFlows>,
    /// The IPv4 flows by state.
    pub states4: StateCounts,
    /// The IPv6 flows by state.
    pub states6: StateCounts,
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
    /// By backend id: the services of whose sessions its box tells, by [`service_bit`].
    pub speaks: Vec<u64>,
    /// By backend id: how many of the established flows are more than the backend has sessions, by its
    /// own figure, and so do not count. Only asked where the box does not tell of its sessions.
    pub excess: Vec<u64>,
    /// The ids of the services that are counted apart, sorted.
    pub services: Vec<u16>,
    /// What is left of `excess` in this sweep.
    uncounted: Vec<u64>,
    sources: Vec<SourceSet>,
    proven: Vec<SourceSet>,
    of_services: Vec<SourceSet>,
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
        let mut report = SweepReport {
            services: vec![ServiceFlows::default(); self.services.len()],
            ..SweepReport::default()
        };
        let sets = self.sources.iter_mut().chain(&mut self.proven);
        sets.chain(&mut self.of_services).for_each(SourceSet::clear);
        self.uncounted.clone_from(&self.excess);
        report.states4 = self.walk(v4, now_seen, timeouts, &mut report);
        report.states6 = self.walk(v6, now_seen, timeouts, &mut report);
        self.remove_duplicates(v4, &mut report);
        self.remove_duplicates(v6, &mut report);
        self.round = (self.round + 1) % DUPLICATE_ROUND;
        for (backend, sources) in report.backends.iter_mut().zip(&self.sources) {
            if backend.sessions != 0 {
                backend.unique_sources = sources.len();
            }
        }
        for (backend, sources) in report.backends.iter_mut().zip(&self.proven) {
            if backend.proven != 0 {
                backend.proven_sources = sources.len();
            }
        }
        for (service, sources) in report.services.iter_mut().zip(&self.of_services) {
            if service.sessions != 0 {
                service.unique_sources = sources.len();
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
    ) -> StateCounts {
        let slot_words = Flows::<K>::slot_words();
        let mut states = StateCounts::default();
        for words in flows.words().chunks_exact(slot_words) {
            let slot = Slot { words };
            let bits = slot.state_word().load(Ordering::Acquire);
            if bits == 0 {
                continue;
            }
            let word = FlowWord::from_bits(bits);
            let speaks = self.speaks_of::<K>(slot, word.backend);
            if let Some(count) = overdue(word, now_seen, timeouts, speaks, report)
                && flows.change(slot, word, FlowWord::default())
            {
                *count += 1;
                continue;
            }
            if is_on_its_way_no_longer(word, now_seen) {
                let uncounted = FlowWord {
                    flags: word.flags & !flag::COUNTED,
                    ..word
                };
                // A change in between is newer than what the sweep saw.
                flows.change(slot, word, uncounted);
            }
            self.hold_to_figure(flows, slot, word, speaks);
            // Again: a frame that came just now keeps the flow, and may have changed it.
            let word = FlowWord::from_bits(slot.state_word().load(Ordering::Acquire));
            if is_live(word.state) {
                states.count(word.state);
                self.count::<K>(slot, word, report);
            }
        }
        states
    }

    /// Whether the box of a flow's backend tells of the sessions of its service.
    #[inline]
    fn speaks_of<K: FlowKey>(&self, slot: Slot<'_>, backend: u16) -> bool {
        match self.speaks.get(usize::from(backend)) {
            None | Some(0) => false,
            Some(&u64::MAX) => true,
            Some(services) => {
                let key = K::from_words(slot.key_words());
                services & service_bit(key.vip_id()) != 0
            }
        }
    }

    /// Who sends five frames makes an established flow with a backend that tells nothing. In sum they count
    /// for no more than the backend says that it has; which of them count makes no difference to `LOAD`.
    #[inline]
    fn hold_to_figure<K: FlowKey>(
        &mut self,
        flows: &Flows<'_, K>,
        slot: Slot<'_>,
        word: FlowWord,
        speaks: bool,
    ) {
        if word.state != state::ESTABLISHED {
            return;
        }
        let left = self.uncounted.get_mut(usize::from(word.backend));
        let counts = match left {
            Some(left) if !speaks && *left > 0 => {
                *left -= 1;
                0
            }
            _ => flag::COUNTED,
        };
        if word.flags & flag::COUNTED != counts {
            let flags = word.flags & !flag::COUNTED | counts;
            // The next sweep sees to one that changed in between.
            flows.change(slot, word, FlowWord { flags, ..word });
        }
    }

    #[inline]
    fn count<K: FlowKey>(&mut self, slot: Slot<'_>, word: FlowWord, report: &mut SweepReport) {
        let id = usize::from(word.backend);
        if id >= report.backends.len() {
            if id >= MAX_BACKENDS as usize {
                return;
            }
            report.backends.resize(id + 1, BackendFlows::default());
        }
        let backend = &mut report.backends[id];
        match word.state {
            state::HALF_OPEN => backend.half_open += 1,
            state::ESTABLISHED => backend.established += 1,
            _ => {}
        }
        if word.flags & flag::COUNTED == 0 {
            return;
        }
        backend.counted += 1;
        let is_proven = match word.state {
            state::UNPROVEN => false,
            state::ESTABLISHED | state::CLOSING => true,
            _ => return,
        };
        backend.sessions += 1;
        let words = slot.key_words();
        let source = K::source_bits(&words);
        add(&mut self.sources, id, source);
        if is_proven {
            backend.proven += 1;
            add(&mut self.proven, id, source);
            let service = K::from_words(words).vip_id();
            if let Ok(place) = self.services.binary_search(&service) {
                report.services[place].sessions += 1;
                add(&mut self.of_services, place, source);
            }
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
            let BackendFlows {
                counted, proven, ..
            } = report.backend(id);
            let difference = check.observe(
                counted,
                counted.saturating_sub(proven),
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

fn add(sets: &mut Vec<SourceSet>, id: usize, source: u64) {
    if id >= sets.len() {
        sets.resize_with(id + 1, SourceSet::default);
    }
    sets[id].insert(source);
}

/// Whether a flow that nothing has proven counts, and has had its time.
fn is_on_its_way_no_longer(word: FlowWord, now_seen: u16) -> bool {
    matches!(word.state, state::HALF_OPEN | state::UNPROVEN)
        && word.flags & flag::COUNTED != 0
        && age(now_seen, word.seen) >= ON_ITS_WAY_UNITS
}

/// The counter of the reason to free a word; `None` when it stays.
fn overdue(
    word: FlowWord,
    now_seen: u16,
    timeouts: Timeouts,
    speaks: bool,
    report: &mut SweepReport,
) -> Option<&mut u64> {
    let idle = age(now_seen, word.seen);
    let limit = match word.state {
        state::CLAIMING => {
            return (idle >= STUCK_UNITS).then_some(&mut report.stuck_freed);
        }
        state::HALF_OPEN => timeouts.half_open,
        // Its client has said that it is over, and its box has not said that it began.
        state::UNPROVEN if speaks || word.flags & flag::CLIENT_ENDED != 0 => timeouts.unproven,
        state::UNPROVEN => timeouts.unproven_silent,
        state::ESTABLISHED | state::CLOSING => timeouts.established,
        state::ENDED => timeouts.ended,
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
