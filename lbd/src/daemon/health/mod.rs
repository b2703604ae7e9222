//! Checks every backend's health, each in a task of its own.
//!
//! A check connects to the backend's own address, not to the VIP: it asks the box, not the way
//! through the balancer. Only changes are reported, so the logs stay quiet.

mod check;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::per_backend::{Jitter, PerBackend};
use crate::config::{self, Backend, Config};
use crate::policy::HealthState;
use crate::smtp::{Envelope, Health, RiseFall, Settings, Timeouts, Verdict};

/// A backend's health changed, or stayed what it is for another reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its name.
    pub backend: String,
    /// What it is now.
    pub state: HealthState,
    /// Why it is full or down.
    pub reason: Option<String>,
    /// When the check that decided it was over.
    pub at: Instant,
}

/// A backend to check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Its name.
    pub backend: String,
    /// Its own address, and the port that is checked.
    pub address: SocketAddr,
    /// What a check does.
    pub probe: Probe,
    /// How often; each time up to a tenth earlier or later.
    pub interval: Duration,
    /// For a whole check, from the connect on. QUIT and its answer may take a second more.
    pub timeout: Duration,
    /// Good checks in a row that make it healthy again.
    pub rise: u32,
    /// Bad checks in a row that make it dead.
    pub fall: u32,
}

/// What a check does once it is connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Probe {
    /// An SMTP dialogue.
    Smtp(Settings),
    /// Nothing: a connection is enough.
    Tcp,
    /// Not even a connection: it is always taken for healthy.
    Off,
}

/// The backends of a configuration.
#[must_use]
pub fn targets(config: &Config) -> Vec<Target> {
    let backends = config.cluster.backends();
    backends
        .map(|(_, backend)| target(config, backend))
        .collect()
}

fn target(config: &Config, backend: &Backend) -> Target {
    let health = &config.cluster.health;
    let port = health
        .port
        .or(backend.port)
        .or(config.cluster.ports.first().copied())
        .unwrap_or(25);
    let probe = match health.check {
        config::Check::Off => Probe::Off,
        config::Check::Tcp => Probe::Tcp,
        config::Check::Smtp => Probe::Smtp(Settings {
            helo: health.helo.clone().unwrap_or(config.node.name.clone()),
            starttls: health.starttls,
            probe: health.recipient.clone().map(|to| Envelope {
                from: String::new(),
                to,
            }),
            timeouts: Timeouts {
                banner: health.timeout,
                reply: health.timeout,
                ..Timeouts::default()
            },
        }),
    };
    Target {
        backend: backend.name.clone(),
        address: SocketAddr::new(backend.address, port),
        probe,
        interval: health.interval,
        timeout: health.timeout,
        rise: health.rise.into(),
        fall: health.fall.into(),
    }
}

/// The checking tasks. They end when this is dropped.
#[derive(Debug)]
pub struct Checkers<E> {
    events: mpsc::Sender<E>,
    tasks: PerBackend<Target>,
}

impl<E: From<Event> + Send + 'static> Checkers<E> {
    /// No task yet.
    #[must_use]
    pub fn new(events: mpsc::Sender<E>) -> Self {
        Self {
            events,
            tasks: PerBackend::new(),
        }
    }

    /// Checks these from now on. Who was checked in the same way before keeps its count and its
    /// rhythm; who is new or changed is decided by its next check. Call it within a tokio runtime.
    pub fn replace(&mut self, targets: impl IntoIterator<Item = Target>) {
        let named = targets
            .into_iter()
            .map(|target| (target.backend.clone(), target));
        self.tasks.replace(named, |_, target| {
            let task = check_on(target.clone(), self.events.clone());
            tokio::spawn(task).abort_handle()
        });
    }
}

async fn check_on<E: From<Event>>(target: Target, events: mpsc::Sender<E>) {
    let mut jitter = Jitter::new();
    let mut counter = RiseFall::new(target.rise, target.fall);
    let mut told = None;
    let mut at = tokio::time::Instant::now() + jitter.first(target.interval);
    loop {
        tokio::time::sleep_until(at).await;
        let verdict = check::check(&target).await;
        counter.observe(&verdict);
        let now = summary(counter.health(), &verdict);
        if now.is_some() && now != told {
            let event = Event {
                backend: target.backend.clone(),
                state: state(counter.health()),
                reason: now.clone().and_then(|(_, reason)| reason),
                at: Instant::now(),
            };
            if events.send(event.into()).await.is_err() {
                return;
            }
            told = now;
        }
        if target.probe == Probe::Off {
            return;
        }
        at = (at + jitter.next(target.interval)).max(tokio::time::Instant::now());
    }
}

/// What is worth telling: the health, and the reason of the last check if it agrees with it.
/// `None` while single checks disagree and are not believed yet.
fn summary(health: Health, verdict: &Verdict) -> Option<(Health, Option<String>)> {
    match (health, verdict) {
        (Health::Up, Verdict::Up) => Some((health, None)),
        (Health::Full, Verdict::Full { .. }) | (Health::Down, Verdict::Down(_)) => {
            Some((health, Some(verdict.to_string())))
        }
        _ => None,
    }
}

fn state(health: Health) -> HealthState {
    match health {
        Health::Unknown => HealthState::Unknown,
        Health::Up => HealthState::Up,
        Health::Full => HealthState::Full,
        Health::Down => HealthState::Down,
    }
}
