//! The shell of the history: what the event loop sees goes through the recorder to a thread, which
//! writes it into `node.state_dir` and tells the peers.
//!
//! Nothing waits for that thread: what it has no time for is counted and not kept.
mod counters;
mod thread;

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use tracing::error;

pub use self::counters::Counters;
use super::status::HistoryStatus;
use crate::{
    archive::{self, Bounds},
    channel::SenderId,
    config::Config,
    daemon::{
        clock,
        cluster::channel::{self, Teller},
        steering::{
            members::{Member, Members},
            weigher::Weigher,
        },
    },
    dataplane::DataPlane,
    history::{BackendNow, Message, Now, Recorder, Refusal, Row, Totals},
};
use lbd_common::counters::Reason;

/// Orders that may wait for the thread: those of a peer that sends a day, while the disk is slow.
const WAITING: usize = 4096;

/// What the thread should do.
#[derive(Debug)]
pub(in crate::daemon) enum Request {
    /// Keep these rows of this node, and tell the peers.
    Record(Vec<Row>),
    /// A peer says something.
    Heard { peer: SenderId, message: Message },
    /// A peer was heard for the first time in its present life.
    PeerJoined,
    /// Other bounds.
    Bounds(Bounds),
    /// Nothing more: the last order.
    End,
}

/// Hands orders to the thread, from any thread; never waits.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Hand {
    orders: mpsc::SyncSender<Request>,
    overrun: Arc<AtomicU64>,
}

impl Hand {
    /// The hand, and what the thread is started with.
    pub(in crate::daemon) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (orders, ordered) = mpsc::sync_channel(WAITING);
        let hand = Self {
            orders,
            overrun: Arc::default(),
        };
        (hand, ordered)
    }

    pub(in crate::daemon) fn give(&self, order: Request) {
        if self.orders.try_send(order).is_err() {
            self.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the thread knows, for people.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    counters: Counters,
    problem: Option<String>,
    used_bytes: u64,
    span: Option<(u32, u32)>,
}

/// The event loop's side.
#[derive(Debug)]
pub(in crate::daemon) struct Historian {
    recorder: Recorder,
    looked_unix_s: u64,
    hand: Option<Hand>,
    snapshot: Arc<Mutex<Snapshot>>,
    thread: Option<JoinHandle<()>>,
    file: String,
}

fn bounds(config: &Config) -> Bounds {
    let history = &config.node.history;
    Bounds {
        keep: history.keep,
        most_bytes: u64::from(history.megabytes) << 20,
    }
}

impl Historian {
    /// Starts the thread, which opens the file; a file that cannot be opened stops nothing.
    pub(in crate::daemon) fn start(
        config: &Config,
        (hand, ordered): (Hand, mpsc::Receiver<Request>),
        peers: Teller,
    ) -> io::Result<Self> {
        let path = config.node.state_dir.join(archive::FILE);
        let snapshot = Arc::default();
        let file = path.display().to_string();
        let node = &config.node.name;
        let thread = thread::Keeper::new(node, path, bounds(config), peers, Arc::clone(&snapshot))
            .spawn(ordered)?;
        Ok(Self {
            recorder: Recorder::new(node),
            looked_unix_s: 0,
            hand: Some(hand),
            snapshot,
            thread: Some(thread),
            file,
        })
    }

    fn give(&self, rows: Vec<Row>) {
        if let Some(hand) = self.hand.as_ref().filter(|_| !rows.is_empty()) {
            hand.give(Request::Record(rows));
        }
    }

    pub(in crate::daemon) fn happened(
        &mut self,
        unix_s: u64,
        kind: &str,
        subject: Option<&str>,
        text: &str,
        as_master: bool,
    ) {
        self.recorder
            .happened(unix_s, kind, subject, text, as_master);
    }

    /// The program denied these.
    pub(in crate::daemon) fn denied(&mut self, sources: &[(IpAddr, Refusal)]) {
        for (source, refusal) in sources {
            self.recorder.denied(*source, *refusal);
        }
    }

    /// A configuration's bounds from now on.
    pub(in crate::daemon) fn follow(&self, config: &Config) {
        if let Some(hand) = &self.hand {
            hand.give(Request::Bounds(bounds(config)));
        }
    }

    /// A peer has begun to talk.
    pub(in crate::daemon) fn peer_joined(&self) {
        if let Some(hand) = &self.hand {
            hand.give(Request::PeerJoined);
        }
    }

    /// As `lbd status` shows it.
    pub(in crate::daemon) fn status(&self) -> HistoryStatus {
        let snapshot = self.snapshot.lock();
        let snapshot = snapshot.unwrap_or_else(PoisonError::into_inner).clone();
        let overrun = self
            .hand
            .as_ref()
            .map_or(0, |hand| hand.overrun.load(Ordering::Relaxed));
        let counters = Counters {
            overrun,
            ..snapshot.counters
        };
        let span =
            |pick: fn((u32, u32)) -> u32| snapshot.span.map(pick).map(crate::history::begin_of);
        HistoryStatus {
            file: self.file.clone(),
            problem: snapshot.problem,
            used_bytes: snapshot.used_bytes,
            oldest_unix_s: span(|(oldest, _)| oldest),
            latest_unix_s: span(|(_, latest)| latest),
            counters: counters
                .iter()
                .map(|(name, count, _)| (name.to_owned(), count))
                .collect(),
        }
    }

    /// Looks at everything once a second.
    pub(in crate::daemon) fn look(
        &mut self,
        (plane, members, weigher): (&DataPlane, &Members, &Weigher),
        is_master: bool,
    ) {
        let unix_s = clock::unix_s();
        if self.looked_unix_s == unix_s {
            return;
        }
        self.looked_unix_s = unix_s;
        let now = now(unix_s, (plane, members, weigher), is_master);
        let rows = self.recorder.look(&now);
        self.give(rows);
    }

    /// Keeps what the last minute has so far, and ends the thread.
    pub(in crate::daemon) fn stop(mut self) {
        let rows = self.recorder.end();
        self.give(rows);
        // The channel's thread, which lives longer, has a hand too: the last one to go is not waited for.
        if let Some(hand) = self.hand.take() {
            let _ = hand.orders.send(Request::End);
        }
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            error!("the history thread stopped because of a bug in lbd; its last rows are lost");
        }
    }
}

/// What the recorder is shown.
fn now(
    unix_s: u64,
    (plane, members, weigher): (&DataPlane, &Members, &Weigher),
    is_master: bool,
) -> Now {
    let counters = plane.counters().unwrap_or_default();
    let steered: std::collections::HashMap<_, _> = plane
        .backend_stats()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let backend = |member: &Member| {
        let decision = weigher.decision(member.id);
        let steered = steered.get(&member.id).copied().unwrap_or_default();
        let answered = member.answered.as_ref();
        BackendNow {
            name: member.name.clone(),
            sessions: member.live.sessions,
            sources: member.live.unique_sources.unwrap_or(0),
            queued: answered.and_then(|(sample, _)| sample.queued),
            weight_permille: decision.map_or(0, |decision| decision.weight.0),
            accepting: decision.is_some_and(|decision| decision.accepting),
            reason: decision.map_or_else(String::new, |decision| decision.reason.kind()),
            opened: steered.connections,
            bytes: steered.bytes,
        }
    };
    Now {
        unix_s,
        is_master,
        backends: members.iter().map(backend).collect(),
        totals: Totals {
            denied: counters.get(Reason::DropDenied) + counters.get(Reason::ResetDenied),
            rate_limited: counters.get(Reason::DropRateLimited),
            turned_away: counters.get(Reason::ResetNoWeight)
                + counters.get(Reason::ResetFull)
                + counters.get(Reason::DropNoBackend),
            reset: counters.get(Reason::ResetDead),
        },
    }
}

/// A peer's word on history goes to the thread and not through the event loop.
pub(in crate::daemon) fn pass_on(hand: &Hand, event: channel::Event) -> Option<channel::Event> {
    match event {
        channel::Event::History { peer, message } => {
            hand.give(Request::Heard { peer, message });
            None
        }
        other => Some(other),
    }
}

/// Each counter's name and its sentence.
pub(in crate::daemon) fn terms() -> Vec<(&'static str, &'static str)> {
    Counters::default()
        .iter()
        .map(|(name, _, sentence)| (name, sentence))
        .collect()
}
