//! This box's own figures: spool entries and sessions, and the formats that serve them.
//!
//! [`measure`] looks, once, and blocks for the tens of milliseconds that it takes: run it on a
//! blocking thread. [`Agent`] does, and serves the result: [`router`] over HTTP,
//! [`serve_agent_check`] to HAProxy. Nothing here changes anything on the box.

mod agent_check;
mod configured;
mod limited;
pub(crate) mod netlink;
mod router;
mod sockets;
mod spool;
mod translation;
mod vip;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

pub use agent_check::serve_agent_check;
pub use router::{router, serve};
pub use sockets::Listener;
pub use spool::{Choice, MailSystem, Spool, SpoolError};
pub use translation::may_translate;

use crate::stats::{AgentState, Report, Sample};

/// The queue length, in messages, at which the agent-check line asks for half the weight, when
/// nothing else is said.
pub const DEFAULT_QUEUE_HALF: u64 = 1000;

/// How old a measurement may be and still be handed out: several pollers and a scraper that ask at
/// once cost one measurement.
const FRESH: Duration = Duration::from_millis(500);

/// What to look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentConfig {
    /// The name under which this box is a backend in the cluster's config.
    pub node: String,
    /// The ports on which it takes mail.
    pub ports: Vec<u16>,
    /// Where its queue is.
    pub spools: Choice,
    /// The VIPs that it must be able to serve; empty where that is not to be told.
    pub vips: Vec<IpAddr>,
}

/// Open sessions of this box with these addresses on these ports, by its kernel.
pub fn open_sessions(addresses: &[IpAddr], ports: &[u16]) -> io::Result<u64> {
    sockets::open(addresses, ports)
}

/// Takes all figures. Blocks: the spool's directories are read.
///
/// What cannot be read stays unknown, and the note says why.
#[must_use]
pub fn measure(config: &AgentConfig) -> Report {
    let now_unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut sample = Sample::default();
    let mut notes = Vec::new();

    let queues = spool::count(&config.spools, now_unix.as_secs());
    sample.queued = queues.queued;
    sample.deferred = queues.deferred;
    notes.extend(queues.notes);

    match sockets::tally(&config.ports) {
        Ok(tally) => {
            // A container may have them, where rules hand them on: none here is no figure then.
            let is_here = tally.sessions > 0 || !tally.listeners.is_empty();
            if is_here || !may_translate() {
                sample.sessions = Some(tally.sessions);
                sample.unique_ips = Some(tally.unique_ips());
                sample.not_accepted = Some(tally.not_accepted);
            }
            if tally.listeners.is_empty() {
                // Not "down": the MTA may live in a network namespace of its own. The health check
                // judges.
                notes.push(format!("nothing listens on port {}", list(&config.ports)));
            } else {
                sample.state = AgentState::Up;
            }
            if !config.vips.is_empty() {
                match vip::unready(&config.vips, &tally.listeners) {
                    Ok(unready) => {
                        sample.vip_ready = Some(unready.is_empty());
                        notes.extend(unready);
                    }
                    Err(error) => notes.push(format!("cannot list this box's addresses: {error}")),
                }
            }
        }
        Err(error) => notes.push(format!(
            "cannot list connections by sock_diag: {error} (the kernel needs INET_DIAG)"
        )),
    }
    if !notes.is_empty() {
        sample.note = Some(notes.join("; "));
    }
    Report {
        node: config.node.clone(),
        time_unix_ms: u64::try_from(now_unix.as_millis()).unwrap_or(u64::MAX),
        mta: queues.mta,
        sample,
    }
}

fn list(ports: &[u16]) -> String {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    ports.join(", ")
}

/// This box's figures. Cheap to clone; all clones share one measurement.
#[derive(Clone, Debug)]
pub struct Agent {
    shared: Arc<Shared>,
}

/// Clones of one agent are equal.
impl PartialEq for Agent {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

#[derive(Debug)]
struct Shared {
    config: ArcSwap<AgentConfig>,
    last: Arc<Mutex<Option<(Instant, Report)>>>,
}

impl Agent {
    /// An agent that has measured nothing yet.
    #[must_use]
    pub fn new(config: AgentConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                config: ArcSwap::from_pointee(config),
                last: Arc::default(),
            }),
        }
    }

    /// Looks elsewhere from now on.
    pub async fn configure(&self, config: AgentConfig) {
        let mut last = self.shared.last.lock().await;
        self.shared.config.store(Arc::new(config));
        *last = None;
    }

    /// The figures, at most half a second old, with their age. An error when the measurement itself broke.
    ///
    /// A caller that gives up leaves the measurement to the next one: a spool on a disk that hangs
    /// holds one thread, however often it is asked for.
    pub async fn report(&self) -> Result<Report, MeasureError> {
        let mut last = Arc::clone(&self.shared.last).lock_owned().await;
        if let Some((at, report)) = &*last
            && let age = at.elapsed()
            && age < FRESH
        {
            return Ok(report.aged(age));
        }
        let config = self.shared.config.load_full();
        // The thread holds the lock until it is done, even when its caller has gone.
        let measuring = tokio::task::spawn_blocking(move || {
            let report = measure(&config);
            *last = Some((Instant::now(), report.clone()));
            report
        });
        measuring.await.map_err(|_| MeasureError)
    }
}

/// The measuring thread panicked or was cancelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the measurement was aborted")]
pub struct MeasureError;

#[cfg(test)]
mod tests;
