//! The sweep of the flow tables: idle flows go, `LOAD` is put right, and every backend's live
//! figures come out.
use std::time::Duration;

use lbd_common::flow::SEEN_SHIFT;
use tracing::debug;

use crate::{
    config::Idle,
    daemon::{clock, event_loop::EventLoop},
    dataplane::seen,
    flows::{Sweeper, Timeouts},
};

/// A new denial must reach open sessions within a second.
const EVERY_NS: u64 = 1_000_000_000;

/// The sweeper with its schedule.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Sweep {
    sweeper: Sweeper,
    due_ns: u64,
}

impl EventLoop {
    /// Sweeps when a second has passed since the last time.
    pub(in crate::daemon) fn sweep_if_due(&mut self, now_ns: u64) {
        if now_ns < self.sweep.due_ns {
            return;
        }
        self.sweep.due_ns = now_ns + EVERY_NS;
        self.expire_denials();
        let now_seen = seen(clock::monotonic_ns());
        let timeouts = timeouts(&self.config.cluster.idle);
        let report = self
            .plane
            .flows()
            .sweep(&mut self.sweep.sweeper, now_seen, timeouts);
        let leaving = self.leaving_of_boxes();
        for member in self.members.iter_mut() {
            let flows = report.backend(member.id.0);
            member.live.sessions = flows.sessions;
            member.live.unique_sources = Some(flows.unique_sources);
            // The box has these too. A source may be in both: it counts twice while it is.
            for (id, _) in leaving.get(&member.address).into_iter().flatten() {
                let flows = report.backend(id.0);
                member.live.sessions += flows.sessions;
                *member.live.unique_sources.get_or_insert(0) += flows.unique_sources;
            }
        }
        self.end_drains();
        if report.stuck_freed + report.duplicates + report.impossible > 0
            || !report.corrections.is_empty()
        {
            debug!(
                "the sweep repaired: {} stuck claims, {} duplicates, {} impossible flows, LOAD {:?}",
                report.stuck_freed, report.duplicates, report.impossible, report.corrections
            );
        }
    }
}

fn timeouts(idle: &Idle) -> Timeouts {
    Timeouts {
        half_open: units(idle.half_open),
        established: units(idle.established),
        ended: units(idle.closing),
        ..Timeouts::default()
    }
}

/// A duration in the units of a flow's clock, at most the half of it that can be told apart.
fn units(idle: Duration) -> u16 {
    u16::try_from(idle.as_nanos() >> SEEN_SHIFT)
        .map_or(u16::MAX / 2, |units| units.min(u16::MAX / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_beyond_the_flows_clock_are_cut_to_what_it_can_tell() {
        assert_eq!(units(Duration::from_secs(30)), 27);
        assert_eq!(units(Duration::from_secs(1_000_000)), u16::MAX / 2);
    }
}
