//! Leaving as a backend: a box that stops takes its virtual addresses from its loopback, and with them
//! every session that it serves. So it tells the peers first, and waits for its sessions to end.
use std::{
    thread,
    time::{Duration, Instant},
};

use tracing::info;

use crate::{
    agent,
    config::Forwarding,
    daemon::{clock, event_loop::EventLoop},
};

/// How long peers may take until they no longer choose this box, with one lost datagram, and until what
/// they chose it for has arrived.
const TOLD: Duration = Duration::from_millis(500);
/// How often it is looked whether the last session has ended.
const LOOK: Duration = Duration::from_millis(100);

impl EventLoop {
    /// Tells the peers that this box stops, and waits until its sessions are over or `node.stop_wait` has
    /// passed. `is_urgent`: the operator wants it to end now.
    pub(in crate::daemon) fn say_farewell(&mut self, is_urgent: impl Fn() -> bool) {
        let local = self.members.local();
        let is_needed = local.is_some_and(|local| local.forwarding != Forwarding::Nat);
        let now_ns = clock::boottime_ns();
        let wait = self.config.node.stop_wait;
        if !is_needed || wait.is_zero() || self.channel.live(now_ns).is_empty() {
            return;
        }
        self.channel.leave();
        let begun = Instant::now();
        let mut open = self.open_sessions();
        if open > 0 {
            info!("told the peers; waiting up to {wait:?} for {open} open sessions to end");
        }
        while begun.elapsed() < TOLD.min(wait) || open > 0 && begun.elapsed() < wait {
            if is_urgent() {
                break;
            }
            thread::sleep(LOOK);
            self.watchdog.tick(clock::boottime_ns());
            open = self.open_sessions();
        }
        if open > 0 {
            info!(
                "{open} sessions are still open; the peers will reset them unless lbd starts again soon"
            );
        }
    }

    /// Sessions of this box with the virtual addresses, by its kernel.
    fn open_sessions(&self) -> u64 {
        let cluster = &self.config.cluster;
        let vips = cluster.virtual_addresses.iter().map(|vip| vip.address);
        let vips: Vec<_> = vips.collect();
        agent::open_sessions(&vips, &cluster.ports).unwrap_or(0)
    }
}
