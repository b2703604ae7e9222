//! How long a virtual address was not served.
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{
    net::TcpSocket,
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::lab::Host;

/// Connects to a served address again and again, and notes each time that it is answered.
#[derive(Debug)]
pub struct Probe {
    answers: Arc<Mutex<Vec<Instant>>>,
    stop: watch::Sender<bool>,
    thread: thread::JoinHandle<io::Result<()>>,
}

impl Probe {
    /// Begins a connection to `target` every `gap`, from each of `sources` in turn, regardless of what became
    /// of the ones before.
    pub fn start(
        host: &Host,
        sources: Vec<IpAddr>,
        target: SocketAddr,
        gap: Duration,
    ) -> Result<Self> {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = watch::channel(false);
        let noted = Arc::clone(&answers);
        let thread = host.runtime(move || probe(sources, target, gap, noted, stopped))?;
        Ok(Self {
            answers,
            stop,
            thread,
        })
    }

    /// When connections were answered so far.
    #[must_use]
    pub fn answers(&self) -> Vec<Instant> {
        let answers = self.answers.lock();
        answers.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and returns when connections were answered.
    pub fn finish(self) -> Vec<Instant> {
        self.stop.send_replace(true);
        let Self {
            answers, thread, ..
        } = self;
        let _ = thread.join();
        let answers = answers.lock();
        answers.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn probe(
    sources: Vec<IpAddr>,
    target: SocketAddr,
    gap: Duration,
    answers: Arc<Mutex<Vec<Instant>>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(gap);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sources = sources.into_iter().cycle();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {
                let Some(source) = sources.next() else { return };
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    if connect(source, target).await.is_ok() {
                        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                        answers.push(Instant::now());
                    }
                });
            }
        }
    }
}

async fn connect(source: IpAddr, target: SocketAddr) -> io::Result<()> {
    let socket = match source {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(source, 0))?;
    let stream = socket.connect(target).await?;
    // Gone at once: a thousand closed probes must not linger in TIME-WAIT.
    stream.set_zero_linger()
}

/// The longest time between two neighbours of `moments` from `from` to `to`; None with fewer than two.
#[must_use]
pub fn longest_gap(moments: &[Instant], from: Instant, to: Instant) -> Option<Duration> {
    let within = moments.iter().filter(|at| (from..=to).contains(*at));
    let mut within: Vec<Instant> = within.copied().collect();
    within.sort_unstable();
    within.windows(2).map(|pair| pair[1] - pair[0]).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_between_neighbours_within_the_window() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let moments = [at(350), at(1), at(101), at(5000)];
        let gap = |from, to| longest_gap(&moments, at(from), at(to));
        assert_eq!(gap(0, 1000), Some(Duration::from_millis(249)));
        assert_eq!(gap(0, 200), Some(Duration::from_millis(100)));
        assert_eq!(gap(200, 1000), None);
    }
}
