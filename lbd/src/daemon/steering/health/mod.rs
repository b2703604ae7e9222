//! Checks every backend's health, each in a task of its own.
//!
//! A check connects to the backend's own address, not to the VIP: it asks the box, not the way
//! through the balancer. Only changes are reported, so the logs stay quiet.

mod check;
mod outside;
mod pulse;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use self::outside::Outside;
use super::per_backend::{Jitter, PerBackend};
use crate::{
    config::{self, Backend, Config},
    daemon::clock,
    policy::HealthState,
    smtp::{Envelope, Health, NoConnection, RiseFall, Settings, Timeouts, Tls, Verdict},
};
use check::Stack;
use pulse::Pulses;

/// What the checks have found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A backend's health changed, or stayed what it is for another reason.
    Changed(Change),
    /// The backend of this name has not answered a connection's first packet within a second.
    Silent(String),
    /// The stack of the backend of this name has answered, after a silence or after
    /// [`Checkers::ask`].
    Answered(String),
}

/// A backend's health.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its name.
    pub backend: String,
    /// What it is now.
    pub state: HealthState,
    /// Why it is not up.
    pub reason: Option<String>,
    /// When the first of the bad checks in a row began that led to it, in nanoseconds since boot.
    pub failing_since_ns: u64,
}

/// A backend to check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Its name.
    pub backend: String,
    /// Its own address, and the port that is checked.
    pub address: SocketAddr,
    /// It is this box.
    pub is_local: bool,
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
            tls: match health.tls_on(port) {
                config::HealthTls::Implicit => Tls::Implicit,
                config::HealthTls::StartTls => Tls::StartTls,
                config::HealthTls::Off => Tls::Off,
            },
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
        is_local: backend.name == config.node.name,
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
    pulses: Pulses<E>,
    outside: Arc<Outside>,
    /// Changes when all that was found out is in doubt.
    doubts: watch::Sender<u64>,
}

impl<E: From<Event> + Send + 'static> Checkers<E> {
    /// No task yet.
    #[must_use]
    pub fn new(events: mpsc::Sender<E>) -> Self {
        Self {
            pulses: Pulses::new(events.clone()),
            events,
            tasks: PerBackend::new(),
            outside: Arc::default(),
            doubts: watch::Sender::new(0),
        }
    }

    /// Checks these from now on. Who was checked in the same way before keeps its count and its
    /// rhythm; who is new or changed is decided by its next check. Call it within a tokio runtime.
    pub fn replace(&mut self, targets: impl IntoIterator<Item = Target>) {
        let targets: Vec<Target> = targets.into_iter().collect();
        let slowest = targets.iter().map(|target| target.interval).max();
        self.outside.expect_every(slowest.unwrap_or_default());
        self.pulses.know(&targets);
        let named = targets
            .into_iter()
            .map(|target| (target.backend.clone(), target));
        self.tasks.replace(named, |_, target| {
            let checker = Checker {
                target: target.clone(),
                events: self.events.clone(),
                outside: Arc::clone(&self.outside),
                doubts: self.doubts.subscribe(),
            };
            tokio::spawn(checker.run()).abort_handle()
        });
    }

    /// Asks the backend of this name for a sign of life at once, and again until there is one:
    /// [`Event::Answered`] follows. Call it within a tokio runtime.
    pub fn ask(&mut self, backend: &str) {
        self.pulses.ask(backend);
    }

    /// What was found out may have been this box's own fault: every backend is checked anew at once, and
    /// a death has to be seen again before it counts.
    pub fn doubt(&self) {
        self.doubts.send_modify(|doubts| *doubts += 1);
    }

    /// Where it is noted that other boxes were heard.
    #[must_use]
    pub fn outside(&self) -> Arc<Outside> {
        Arc::clone(&self.outside)
    }
}

/// The task of one backend.
struct Checker<E> {
    target: Target,
    events: mpsc::Sender<E>,
    outside: Arc<Outside>,
    doubts: watch::Receiver<u64>,
}

impl<E: From<Event>> Checker<E> {
    async fn run(mut self) {
        let mut jitter = Jitter::new();
        let mut counter = RiseFall::new(self.target.rise, self.target.fall);
        let mut told = None;
        let mut is_silent = false;
        let mut failing_since_ns = None;
        let mut at = Instant::now() + jitter.first(self.target.interval);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                doubted = self.doubts.changed() => {
                    if doubted.is_err() {
                        return;
                    }
                    counter.doubt();
                    (told, failing_since_ns) = (None, None);
                }
            }
            let began_ns = clock::boottime_ns();
            let verdict = self.check(&mut is_silent).await;
            // One that began before a doubt is of no use; the doubt wakes this task again at once.
            let is_doubted = self.doubts.has_changed().unwrap_or(true);
            if !is_doubted && self.is_believed(&verdict, began_ns) {
                counter.observe(&verdict);
                failing_since_ns = match verdict {
                    Verdict::NotServing(_) | Verdict::Dead(_) => {
                        failing_since_ns.or(Some(began_ns))
                    }
                    Verdict::Up | Verdict::Full { .. } => None,
                };
                let now = summary(counter.health(), &verdict);
                if now.is_some() && now != told {
                    let change = Change {
                        backend: self.target.backend.clone(),
                        state: state(counter.health()),
                        reason: now.clone().and_then(|(_, reason)| reason),
                        failing_since_ns: failing_since_ns.unwrap_or(began_ns),
                    };
                    if !self.tell(Event::Changed(change)).await {
                        return;
                    }
                    told = now;
                }
            }
            if self.target.probe == Probe::Off {
                return;
            }
            at = (at + jitter.next(self.target.interval)).max(Instant::now());
        }
    }

    /// One check, which tells at once when the backend's stack falls silent and when it answers again.
    async fn check(&self, is_silent: &mut bool) -> Verdict {
        let (heard, mut hearing) = mpsc::unbounded_channel();
        let check = check::check(&self.target, move |stack| {
            let _ = heard.send(stack);
        });
        let tell = async {
            while let Some(stack) = hearing.recv().await {
                if stack == Stack::Answered && !self.target.is_local {
                    self.outside.note(clock::boottime_ns());
                }
                let was_silent = std::mem::replace(is_silent, stack == Stack::Silent);
                let name = self.target.backend.clone();
                match (was_silent, *is_silent) {
                    (false, true) => drop(self.tell(Event::Silent(name)).await),
                    (true, false) => drop(self.tell(Event::Answered(name)).await),
                    _ => {}
                }
            }
        };
        futures_util::future::join(check, tell).await.0
    }

    /// Whether a verdict says something about the backend. When this box hears nothing at all, that
    /// one more does not answer says something of this box.
    fn is_believed(&self, verdict: &Verdict, began_ns: u64) -> bool {
        let is_silence = matches!(verdict, Verdict::Dead(NoConnection::Silent(_)));
        let vouched = || self.outside.vouches(began_ns, clock::boottime_ns());
        !is_silence || self.target.is_local || vouched()
    }

    async fn tell(&self, event: Event) -> bool {
        self.events.send(event.into()).await.is_ok()
    }
}

/// What is worth telling: the health, and the reason of the last check if it agrees with it.
/// `None` while single checks disagree and are not believed yet.
fn summary(health: Health, verdict: &Verdict) -> Option<(Health, Option<String>)> {
    match (health, verdict) {
        (Health::Up, Verdict::Up) => Some((health, None)),
        (Health::Full, Verdict::Full { .. })
        | (Health::NotServing, Verdict::NotServing(_) | Verdict::Dead(_))
        | (Health::Down, Verdict::Dead(_)) => Some((health, Some(verdict.to_string()))),
        // It was dead a moment ago.
        (Health::NotServing, Verdict::Up) => {
            let rising = "it answers again, and has to do so some times in a row (health.rise)";
            Some((health, Some(rising.to_owned())))
        }
        _ => None,
    }
}

fn state(health: Health) -> HealthState {
    match health {
        Health::Unknown => HealthState::Unknown,
        Health::Up => HealthState::Up,
        Health::Full => HealthState::Full,
        Health::NotServing => HealthState::NotServing,
        Health::Down => HealthState::Down,
    }
}
