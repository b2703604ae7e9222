//! Leaving as a backend: a box that stops takes its virtual addresses from its loopback, and with them
//! every session that it serves. So it tells the peers first, and waits for its sessions to end.
use std::{
    thread,
    time::{Duration, Instant},
};

use tracing::info;

use crate::{
    agent,
    config::{Cluster, Config, Forwarding},
    daemon::{
        clock, cluster::channel::ChannelHandle, lifecycle::watchdog::Watchdog,
        steering::members::Member,
    },
};

/// How long peers may take until they no longer choose this box, with one lost datagram, and until what
/// they chose it for has arrived.
const TOLD: Duration = Duration::from_millis(500);
/// How often it is looked whether the last session has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Tells the peers that this box stops, and waits until its sessions are over or `node.stop_wait` has
/// passed. `is_urgent`: the operator wants it to end now.
///
/// `local` is this box as a backend.
pub(in crate::daemon) fn say_farewell(
    local: Option<&Member>,
    config: &Config,
    channel: &ChannelHandle,
    watchdog: &mut Watchdog,
    is_urgent: impl Fn() -> bool,
) {
    let is_needed = local.is_some_and(|local| local.forwarding != Forwarding::Nat);
    let now_ns = clock::boottime_ns();
    let wait = config.node.stop_wait;
    if !is_needed || wait.is_zero() || channel.live(now_ns).is_empty() {
        return;
    }
    channel.leave();
    let begun = Instant::now();
    let mut open = open_sessions(&config.cluster);
    if open > 0 {
        info!("told the peers; waiting up to {wait:?} for {open} open sessions to end");
    }
    while begun.elapsed() < TOLD.min(wait) || open > 0 && begun.elapsed() < wait {
        if is_urgent() {
            break;
        }
        thread::sleep(LOOK);
        watchdog.tick(clock::boottime_ns());
        open = open_sessions(&config.cluster);
    }
    if open > 0 {
        info!(
            "{open} sessions are still open; the peers will reset them unless lbd starts again soon"
        );
    }
}

/// Sessions of this box with the virtual addresses, by its kernel.
fn open_sessions(cluster: &Cluster) -> u64 {
    let vips = cluster.virtual_addresses.iter().map(|vip| vip.address);
    let vips: Vec<_> = vips.collect();
    agent::open_sessions(&vips, &cluster.ports).unwrap_or(0)
}
