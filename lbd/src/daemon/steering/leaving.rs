//! Backends that take no new session any more and still have some: those that the configuration has
//! no longer, and endpoints of boxes that are reached in another way now.
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use tracing::info;

use crate::{
    config::Forwarding,
    daemon::{clock, event_loop::EventLoop},
    units::{BackendId, Endpoint},
};

/// Endpoints of one box that peers may make this node know. There are two ways, and a port or two.
const OTHER_WAYS: usize = 4;
/// How long an endpoint that a peer has told of waits for the first of its sessions: the peers' tables
/// are on the way.
const WAIT_NS: u64 = 15_000_000_000;

/// Which they are. Pure.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Leaving {
    /// Each with the time until which it stays without sessions too.
    until_ns: BTreeMap<BackendId, u64>,
}

impl Leaving {
    /// These are leaving, and stay until `until_ns` at least.
    pub(in crate::daemon) fn add(
        &mut self,
        ids: impl IntoIterator<Item = BackendId>,
        until_ns: u64,
    ) {
        self.until_ns
            .extend(ids.into_iter().map(|id| (id, until_ns)));
    }

    /// One that `is_back` stays.
    pub(in crate::daemon) fn keep(&mut self, is_back: impl Fn(BackendId) -> bool) {
        self.until_ns.retain(|id, _| !is_back(*id));
    }

    /// Those that are still to go.
    pub(in crate::daemon) fn ids(&self) -> impl Iterator<Item = BackendId> {
        self.until_ns.keys().copied()
    }

    /// Takes out those that go now.
    fn take_gone(
        &mut self,
        now_ns: u64,
        has_sessions: impl Fn(BackendId) -> bool,
    ) -> Vec<BackendId> {
        let goes = |(id, until_ns): (&BackendId, &u64)| {
            (now_ns >= *until_ns && !has_sessions(*id)).then_some(*id)
        };
        let gone: Vec<BackendId> = self.until_ns.iter().filter_map(goes).collect();
        self.until_ns.retain(|id, _| !gone.contains(id));
        gone
    }
}

impl EventLoop {
    /// The leaving endpoints, by their box's address.
    pub(in crate::daemon) fn leaving_of_boxes(
        &self,
    ) -> BTreeMap<IpAddr, Vec<(BackendId, Endpoint)>> {
        let mut of_boxes: BTreeMap<IpAddr, Vec<(BackendId, Endpoint)>> = BTreeMap::new();
        for id in self.weigher.leaving.ids() {
            if let Some(endpoint) = self.plane.backend_ids().endpoint(id) {
                of_boxes
                    .entry(endpoint.address)
                    .or_default()
                    .push((id, endpoint));
            }
        }
        of_boxes
    }

    /// Removes those whose last session has ended.
    pub(in crate::daemon) fn forget_gone(&mut self, now_ns: u64) {
        if self.weigher.leaving.ids().next().is_none() {
            return self.let_go_of_virtual_addresses();
        }
        let busy: HashMap<BackendId, u64> = self.plane.loads().into_iter().collect();
        let has_sessions = |id| busy.get(&id).is_some_and(|sessions| *sessions > 0);
        for id in self.weigher.leaving.take_gone(now_ns, has_sessions) {
            if let Some(endpoint) = self.plane.backend_ids().endpoint(id) {
                info!("the last session with {endpoint} has ended; it is removed");
            }
            self.log_failure("removing a backend", |event_loop| {
                Ok(event_loop.plane.remove_backend(id)?)
            });
        }
    }

    /// Peers have sessions with boxes that this node knows, at endpoints that it does not: their
    /// configuration is another one still or already, or the sessions are older than the change. It
    /// learns to steer them; no new one goes there.
    pub(in crate::daemon) fn take_other_ways(&mut self, told: Vec<Endpoint>) {
        let told: BTreeSet<Endpoint> = told.into_iter().collect();
        let endpoint_of = |(_, endpoint): (BackendId, Endpoint)| endpoint;
        let mut known: BTreeMap<IpAddr, Vec<Endpoint>> = self
            .leaving_of_boxes()
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
            let mut reached = member.clone();
            reached.endpoint = endpoint;
            reached.forwarding = if endpoint.is_translated() {
                Forwarding::Nat
            } else {
                Forwarding::Dsr
            };
            let name = reached.name.clone();
            self.log_failure(&name, |event_loop| {
                let ids = event_loop.plane.allocate_backend_ids(&[endpoint])?;
                reached.id = ids[&endpoint];
                let until_ns = clock::boottime_ns() + WAIT_NS;
                event_loop.weigher.leaving.add([reached.id], until_ns);
                let spec = crate::daemon::event_loop::backend_spec(
                    &reached,
                    event_loop.members.own_address(),
                );
                Ok(event_loop.plane.set_backend(reached.id, &spec)?)
            });
            others.push(endpoint);
            info!("peers have sessions with {name} at {endpoint}: they stay there until they end");
            is_changed = true;
        }
        if is_changed {
            self.log_failure("replies", EventLoop::take_replies);
            self.follow_ids();
        }
        self.channel.other_ways_taken(is_changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_goes_with_its_last_session_and_not_before_its_time() {
        let [a, b, c] = [1, 2, 3].map(BackendId);
        let mut leaving = Leaving::default();
        leaving.add([a, b], 0);
        leaving.add([c], 10);
        assert_eq!(leaving.take_gone(9, |id| id == a), [b]);
        assert_eq!(leaving.ids().collect::<Vec<_>>(), [a, c]);
        assert_eq!(leaving.take_gone(9, |id| id == a), []);
        assert_eq!(leaving.take_gone(10, |id| id == a), [c]);
        leaving.keep(|id| id == a);
        assert_eq!(leaving.take_gone(11, |_| false), [], "it has come back");
    }
}
