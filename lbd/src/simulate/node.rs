//! A simulated mail box: sessions, a filter while they are open, and a queue behind them.
use std::collections::{HashMap, VecDeque};

use super::scenario::NodeSpec;

/// A session's index in the engine.
pub(super) type SessionId = usize;
/// A message's index in the run.
pub(super) type MessageId = usize;

/// Workers and who waits for one.
#[derive(Clone, Debug)]
struct Station<T> {
    workers: usize,
    busy: usize,
    waiting: VecDeque<T>,
}

impl<T> Station<T> {
    fn new(workers: usize) -> Self {
        Self {
            workers,
            busy: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Hands the job back when a worker is free for it now.
    fn enter(&mut self, job: T) -> Option<T> {
        if self.busy < self.workers {
            self.busy += 1;
            return Some(job);
        }
        self.waiting.push_back(job);
        None
    }

    /// A worker is done; the job that it takes next.
    fn leave(&mut self) -> Option<T> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.busy -= 1;
        }
        next
    }

    fn len(&self) -> usize {
        self.busy + self.waiting.len()
    }
}

/// How a box fails its sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fails {
    Not,
    /// At once.
    Fast,
    /// In the dialogue: they last as long as others that end before DATA.
    InDialogue,
}

/// A box at some time of a run.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) spec: NodeSpec,
    pub(super) filter_speed: f64,
    pub(super) delivery_speed: f64,
    pub(super) fails: Fails,
    /// What every session waits more for it, in seconds.
    pub(super) hold_s: f64,
    pub(super) stopped: bool,
    /// Runs at half speed until then, in nanoseconds.
    pub(super) cold_until_ns: u64,
    /// Counts stops: what was under way before one is void.
    pub(super) epoch: u32,
    accepting: Station<SessionId>,
    filtering: Station<SessionId>,
    delivering: Station<MessageId>,
    under_delivery: Vec<MessageId>,
    sources: HashMap<u32, u32>,
    open: usize,
    /// Sessions that ended since the last policy step, and the sum of their lifetimes.
    pub(super) completed: u64,
    /// What their clients sent, in bytes.
    pub(super) bytes: u64,
    pub(super) lifetimes_ns: u64,
    /// Messages that it took since the last policy step.
    pub(super) taken: u64,
    /// Messages that it delivered since it was made.
    pub(super) delivered_total: u64,
}

impl Node {
    pub(super) fn new(spec: NodeSpec) -> Self {
        Self {
            spec,
            filter_speed: spec.filter_speed,
            delivery_speed: spec.delivery_speed,
            fails: Fails::Not,
            hold_s: 0.0,
            stopped: false,
            cold_until_ns: 0,
            epoch: 0,
            accepting: Station::new(spec.max_sessions),
            filtering: Station::new(spec.filters),
            delivering: Station::new(spec.deliverers),
            under_delivery: Vec::new(),
            sources: HashMap::new(),
            open: 0,
            completed: 0,
            bytes: 0,
            taken: 0,
            delivered_total: 0,
            lifetimes_ns: 0,
        }
    }

    /// A connection arrives; it is handed back when the MTA accepts it at once.
    pub(super) fn connect(&mut self, session: SessionId, source: u32) -> Option<SessionId> {
        self.open += 1;
        *self.sources.entry(source).or_insert(0) += 1;
        self.accepting.enter(session)
    }

    /// A connection ended; the waiting one that is accepted in its place.
    pub(super) fn disconnect(
        &mut self,
        source: u32,
        lifetime_ns: u64,
        bytes: u64,
    ) -> Option<SessionId> {
        self.open -= 1;
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        self.completed += 1;
        self.bytes += bytes;
        self.lifetimes_ns += lifetime_ns;
        self.accepting.leave()
    }

    pub(super) fn filter(&mut self, session: SessionId) -> Option<SessionId> {
        self.filtering.enter(session)
    }

    pub(super) fn filtered(&mut self) -> Option<SessionId> {
        self.filtering.leave()
    }

    /// Queues a message; it is handed back when its delivery begins at once.
    pub(super) fn deliver(&mut self, message: MessageId) -> Option<MessageId> {
        self.taken += 1;
        if self.stopped {
            self.delivering.waiting.push_back(message);
            return None;
        }
        let begun = self.delivering.enter(message);
        self.under_delivery.extend(begun);
        begun
    }

    /// A message is delivered; the one whose delivery begins.
    pub(super) fn delivered(&mut self, message: MessageId) -> Option<MessageId> {
        self.delivered_total += 1;
        self.under_delivery.retain(|under| *under != message);
        let begun = self.delivering.leave();
        self.under_delivery.extend(begun);
        begun
    }

    /// Every connection breaks and no work is done; what is queued stays queued.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.epoch += 1;
        self.open = 0;
        self.sources.clear();
        self.accepting = Station::new(self.spec.max_sessions);
        self.filtering = Station::new(self.spec.filters);
        self.delivering.busy = 0;
        for message in self.under_delivery.drain(..) {
            self.delivering.waiting.push_front(message);
        }
    }

    /// The messages whose delivery begins as it starts.
    pub(super) fn start(&mut self, cold_until_ns: u64) -> Vec<MessageId> {
        self.stopped = false;
        self.cold_until_ns = cold_until_ns;
        let free = self.spec.deliverers.min(self.delivering.waiting.len());
        self.delivering.busy = free;
        self.under_delivery = self.delivering.waiting.drain(..free).collect();
        self.under_delivery.clone()
    }

    pub(super) fn speed(&self, at_full: f64, now_ns: u64) -> f64 {
        let cold = if now_ns < self.cold_until_ns {
            0.5
        } else {
            1.0
        };
        at_full * cold
    }

    /// Open connections, accepted or not.
    pub(super) fn sessions(&self) -> usize {
        self.open
    }

    pub(super) fn unique_sources(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn not_accepted(&self) -> usize {
        self.accepting.waiting.len()
    }

    pub(super) fn queued(&self) -> usize {
        self.delivering.len()
    }
}
