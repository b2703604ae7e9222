//! Backends that take no new session any more and still have some: those that the configuration
//! no longer has, and endpoints of boxes that are reached in another way now.
use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    dataplane::BackendIds,
    units::{BackendId, Endpoint},
};

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

    pub(in crate::daemon) fn is_empty(&self) -> bool {
        self.until_ns.is_empty()
    }

    /// Those that are still to go.
    fn ids(&self) -> impl Iterator<Item = BackendId> {
        self.until_ns.keys().copied()
    }

    /// Takes out those that go now.
    pub(super) fn take_gone(
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

    /// Those of which the endpoint is known, by their box's address.
    pub(in crate::daemon) fn of_boxes(
        &self,
        known: &BackendIds,
    ) -> BTreeMap<IpAddr, Vec<(BackendId, Endpoint)>> {
        let mut of_boxes: BTreeMap<IpAddr, Vec<(BackendId, Endpoint)>> = BTreeMap::new();
        for id in self.ids() {
            if let Some(endpoint) = known.endpoint(id) {
                let leaving = of_boxes.entry(endpoint.address).or_default();
                leaving.push((id, endpoint));
            }
        }
        of_boxes
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
