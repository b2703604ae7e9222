//! New sessions at a steady rate, each with what became of it and how long that took.
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    lab::Host,
    smtp::client::{self, Outcome, Session},
};

/// How long one session may take: as much as a patient sender's connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// When it was begun.
    pub began: Instant,
    /// How long it took, from the SYN to QUIT's answer or the failure.
    pub took: Duration,
    /// By whom it was served; else what became of it.
    pub outcome: Result<String, String>,
}

/// What the death of a box, or anything else at one moment, has cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// From the cut until another box was master; nothing where the master lives.
    pub takeover: Duration,
    /// Sessions begun after the cut.
    pub new: usize,
    /// Those of them that failed.
    pub failed: Vec<Ended>,
    /// The longest of those that were served, beyond the time until the takeover.
    pub slowest_beyond: Duration,
    /// Those that took longer than 3 s beyond it.
    pub slow: usize,
    /// From the cut until the last session was begun that failed or took longer than 1 s.
    pub until_well: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "takeover after {:.2} s; of {} new sessions {} failed, {} took longer than 3 s beyond it, the \
             slowest {:.2} s; all was well {:.1} s after the cut",
            self.takeover.as_secs_f64(),
            self.new,
            self.failed.len(),
            self.slow,
            self.slowest_beyond.as_secs_f64(),
            self.until_well.as_secs_f64()
        )
    }
}

impl Cost {
    /// Of all that have ended, what was begun after `cut`; from `master` on it could be served.
    #[must_use]
    pub fn of(ended: &[Ended], cut: Instant, master: Instant) -> Self {
        let takeover = master.saturating_duration_since(cut);
        let new = || ended.iter().filter(|ended| ended.began >= cut);
        // Before the takeover no box could have served it.
        let beyond = |ended: &Ended| {
            let end = ended.began + ended.took;
            end.saturating_duration_since(ended.began.max(master))
        };
        let is_well = |ended: &Ended| ended.outcome.is_ok() && ended.took < Duration::from_secs(1);
        let served = || new().filter(|ended| ended.outcome.is_ok());
        let last_bad = new()
            .filter(|ended| !is_well(ended))
            .map(|ended| ended.began);
        Self {
            takeover,
            new: new().count(),
            failed: new()
                .filter(|ended| ended.outcome.is_err())
                .cloned()
                .collect(),
            slowest_beyond: served().map(beyond).max().unwrap_or_default(),
            slow: served()
                .filter(|ended| beyond(ended) > Duration::from_secs(3))
                .count(),
            until_well: last_bad.max().map_or(Duration::ZERO, |last| last - cut),
        }
    }
}

/// The sender; it ends with [`Self::finish`].
#[derive(Debug)]
pub struct Steady {
    ended: Arc<Mutex<Vec<Ended>>>,
    stop: watch::Sender<bool>,
    thread: thread::JoinHandle<io::Result<()>>,
}

impl Steady {
    /// Begins `per_second` sessions a second to `target`, from each of `sources` in turn.
    pub fn start(
        host: &Host,
        sources: Vec<IpAddr>,
        target: SocketAddr,
        per_second: u32,
    ) -> Result<Self> {
        let ended = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let into = Arc::clone(&ended);
        let thread = host.runtime(move || send(sources, target, per_second, into, stopped))?;
        Ok(Self {
            ended,
            stop,
            thread,
        })
    }

    /// How many were served so far.
    #[must_use]
    pub fn served(&self) -> usize {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().filter(|ended| ended.outcome.is_ok()).count()
    }

    /// Starts no new ones, waits for those that are open, and returns all.
    #[must_use]
    pub fn finish(self) -> Vec<Ended> {
        self.stop.send_replace(true);
        let _ = self.thread.join();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.clone()
    }
}

async fn send(
    sources: Vec<IpAddr>,
    target: SocketAddr,
    per_second: u32,
    into: Arc<Mutex<Vec<Ended>>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sources = sources.into_iter().cycle();
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {
                let Some(source) = sources.next() else { return };
                let session = Session {
                    patience: PATIENCE,
                    ..Session::new(source, target)
                };
                let into = Arc::clone(&into);
                sessions.spawn(async move {
                    let began = Instant::now();
                    let outcome = match client::run(&session).await {
                        Outcome::Served { by, .. } => Ok(by),
                        other => Err(other.to_string()),
                    };
                    let took = began.elapsed();
                    let mut ended = into.lock().unwrap_or_else(PoisonError::into_inner);
                    ended.push(Ended { began, took, outcome });
                });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
    let _ = sessions.join_all().await;
}
