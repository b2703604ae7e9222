//! Asks every backend for its figures, each in a task of its own, so that none waits for another.
//!
//! What a task finds is sent as an [`Event`]; what to make of it is the receiver's affair.

mod command;
mod error;
mod http;
mod line;
mod source;
mod supervise;
#[cfg(test)]
mod tests;

pub(in crate::daemon) use command::hook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub use error::PollError;
pub use source::{Source, SourceError};

use super::per_backend::{Jitter, PerBackend};
use crate::agent::Agent;
use crate::config::Config;
use crate::stats::{
    Sample, agent_check, command as command_output, http_json, own_json, prometheus,
};

/// One backend was asked.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub backend: String,
    /// Its figures, or why there are none.
    pub result: Result<Sample, PollError>,
    /// When the answer was complete, or given up.
    pub at: Instant,
}

/// A backend to ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name; an agent that answers by another is refused.
    pub backend: String,
    /// How.
    pub source: Source,
    /// How often; each time up to a tenth earlier or later.
    pub interval: Duration,
    /// How long one answer may take, from the connect on.
    pub timeout: Duration,
}

/// The backends of a configuration. Those that give no figures (`none`) are left out; this box's
/// own, if it is asked by lbd's format, is measured by `own` without a connection.
#[must_use]
pub fn targets(config: &Config, own: &Agent) -> Vec<Target> {
    let stats = &config.cluster.stats;
    let backends = config.cluster.backends();
    backends
        .filter_map(|(_, backend)| {
            Some(Target {
                backend: backend.name.clone(),
                source: Source::of(config, backend, own)?,
                interval: stats.interval,
                timeout: stats.timeout,
            })
        })
        .collect()
}

/// How many polls failed, by backend and [`PollError::kind`].
pub type Failures = BTreeMap<(String, &'static str), u64>;

/// The polling tasks. They end when this is dropped.
#[derive(Debug)]
pub struct Pollers<E> {
    events: mpsc::Sender<E>,
    tasks: PerBackend<Target>,
    failures: Arc<Mutex<Failures>>,
}

impl<E: From<Event> + Send + 'static> Pollers<E> {
    /// No task yet. A receiver that is slow delays only the task that has something to say.
    #[must_use]
    pub fn new(events: mpsc::Sender<E>) -> Self {
        Self {
            events,
            tasks: PerBackend::new(),
            failures: Arc::default(),
        }
    }

    /// Asks these from now on. Who was asked in the same way before keeps its rhythm. Call it
    /// within a tokio runtime.
    pub fn replace(&mut self, targets: impl IntoIterator<Item = Target>) {
        let named = targets
            .into_iter()
            .map(|target| (target.backend.clone(), target));
        self.tasks.replace(named, |_, target| {
            let failures = Arc::clone(&self.failures);
            let task = poll_on(target.clone(), self.events.clone(), failures);
            tokio::spawn(task).abort_handle()
        });
    }

    /// Failed polls since the start, each counted once.
    #[must_use]
    pub fn failures(&self) -> Failures {
        lock(&self.failures).clone()
    }
}

fn lock(failures: &Mutex<Failures>) -> std::sync::MutexGuard<'_, Failures> {
    // A count is whole at any moment, whoever panicked.
    failures.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn poll_on<E: From<Event>>(
    target: Target,
    events: mpsc::Sender<E>,
    failures: Arc<Mutex<Failures>>,
) {
    let mut jitter = Jitter::new();
    let mut memory = agent_check::Memory::default();
    // The jitter is around a beat that all backends share, so that a round of polls stays one: the
    // policy waits for the last answer of each.
    let mut beat = tokio::time::Instant::now();
    let mut at = beat + jitter.first(target.interval);
    loop {
        tokio::time::sleep_until(at).await;
        let result = poll(&target, &mut memory).await;
        if let Err(error) = &result {
            let key = (target.backend.clone(), error.kind());
            *lock(&failures).entry(key).or_default() += 1;
        }
        let event = Event {
            backend: target.backend.clone(),
            result,
            at: Instant::now(),
        };
        if events.send(event.into()).await.is_err() {
            return;
        }
        at = beat + jitter.next(target.interval);
        beat += target.interval;
        // After a suspend or a slow receiver: no burst to make up for it.
        let now = tokio::time::Instant::now();
        if at < now {
            (at, beat) = (now, now);
        }
    }
}

/// Asks once.
async fn poll(target: &Target, memory: &mut agent_check::Memory) -> Result<Sample, PollError> {
    let answer = ask(target, memory);
    let in_time = tokio::time::timeout(target.timeout, answer).await;
    in_time.unwrap_or(Err(PollError::TimedOut {
        after: target.timeout,
    }))
}

async fn ask(target: &Target, memory: &mut agent_check::Memory) -> Result<Sample, PollError> {
    Ok(match &target.source {
        Source::Own(agent) => agent.report().await?.sample,
        Source::Lbd(page) => own_json::parse(&http::get(page).await?, &target.backend)?,
        Source::HttpJson { page, pointers } => http_json::parse(&http::get(page).await?, pointers)?,
        Source::Prometheus { page, selectors } => {
            prometheus::parse(&http::get(page).await?, selectors)?
        }
        Source::AgentCheck(address) => {
            memory.apply(agent_check::parse(&line::read(*address).await?)?)
        }
        Source::Command(command) => command_output::parse(&command::run(command).await?, memory)?,
        Source::Invalid(error) => return Err(error.clone().into()),
    })
}
