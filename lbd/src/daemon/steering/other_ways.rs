//! Sessions that reach their box in another way than the configuration says now.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracing::info;

use super::{
    Steering,
    backend_spec::backend_spec,
    members::{self, Member},
};
use crate::{
    config::{Config, Forwarding},
    daemon::{clock, log_failure::log_failure},
    dataplane::{DataPlane, NatBackend},
    host::{Host, routing::Family},
    units::{BackendId, Endpoint},
};

/// Endpoints of one box that peers may make this node know. There are two ways, and a port or two.
const OTHER_WAYS: usize = 4;
/// How long an endpoint that a peer has told of waits for the first of its sessions: the peers' tables
/// are on the way.
const WAIT_NS: u64 = 15_000_000_000;

impl Steering {
    /// Makes the box the gateway that the replies of `nat` backends pass, also of those that have
    /// sessions of the time when they were `nat`.
    pub(in crate::daemon) fn take_replies(
        &self,
        config: &Config,
        plane: &mut DataPlane,
        host: &mut Host,
    ) -> anyhow::Result<()> {
        let leaving = self.leaving_of_boxes(plane).into_values().flatten();
        let leaving = leaving.filter_map(|(id, endpoint)| members::nat_backend(id, endpoint));
        let nat: Vec<NatBackend> = self.members.nat_backends().chain(leaving).collect();
        for (family, is_family) in [
            (Family::V4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            (Family::V6, IpAddr::is_ipv6),
        ] {
            if nat.iter().any(|backend| is_family(&backend.address)) {
                host.be_gateway(&config.node.interfaces, family)?;
            }
        }
        plane.set_replies(&nat)?;
        Ok(())
    }

    /// Peers have sessions with boxes that this node knows, at endpoints that it does not: their
    /// configuration is another one still or already, or the sessions are older than the change. It
    /// learns to steer them; no new one goes there. Returns whether there were any.
    pub(in crate::daemon) fn take_other_ways(
        &mut self,
        told: Vec<Endpoint>,
        plane: &mut DataPlane,
    ) -> bool {
        let told: BTreeSet<Endpoint> = told.into_iter().collect();
        let endpoint_of = |(_, endpoint): (BackendId, Endpoint)| endpoint;
        let mut known: BTreeMap<IpAddr, Vec<Endpoint>> = self
            .leaving_of_boxes(plane)
            .into_iter()
            .map(|(address, leaving)| (address, leaving.into_iter().map(endpoint_of).collect()))
            .collect();
        let mut is_changed = false;
        for endpoint in told {
            let others = known.entry(endpoint.address).or_default();
            let Some(member) = self.members.by_address(endpoint.address) else {
                continue;
            };
            // What a box has translated by others to itself is not its own to translate.
            let is_other = !member.local && member.endpoint != endpoint;
            if !is_other || others.len() >= OTHER_WAYS || others.contains(&endpoint) {
                continue;
            }
            let member = member.clone();
            let name = member.name.clone();
            log_failure(&name, self.reach_at(member, endpoint, plane));
            others.push(endpoint);
            info!("peers have sessions with {name} at {endpoint}: they stay there until they end");
            is_changed = true;
        }
        is_changed
    }

    /// Steers the sessions of a box's former endpoint.
    fn reach_at(
        &mut self,
        mut member: Member,
        endpoint: Endpoint,
        plane: &mut DataPlane,
    ) -> anyhow::Result<()> {
        member.endpoint = endpoint;
        member.forwarding = if endpoint.is_translated() {
            Forwarding::Nat
        } else {
            Forwarding::Dsr
        };
        member.id = plane.allocate_backend_ids(&[endpoint])?[&endpoint];
        let until_ns = clock::boottime_ns() + WAIT_NS;
        self.weigher.leaving.add([member.id], until_ns);
        let spec = backend_spec(&member, self.members.own_address());
        Ok(plane.set_backend(member.id, &spec)?)
    }
}
