//! The thread that has the file.
use std::{
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tracing::{info, warn};

use super::{Counters, Request, Snapshot};
use crate::{
    archive::{Archive, ArchiveError, Bounds},
    channel::{HISTORY_BYTES, SenderId},
    daemon::{clock, cluster::channel::Teller, log_limiter::LogLimiter},
    history::{DAY, HOUR, Message, Row, minute_of, parts, sync},
};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(100);
/// How often peers are told the digests of the last two days, and of all that is kept.
const TELL_NS: u64 = 30_000_000_000;
const TELL_ALL_NS: u64 = 600_000_000_000;
/// How often the bounds are looked after.
const PRUNE_NS: u64 = 300_000_000_000;
/// A file that cannot be opened is tried again so often.
const RETRY_NS: u64 = 60_000_000_000;
/// How often `lbd status` hears of it.
const SHOW_NS: u64 = 500_000_000;
const BUSY_NS: u64 = 1_000_000_000;
/// Between two lines in the log about the same trouble.
const COMPLAINT_NS: u64 = 600_000_000_000;
/// Datagrams of rows that one question brings at most; the next comparison asks for the rest.
const ANSWER: usize = 384;
/// Minutes that the nodes' clocks may differ by.
const AHEAD: u32 = 10;

/// The file, and what is said to the peers about it.
pub(super) struct Keeper {
    node: String,
    path: PathBuf,
    bounds: Bounds,
    peers: Teller,
    archive: Option<Archive>,
    /// The first minute that is kept.
    oldest: u32,
    asking: sync::Asking<SenderId>,
    snapshot: Arc<Mutex<Snapshot>>,
    counters: Counters,
    problem: Option<String>,
    log: LogLimiter<()>,
    opened_ns: u64,
    pruned_ns: u64,
    told_ns: u64,
    told_all_ns: u64,
    shown_ns: u64,
}

impl Keeper {
    pub(super) fn new(
        node: &str,
        path: PathBuf,
        bounds: Bounds,
        peers: Teller,
        snapshot: Arc<Mutex<Snapshot>>,
    ) -> Self {
        Self {
            node: node.to_owned(),
            path,
            bounds,
            peers,
            archive: None,
            oldest: 0,
            asking: sync::Asking::default(),
            snapshot,
            counters: Counters::default(),
            problem: None,
            log: LogLimiter::default(),
            opened_ns: 0,
            pruned_ns: 0,
            told_ns: 0,
            told_all_ns: 0,
            shown_ns: 0,
        }
    }

    pub(super) fn spawn(self, orders: mpsc::Receiver<Request>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("lbd-history".into())
            .spawn(move || self.run(&orders))
    }

    fn run(mut self, orders: &mpsc::Receiver<Request>) {
        loop {
            match orders.recv_timeout(TICK) {
                Ok(order) => {
                    self.open_if_due();
                    if self.obey(order).is_break() {
                        return;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            self.tick();
        }
    }

    fn open_if_due(&mut self) {
        let now_ns = clock::boottime_ns();
        let waits = self.opened_ns != 0 && now_ns < self.opened_ns + RETRY_NS;
        if self.archive.is_some() || waits {
            return;
        }
        self.opened_ns = now_ns;
        match Archive::open(&self.path, self.bounds) {
            Ok((archive, aside)) => {
                if let Some(aside) = aside {
                    self.counters.files_damaged += 1;
                    warn!(
                        "the history was damaged and moved to {}; a new one was started, and the peers are asked for what was in it",
                        aside.display()
                    );
                }
                self.archive = Some(archive);
                self.problem = None;
                (self.pruned_ns, self.told_all_ns) = (0, 0);
            }
            Err(error) => {
                if error.is_busy() {
                    // Another process reads what the last daemon left: the next look is soon enough.
                    self.opened_ns = now_ns.saturating_sub(RETRY_NS - BUSY_NS);
                }
                self.trouble(&error);
            }
        }
    }

    fn tick(&mut self) {
        self.open_if_due();
        let now_ns = clock::boottime_ns();
        if self.archive.is_some() {
            if self.pruned_ns == 0 || now_ns >= self.pruned_ns + PRUNE_NS {
                self.pruned_ns = now_ns;
                self.prune();
            }
            let tells_all = self.told_all_ns == 0 || now_ns >= self.told_all_ns + TELL_ALL_NS;
            if tells_all || now_ns >= self.told_ns + TELL_NS {
                self.told_ns = now_ns;
                self.told_all_ns = if tells_all { now_ns } else { self.told_all_ns };
                self.tell_digests(tells_all);
            }
            if let Some((peer, question)) = self.asking.next(now_ns) {
                self.counters.gaps_asked_for += 1;
                self.peers.tell_history(Some(peer), question);
            }
        }
        if now_ns < self.shown_ns + SHOW_NS {
            return;
        }
        self.shown_ns = now_ns;
        let used_bytes = self.ask(Archive::used_bytes).unwrap_or(0);
        let span = self.ask(Archive::span).flatten();
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Snapshot {
            counters: self.counters,
            problem: self.problem.clone(),
            used_bytes,
            span,
        };
    }

    fn obey(&mut self, order: Request) -> ControlFlow<()> {
        match order {
            Request::Record(rows) => {
                // The peers first: they may have a disk with room.
                for message in parts(rows.iter().cloned(), HISTORY_BYTES) {
                    self.peers.tell_history(None, message);
                }
                if self.keep(&rows).is_some() {
                    self.counters.rows_recorded += rows.len() as u64;
                }
            }
            Request::Heard { peer, message } => self.heard(peer, message),
            Request::PeerJoined => self.told_all_ns = 0,
            Request::Bounds(bounds) => {
                if bounds != self.bounds {
                    self.bounds = bounds;
                    // Opened anew, which sets SQLite's own bound too.
                    (self.archive, self.opened_ns) = (None, 0);
                }
            }
            Request::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn keep(&mut self, rows: &[Row]) -> Option<usize> {
        let Some(archive) = &mut self.archive else {
            self.counters.rows_failed += rows.len() as u64;
            return None;
        };
        let mut written = archive.write(rows);
        if written.as_ref().is_err_and(ArchiveError::is_full) {
            // Its own bound, when a peer has sent many days: the oldest of them go.
            let now = minute_of(clock::unix_s());
            if let Ok(oldest) = archive.prune(self.bounds, now) {
                self.oldest = self.oldest.max(oldest);
                written = archive.write(rows);
            }
        }
        match written {
            Ok(changed) => {
                if let Some(problem) = self.problem.take() {
                    info!("the history is being written again, after: {problem}");
                }
                Some(changed)
            }
            Err(error) => {
                self.counters.rows_failed += rows.len() as u64;
                self.trouble(&error);
                None
            }
        }
    }

    fn ask<T>(&mut self, ask: impl FnOnce(&Archive) -> Result<T, ArchiveError>) -> Option<T> {
        match ask(self.archive.as_ref()?) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.trouble(&error);
                None
            }
        }
    }

    /// Says what is wrong, now and then. What is damaged is opened anew, which moves it aside.
    fn trouble(&mut self, error: &ArchiveError) {
        let mut said = format!("the history cannot be written: {error}");
        if error.is_full() {
            said.push_str(
                "; free disk space (sessions are still steered; figures from this time are lost here unless a peer has them)",
            );
        }
        if error.is_damage() {
            (self.archive, self.opened_ns) = (None, 0);
        }
        let now_ns = clock::boottime_ns();
        let is_news = self.problem.as_ref() != Some(&said);
        self.log.retain(|()| !is_news);
        if self.log.allows((), COMPLAINT_NS, now_ns) {
            warn!("{said}");
        }
        self.problem = Some(said);
    }

    fn prune(&mut self) {
        let (bounds, now) = (self.bounds, minute_of(clock::unix_s()));
        let Some(archive) = &mut self.archive else {
            return;
        };
        match archive.prune(bounds, now) {
            Ok(oldest) => self.oldest = self.oldest.max(oldest),
            Err(error) => self.trouble(&error),
        }
    }

    /// Tells the peers what is here of the last two days, or of all that is kept.
    fn tell_digests(&mut self, all: bool) {
        let now = minute_of(clock::unix_s());
        let (Some(span), last) = (self.ask(Archive::span).flatten(), now / DAY) else {
            return;
        };
        let first = if all {
            span.0.max(self.oldest) / DAY
        } else {
            last.saturating_sub(1)
        };
        for day in first..=last {
            let minutes = day * DAY..(day + 1) * DAY;
            let nodes = self.ask(|archive| archive.nodes(minutes.clone()));
            for node in nodes.unwrap_or_default() {
                if let Some(digests) = self.day(&node, day) {
                    let message = Message::Hours { node, day, digests };
                    self.peers.tell_history(None, message);
                }
            }
        }
    }

    fn day(&mut self, node: &str, day: u32) -> Option<Vec<u64>> {
        let first = day.checked_mul(DAY)?;
        let minutes = first..first.checked_add(DAY)?;
        let digests = self.ask(|archive| archive.digests(minutes, node))?;
        Some(sync::folded(first, HOUR, 24, digests))
    }

    fn hour(&mut self, node: &str, hour: u32) -> Option<Vec<u64>> {
        let first = hour.checked_mul(HOUR)?;
        let minutes = first..first.checked_add(HOUR)?;
        let digests = self.ask(|archive| archive.digests(minutes, node))?;
        Some(sync::folded(first, 1, 60, digests))
    }

    fn heard(&mut self, peer: SenderId, message: Message) {
        let now_ns = clock::boottime_ns();
        match message {
            Message::Rows(rows) => {
                self.asking.heard(&peer, now_ns);
                self.take_in(rows);
            }
            Message::Hours { node, day, digests } => {
                // What is not kept here cannot be compared, and would be asked for for ever.
                if self.problem.is_some() {
                    return;
                }
                if let Some(own) = self.day(&node, day) {
                    for hour in sync::differing_hours(day, &own, &digests, self.oldest) {
                        self.asking.want(&peer, &node, hour);
                    }
                }
            }
            Message::AskMinutes { node, hour } => {
                if let Some(digests) = self.hour(&node, hour) {
                    let answer = Message::Minutes {
                        node,
                        hour,
                        digests,
                    };
                    self.peers.tell_history(Some(peer), answer);
                }
            }
            Message::Minutes {
                node,
                hour,
                digests,
            } => {
                self.asking.heard(&peer, now_ns);
                let Some(own) = self.hour(&node, hour) else {
                    return;
                };
                let now = minute_of(clock::unix_s());
                let minutes = sync::differing_minutes(hour, &own, &digests, self.oldest, now);
                if minutes == 0 {
                    self.asking.done(&peer, &node, hour);
                } else {
                    let question = Message::AskRows {
                        node,
                        hour,
                        minutes,
                    };
                    self.peers.tell_history(Some(peer), question);
                }
            }
            Message::AskRows {
                node,
                hour,
                minutes,
            } => self.answer(peer, node, hour, minutes),
            Message::Done { node, hour } => self.asking.done(&peer, &node, hour),
        }
    }

    fn take_in(&mut self, rows: Vec<Row>) {
        let latest = minute_of(clock::unix_s()).saturating_add(AHEAD);
        let before = rows.len();
        let (oldest, own) = (self.oldest, &self.node);
        // This node's own rows of now are its own to tell; those of before it may have lost.
        let rows: Vec<Row> = rows
            .into_iter()
            .filter(|row| row.minute() <= latest)
            .collect();
        self.counters.rows_refused += (before - rows.len()) as u64;
        let kept: Vec<Row> = rows
            .into_iter()
            .filter(|row| row.minute() >= oldest)
            .filter(|row| row.node() != own || row.minute() < latest - AHEAD)
            .collect();
        if let Some(changed) = self.keep(&kept) {
            self.counters.rows_learned += changed as u64;
        }
    }

    fn answer(&mut self, peer: SenderId, node: String, hour: u32, minutes: u64) {
        let wanted: std::collections::BTreeSet<u32> = sync::minutes_of(hour, minutes).collect();
        let (Some(first), Some(last)) = (wanted.first().copied(), wanted.last().copied()) else {
            return;
        };
        let range = first..last.saturating_add(1);
        let Some(mut rows) = self.ask(|archive| archive.rows(range, Some(&node))) else {
            return;
        };
        rows.retain(|row| wanted.contains(&row.minute()));
        // Whole minutes, the oldest first: what is cut off is asked for with the next comparison.
        rows.sort_by_key(Row::minute);
        let mut messages = parts(rows, HISTORY_BYTES);
        messages.truncate(ANSWER);
        for message in messages {
            if let Message::Rows(rows) = &message {
                self.counters.rows_sent += rows.len() as u64;
            }
            self.peers.tell_history(Some(peer), message);
        }
        let done = Message::Done { node, hour };
        self.peers.tell_history(Some(peer), done);
    }
}
