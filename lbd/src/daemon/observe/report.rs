//! The state as `lbd status` shows it.
use std::collections::BTreeMap;

use super::{
    history::Historian,
    status::{
        BackendStatus, ChannelStatus, ConfigStatus, DrainStatus, ElectionStatus, InterfaceStatus,
        ReportedStatus, ServiceStatus, Status, SteeredStatus, VirtualAddressStatus,
    },
};
use crate::{
    config::VirtualAddress,
    daemon::{
        clock,
        cluster::Cluster,
        lifecycle::{interfaces::Interfaces, running::Running},
        operator::{flow_query::FlowView, order::Then, orders::Orders},
        steering::{Steering, members::Member},
    },
    dataplane::{DataPlane, Service, seen},
    policy::Override,
    units::BackendId,
};
use lbd_common::{backend::BackendStats, counters::Reason};

/// Everything that people see, lent for an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct View<'a> {
    pub(in crate::daemon) started_ns: u64,
    pub(in crate::daemon) running: &'a Running,
    pub(in crate::daemon) plane: &'a DataPlane,
    pub(in crate::daemon) steering: &'a Steering,
    pub(in crate::daemon) cluster: &'a Cluster,
    pub(in crate::daemon) orders: &'a Orders,
    pub(in crate::daemon) interfaces: &'a Interfaces,
    pub(in crate::daemon) historian: &'a Historian,
}

impl View<'_> {
    /// Everything, as of now.
    pub(in crate::daemon) fn status(&self) -> Status {
        let now_ns = clock::boottime_ns();
        let node = &self.running.config.node;
        let cluster = &self.running.config.cluster;
        let election = &self.cluster.election;
        let master = election.is_master();
        let loads: BTreeMap<BackendId, u64> = self.plane.loads().into_iter().collect();
        let leaving = self.steering.leaving_of_boxes(self.plane);
        let steered: BTreeMap<BackendId, BackendStats> = self
            .plane
            .backend_stats()
            .unwrap_or_default()
            .into_iter()
            .collect();
        Status {
            node: node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: seconds_since(self.started_ns, now_ns),
            role: if master { "master" } else { "backup" }.to_owned(),
            master: self.steering.master_name(&self.running.config, election),
            election: ElectionStatus {
                virtual_router_id: cluster.virtual_router_id,
                priority: node.priority.0,
                advertised_priority: election.effective_priority().unwrap_or(node.priority).0,
                reason: election.reason().to_owned(),
                since_s: seconds_since(election.since_ns(), now_ns),
                times_master: election.times_master(),
                isolated: election.is_isolated(),
                rejoined_s: election
                    .rejoined_ns()
                    .map(|at| now_ns.saturating_sub(at) / 1_000_000_000),
                warnings: election.warnings(now_ns),
            },
            virtual_addresses: cluster
                .virtual_addresses
                .iter()
                .map(|vip| VirtualAddressStatus {
                    address: vip.address,
                    ports: cluster.ports.clone(),
                    held: master,
                })
                .collect(),
            interfaces: self.interfaces(),
            backends: self
                .steering
                .members
                .iter()
                .map(|member| {
                    let load = |id: &BackendId| loads.get(id).copied().unwrap_or(0);
                    let leaving = leaving.get(&member.address).into_iter().flatten();
                    let leaving: u64 = leaving.map(|(id, _)| load(id)).sum();
                    let live = (load(&member.id) + leaving, leaving);
                    let steered = steered.get(&member.id).copied().unwrap_or_default();
                    self.backend(member, live, steered, now_ns)
                })
                .collect(),
            services: self.services(),
            flows: self.steering.last_sweep().tables,
            counters: self.counters(),
            election_counters: election.counters(),
            channel: self.channel_status(now_ns),
            history: self.historian.status(),
            config: ConfigStatus {
                path: self.running.path.display().to_string(),
                loaded_unix_s: self.running.loaded_unix_s,
                refused: self.running.refused.clone(),
                version: self.running.version.clone(),
            },
        }
    }

    /// In the order of the configuration.
    fn services(&self) -> Vec<ServiceStatus> {
        let mut services = self.plane.services();
        let cluster = &self.running.config.cluster;
        let rank = |service: &Service| {
            let address = |vip: &VirtualAddress| vip.address == service.address.ip();
            let port = |port: &u16| *port == service.address.port();
            (
                cluster.virtual_addresses.iter().position(address),
                cluster.ports.iter().position(port),
            )
        };
        services.sort_by_key(rank);
        let status = |service: Service| {
            let flows = self.steering.last_sweep().service(service.id);
            ServiceStatus {
                address: service.address.ip(),
                port: service.address.port(),
                sessions: flows.sessions,
                unique_sources: flows.unique_sources,
                steered_sessions: self.plane.service_sessions(service.id),
            }
        };
        services.into_iter().map(status).collect()
    }

    fn channel_status(&self, now_ns: u64) -> ChannelStatus {
        let mut status = self.cluster.channel.status(now_ns);
        status
            .warnings
            .extend(self.cluster.stations.warnings(now_ns));
        let refused = self.cluster.stations.refused_count();
        status
            .counters
            .insert("neighbours_refused".to_owned(), refused);
        status
    }

    /// The flow tables with the names of what is in them.
    pub(in crate::daemon) fn flow_view(&self) -> FlowView {
        let leaving = self.steering.leaving_of_boxes(self.plane);
        FlowView {
            tables: self.plane.flows(),
            backends: self
                .steering
                .members
                .iter()
                .flat_map(|member| {
                    let others = leaving.get(&member.address).into_iter().flatten();
                    let ids = others.map(|(id, _)| id.0).chain([member.id.0]);
                    ids.map(|id| (id, member.name.clone())).collect::<Vec<_>>()
                })
                .collect(),
            services: self.plane.services(),
            now_seen: seen(clock::monotonic_ns()),
        }
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        let interfaces = self
            .running
            .config
            .node
            .interfaces
            .iter()
            .map(|name| InterfaceStatus {
                name: name.clone(),
                xdp_mode: self
                    .plane
                    .mode(name)
                    .map_or_else(|| "none".to_owned(), |mode| mode.to_string()),
                native_refused: self.plane.native_refused(name).map(str::to_owned),
                up: self.interfaces.is_usable(name),
            });
        interfaces.collect()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let counters = self.plane.counters().unwrap_or_default();
        Reason::ALL
            .iter()
            .map(|reason| (reason.name().to_owned(), counters.get(*reason)))
            .collect()
    }

    fn drain(&self, backend: &str) -> Option<DrainStatus> {
        let drain = self.orders.drain(backend)?;
        Some(DrainStatus {
            left_s: drain.until_unix_s?.saturating_sub(clock::unix_s()),
            then: if drain.then_reset {
                Then::Reset
            } else {
                Then::Keep
            },
        })
    }

    fn backend(
        &self,
        member: &Member,
        (live, leaving): (u64, u64),
        steered: BackendStats,
        now_ns: u64,
    ) -> BackendStatus {
        let decision = self.steering.weigher().decision(member.id);
        BackendStatus {
            name: member.name.clone(),
            site: member.site.clone(),
            id: member.id.0,
            address: member.address,
            mac: member.hop.map(|hop| hop.mac.to_string()),
            health: member.health.state.name().to_owned(),
            health_reason: member.health_reason.clone(),
            weight: member.weight.0,
            weight_permille: decision.map_or(0, |decision| decision.weight.0),
            accepting: decision.is_some_and(|decision| decision.accepting),
            reason: decision.map_or_else(String::new, |decision| decision.reason.to_string()),
            reason_kind: decision.map_or_else(String::new, |decision| decision.reason.kind()),
            operator: member.order.map(|order| match order {
                Override::Drain => "drain".to_owned(),
                Override::Weight(weight) => format!("weight {}", weight.0),
            }),
            drain: self.drain(&member.name),
            sessions: live,
            leaving_sessions: leaving,
            unique_sources: member.live.unique_sources.unwrap_or(0),
            shut_offs: member.shut_offs.clone(),
            poll_error: member.poll_error.clone(),
            poll_failures: member.poll_failures,
            reported: member
                .answered
                .as_ref()
                .map(|(sample, at_ns)| ReportedStatus {
                    age_s: std::time::Duration::from_nanos(now_ns.saturating_sub(*at_ns))
                        .as_secs_f64(),
                    queued: sample.queued,
                    deferred: sample.deferred,
                    sessions: sample.sessions,
                    unique_ips: sample.unique_ips,
                    not_accepted: sample.not_accepted,
                }),
            steered: SteeredStatus {
                packets: steered.packets,
                bytes: steered.bytes,
                sessions: steered.connections,
            },
        }
    }
}

fn seconds_since(then_ns: u64, now_ns: u64) -> u64 {
    now_ns.saturating_sub(then_ns) / 1_000_000_000
}
