//! Senders: sessions from many addresses, short and long, of both families, with FIN and RST.
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    client::{self, Close, Session},
    tally::Tally,
};
use crate::lab::{Host, addresses};

/// How long open sessions may go on after the last one was begun.
const FAREWELL: Duration = Duration::from_secs(30);

/// The senders; they end with [`Self::begin_no_more`].
#[derive(Debug)]
pub struct Traffic {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    thread: thread::JoinHandle<std::io::Result<()>>,
}

impl Traffic {
    /// Begins `per_second` sessions a second from the addresses of `host`.
    pub fn start(host: &Host, per_second: u32) -> Result<Self> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (stop, stopped) = watch::channel(false);
        let (sender, shared) = (host.clone(), Arc::clone(&tally));
        let thread = host.runtime(move || send(sender, per_second, shared, stopped))?;
        Ok(Self {
            tally,
            stop,
            thread,
        })
    }

    /// What became of the sessions so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Starts no new sessions; open ones continue.
    pub fn begin_no_more(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the last session has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    // Counts are as good after a panic as before it.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send(
    host: Host,
    per_second: u32,
    tally: Arc<Mutex<Tally>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sessions = JoinSet::new();
    let mut nth = 0;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {
                let (session, tally) = (session(&host, nth), Arc::clone(&tally));
                nth += 1;
                lock(&tally).started += 1;
                sessions.spawn(async move {
                    let begun = Instant::now();
                    let outcome = client::run(&session).await;
                    lock(&tally).end(begun, Instant::now(), &outcome);
                });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
    let _ = timeout(FAREWELL, sessions.join_all()).await;
}

/// The `nth` session: kinds alternate, with periods that have no common factor.
fn session(host: &Host, nth: usize) -> Session {
    // A stride prime to any number of addresses that is not its multiple visits all of them.
    let source = nth.wrapping_mul(7919) % host.addresses4.len();
    let source: IpAddr = if nth.is_multiple_of(2) {
        host.addresses4[source].into()
    } else {
        host.addresses6[source].into()
    };
    let target = SocketAddr::new(addresses::vip_like(source), 25);
    let mut session = Session::new(source, target);
    if nth.is_multiple_of(3) {
        session.close = Close::Rst;
    }
    if nth.is_multiple_of(5) {
        // A sender with several messages for us keeps its connection.
        session.messages = 4;
        session.pause = Duration::from_millis(300);
    }
    session
}
