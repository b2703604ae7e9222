//! The sweep of the flow tables: idle flows go, `LOAD` is put right, and every backend's live
//! figures come out.
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use lbd_common::{flow::SEEN_SHIFT, maps::MAX_BACKENDS};
use tracing::debug;

use super::{
    members::{Members, policy_settings},
    session_lifetimes::{OpenByWord, SessionLifetimes, Steered},
};
use crate::{
    config::{Cluster, Idle},
    daemon::{
        clock,
        observe::flow_table_status::{FlowTableStatus, FlowTablesStatus},
    },
    dataplane::{DataPlane, seen},
    flows::{ServiceFlows, Sweeper, Timeouts},
    units::{BackendId, Endpoint},
};

/// A tenth of a second tells a session that fails at once from one that delivers a message.
const TOLD_NS: u64 = 100_000_000;

/// A new denial must reach open sessions within a second.
const EVERY_NS: u64 = 1_000_000_000;

/// The sweeper with its schedule.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Sweep {
    sweeper: Sweeper,
    /// What the last one found in the tables.
    pub(in crate::daemon) tables: FlowTablesStatus,
    /// By VIP id, likewise.
    services: BTreeMap<u16, ServiceFlows>,
    due_ns: u64,
    /// When it was read last how many sessions each backend has open by its box's word.
    told_read_ns: u64,
}

impl Sweep {
    /// Whether a second has passed since the last time.
    pub(in crate::daemon) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns
    }

    /// A service's flows, as of the last one.
    pub(in crate::daemon) fn service(&self, vip_id: u16) -> ServiceFlows {
        self.services.get(&vip_id).copied().unwrap_or_default()
    }

    /// Sweeps, and gives every member its live figures. `leaving`: the leaving endpoints of each box.
    pub(in crate::daemon) fn run(
        &mut self,
        cluster: &Cluster,
        plane: &DataPlane,
        members: &mut Members,
        leaving: &BTreeMap<IpAddr, Vec<(BackendId, Endpoint)>>,
        now_ns: u64,
    ) {
        self.due_ns = now_ns + EVERY_NS;
        let now_seen = seen(clock::monotonic_ns());
        let timeouts = timeouts(&cluster.idle);
        let tables = plane.flows();
        let excess = &mut self.sweeper.excess;
        excess.clear();
        excess.resize(MAX_BACKENDS as usize, 0);
        for member in members.iter() {
            if let Some(excess) = excess.get_mut(usize::from(member.id.0)) {
                *excess = member.beyond_figure.excess();
            }
        }
        self.sweeper.services = plane.services().iter().map(|service| service.id).collect();
        self.sweeper.services.sort_unstable();
        let report = tables.sweep(&mut self.sweeper, now_seen, timeouts);
        let services = self.sweeper.services.iter().copied();
        self.services = services.zip(report.services.iter().copied()).collect();
        let told = tables.box_sessions();
        let (v4, v6) = (tables.v4(), tables.v6());
        self.tables = FlowTablesStatus {
            ipv4: FlowTableStatus::new(v4.capacity(), report.states4),
            ipv6: FlowTableStatus::new(v6.capacity(), report.states6),
        };
        let stale_ns = policy_settings(cluster).stale_ns();
        for member in members.iter_mut() {
            let flows = report.backend(member.id.0);
            // A box that tells of its sessions bounds them one by one.
            let figure = member.session_figure(stale_ns, now_ns);
            let figure = figure.filter(|_| !tables.signs().speaks(member.id));
            member.beyond_figure.update(figure, flows.established);
            let speaks = tables.signs().speaks(member.id);
            if speaks != member.by_word.is_some() {
                // What it was counted by until now began at another number.
                member.lifetimes = SessionLifetimes::default();
            }
            member.by_word = speaks.then(|| OpenByWord::counted(flows.proven, told.of(member.id)));
            if !speaks {
                member.lifetimes.read(now_ns, flows.proven);
            }
            member.live.sessions = flows.proven;
            member.live.unique_sources = Some(flows.proven_sources);
            // The box has these too. A source may be in both: it counts twice while it is.
            for (id, _) in leaving.get(&member.address).into_iter().flatten() {
                let flows = report.backend(id.0);
                member.live.sessions += flows.proven;
                *member.live.unique_sources.get_or_insert(0) += flows.proven_sources;
            }
        }
        if report.stuck_freed + report.duplicates + report.impossible > 0
            || !report.corrections.is_empty()
        {
            debug!(
                "the sweep repaired: {} stuck claims, {} duplicates, {} impossible flows, LOAD {:?}",
                report.stuck_freed, report.duplicates, report.impossible, report.corrections
            );
        }
    }

    /// Reads how many sessions each backend has open that tells of them, when it is time. Of the others it is
    /// known by the sweeps.
    pub(in crate::daemon) fn read_told_if_due(
        &mut self,
        plane: &DataPlane,
        members: &mut Members,
        now_ns: u64,
    ) {
        if now_ns.saturating_sub(self.told_read_ns) >= TOLD_NS {
            self.read_told(plane, members, now_ns);
        }
    }

    fn read_told(&mut self, plane: &DataPlane, members: &mut Members, now_ns: u64) {
        self.told_read_ns = now_ns;
        let tables = plane.flows();
        for member in members.iter_mut() {
            if let Some(by_word) = member.by_word {
                let open = by_word.at(tables.box_sessions().of(member.id));
                member.lifetimes.read(now_ns, open);
            }
        }
    }

    /// Tells each backend's live figures which sessions ended since the last time.
    pub(in crate::daemon) fn count_ended(
        &mut self,
        plane: &DataPlane,
        members: &mut Members,
        now_ns: u64,
    ) {
        self.read_told(plane, members, now_ns);
        let Ok(stats) = plane.backend_stats() else {
            // A step without them is a step in which none ended.
            return;
        };
        let stats: HashMap<BackendId, _> = stats.into_iter().collect();
        let tables = plane.flows();
        for member in members.iter_mut() {
            let begun = if member.by_word.is_some() {
                tables.box_sessions().of(member.id).begun
            } else {
                tables.signs().get(member.id).proven
            };
            let bytes = stats.get(&member.id).map_or(0, |stats| stats.bytes);
            let ended = member.lifetimes.step(Steered { begun, bytes });
            member.live.completed = ended.sessions;
            member.live.mean_lifetime_ns = ended.mean_lifetime_ns;
            member.live.mean_bytes = ended.mean_bytes;
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
