//! Where new sessions go: backends, their health and figures, weights, admission and the sweep.
//!
//! From a poll's answer to the maps:
//! ```text
//! poll::*         asks a backend, and sends an event
//! figures         puts the answer into its Member; the last one of a round starts a round of the policy
//! weigh           members ──▶ policy::Input ──▶ policy ──▶ Output; on a backup the master's (followed_weights)
//! weigh::apply    weights into the map at once, a new ring only when it differs enough (weigher)
//! ```
//! A health check's answer comes by [`health`] and [`suspects`] to the same members, an operator's by
//! [`super::operator`].
pub(in crate::daemon) mod admission;
pub(in crate::daemon) mod adoption;
pub(in crate::daemon) mod backend_spec;
pub(in crate::daemon) mod backend_tasks;
pub(in crate::daemon) mod beyond_figure;
pub(in crate::daemon) mod doubts;
pub(in crate::daemon) mod followed_weights;
pub mod health;
pub(in crate::daemon) mod leaving;
pub(in crate::daemon) mod members;
pub(in crate::daemon) mod per_backend;
pub mod poll;
pub(in crate::daemon) mod reach;
pub(in crate::daemon) mod reply_ways;
pub(in crate::daemon) mod session_lifetimes;
mod suspects;
pub(in crate::daemon) mod suspicion;
pub(in crate::daemon) mod sweep;
mod tls;
pub(in crate::daemon) mod tunnel;
mod weigh;
pub(in crate::daemon) mod weigher;

mod adopt;
mod figures;
mod other_ways;
mod ways;

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use self::{
    admission::Admission,
    backend_spec::backend_spec,
    backend_tasks::BackendTasks,
    doubts::Doubts,
    members::{Member, Members},
    sweep::Sweep,
    weigher::Weigher,
};
use super::{
    clock, cluster::election_view::ElectionView, context::Context, log_failure::log_failure,
    operator::order::Explained,
};
use crate::{
    config::Config,
    dataplane::DataPlane,
    units::{BackendId, Endpoint},
};

/// The backends, and what decides how many of the new sessions each gets.
#[derive(Debug)]
pub(in crate::daemon) struct Steering {
    pub(in crate::daemon) members: Members,
    weigher: Weigher,
    sweep: Sweep,
    pub(in crate::daemon) admission: Admission,
    /// What this box may have got wrong about the others.
    doubts: Doubts,
    backend_tasks: BackendTasks,
}

impl Steering {
    /// Knows no backend yet; the maps may have sessions that it does not know.
    pub(in crate::daemon) fn new(config: &Config, backend_tasks: BackendTasks) -> Self {
        let mut admission = Admission::default();
        admission
            .adoption
            .sessions_are_unknown(clock::boottime_ns());
        Self {
            members: Members::default(),
            weigher: Weigher::new(config.cluster.stats.interval),
            sweep: Sweep::default(),
            admission,
            doubts: Doubts::default(),
            backend_tasks,
        }
    }

    /// The policy's schedule, and what it decided last.
    pub(in crate::daemon) fn weigher(&self) -> &Weigher {
        &self.weigher
    }

    /// Orders came that the maps do not follow yet.
    pub(in crate::daemon) fn note_orders(&mut self) {
        self.weigher.note_orders();
    }

    /// What the last sweep found.
    pub(in crate::daemon) fn last_sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// Reads how many sessions each backend that tells of them has open, when it is time.
    pub(in crate::daemon) fn read_told_if_due(&mut self, plane: &DataPlane, now_ns: u64) {
        self.sweep
            .read_told_if_due(plane, &mut self.members, now_ns);
    }

    /// The polls, the health checks and the watch on the way to each backend.
    pub(in crate::daemon) fn backend_tasks(&self) -> &BackendTasks {
        &self.backend_tasks
    }

    /// Polls and checks the backends of this configuration from now on.
    pub(in crate::daemon) fn follow_in_tasks(&mut self, config: &Config, path: &Path) {
        self.backend_tasks.follow(config, path);
    }

    /// Follows the way to clients whom a reply of a `nat` backend found no MAC of.
    pub(in crate::daemon) fn find_ways_to(&mut self, clients: Vec<IpAddr>) {
        self.backend_tasks.find_ways_to(clients);
    }

    /// Backends came or went, or the interval changed: the next round of the policy is due at once.
    pub(in crate::daemon) fn reconfigure_policy(&mut self, config: &Config) {
        self.weigher.reconfigure(config.cluster.stats.interval);
    }

    /// Takes over a configuration: the backends and their ids. Returns whether there are new endpoints.
    pub(in crate::daemon) fn configure(
        &mut self,
        config: &Config,
        plane: &mut DataPlane,
    ) -> anyhow::Result<bool> {
        let (name, cluster) = (&config.node.name, &config.cluster);
        let endpoints = members::endpoints(name, cluster);
        let known = plane.backend_ids();
        let has_new = endpoints
            .iter()
            .any(|endpoint| known.get(*endpoint).is_none());
        let ids = plane.allocate_backend_ids(&endpoints)?;
        let gone = self.members.configure(name, cluster, &ids);
        let members = &self.members;
        self.weigher.leaving.add(gone, 0);
        self.weigher
            .leaving
            .keep(|id| members.iter().any(|member| member.id == id));
        Ok(has_new)
    }

    /// Puts into the maps how every backend is reached.
    pub(in crate::daemon) fn write_backends(
        &self,
        config: &Config,
        plane: &mut DataPlane,
    ) -> anyhow::Result<()> {
        for member in self.members.iter() {
            let spec = backend_spec(member, self.members.own_address());
            plane.set_backend(member.id, &spec)?;
        }
        if let Some(ends) = tunnel::ends(&self.members, &config.cluster) {
            plane.set_tunnel_ends(&ends)?;
        }
        Ok(())
    }

    /// Sweeps the flow tables.
    pub(in crate::daemon) fn sweep(&mut self, config: &Config, plane: &DataPlane, now_ns: u64) {
        let leaving = self.leaving_of_boxes(plane);
        self.sweep
            .run(&config.cluster, plane, &mut self.members, &leaving, now_ns);
    }

    /// The leaving endpoints, by their box's address.
    pub(in crate::daemon) fn leaving_of_boxes(
        &self,
        plane: &DataPlane,
    ) -> BTreeMap<IpAddr, Vec<(BackendId, Endpoint)>> {
        self.weigher.leaving.of_boxes(plane.backend_ids())
    }

    /// Puts into the maps how a backend is reached, and whether it lives: also for its sessions of
    /// a time when it was reached otherwise.
    fn write_backend(&self, member: &Member, plane: &mut DataPlane) {
        let spec = backend_spec(member, self.members.own_address());
        let leaving = self.leaving_of_boxes(plane).remove(&member.address);
        let written = plane.set_backend(member.id, &spec).and_then(|()| {
            let mut others = leaving.into_iter().flatten();
            others.try_for_each(|(id, _)| plane.reach_like(id, member.id))
        });
        log_failure(&member.name, written);
    }

    /// The master's name, or its address if it is no backend.
    pub(in crate::daemon) fn master_name(
        &self,
        config: &Config,
        election: &ElectionView,
    ) -> Option<String> {
        if election.is_master() {
            return Some(config.node.name.clone());
        }
        let named = self
            .members
            .iter()
            .find(|member| election.is_leader(member.address));
        match named {
            Some(member) => Some(member.name.clone()),
            None => election.leader_address().map(|address| address.to_string()),
        }
    }

    /// The last decisions, on all backends or on one.
    pub(in crate::daemon) fn explain(&self, backend: Option<&str>) -> Result<Explained, String> {
        if let Some(name) = backend {
            self.members.must_know(name)?;
        }
        Ok(self.weigher.explained(backend))
    }

    /// This node is the master from now on. `is_master_gone`: the former one did not hand over.
    pub(in crate::daemon) fn become_master(
        &mut self,
        is_master_gone: bool,
        context: &mut Context<'_>,
        now_ns: u64,
    ) {
        self.weigher.hold_ring(now_ns);
        self.admission.adoption.sessions_are_unknown(now_ns);
        self.admission
            .follow_adoption(context.plane, context.config, now_ns);
        self.doubt_verdicts(is_master_gone, context, now_ns);
        self.weigh(context, now_ns);
    }
}
