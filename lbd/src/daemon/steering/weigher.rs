//! When the policy has its next round, and what it decided last. Pure.
use std::time::Duration;

use super::{
    followed_weights::{FollowedWeights, Whose},
    leaving::Leaving,
    members::nanoseconds,
};
use crate::{
    daemon::operator::order::Explained,
    policy::{self, Input, Output, Policy},
    table,
    units::{BackendId, WeightPermille},
};

/// At least so long after the maps were written they are written again, however much happens.
const HURRY_NS: u64 = 50_000_000;
/// How long a new master keeps the former one's ring. A master whose daemon died steers until its lease
/// ends without sharing those sessions: they are found by the ring that named their boxes.
const HELD_NS: u64 = 3_000_000_000;
/// The policy with its schedule, and what it decided last.
#[derive(Debug)]
pub(in crate::daemon) struct Weigher {
    pub(super) policy: Policy,
    pub(super) interval_ns: u64,
    pub(super) last_ns: u64,
    pub(super) due_ns: u64,
    /// When orders were obeyed last, and whether there are more.
    pub(super) obeyed_ns: u64,
    pub(super) has_orders: bool,
    /// With this node's own decisions.
    pub(super) last: Option<(Input, Output)>,
    /// What is in the maps, which may be the master's.
    pub(super) shown: Output,
    pub(super) followed: Option<FollowedWeights>,
    pub(super) told_ns: u64,
    /// The weights that the live ring was built from, in the configuration's order; `None` when
    /// other backends belong into it.
    pub(super) ring: Option<Vec<WeightPermille>>,
    /// Until then the ring stays, as long as the same backends take sessions.
    held_until_ns: u64,
    pub(in crate::daemon) leaving: Leaving,
}

impl Weigher {
    /// Due at once.
    pub(in crate::daemon) fn new(interval: Duration) -> Self {
        Self {
            policy: Policy::new(),
            interval_ns: nanoseconds(interval),
            last_ns: 0,
            due_ns: 0,
            obeyed_ns: 0,
            has_orders: false,
            last: None,
            shown: Output::default(),
            followed: None,
            told_ns: 0,
            ring: None,
            held_until_ns: 0,
            leaving: Leaving::default(),
        }
    }

    pub(in crate::daemon) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns
    }

    /// Something happened that the next round should not wait for: it is due soon, and once for all
    /// of a thousand such things.
    pub(in crate::daemon) fn hurry(&mut self) {
        self.due_ns = self.due_ns.min(self.last_ns + HURRY_NS);
    }

    /// There are orders that the maps do not follow yet.
    pub(in crate::daemon) fn note_orders(&mut self) {
        self.has_orders = true;
    }

    /// Whether orders may be obeyed now: a thousand of them cost as little as a few.
    pub(in crate::daemon) fn may_obey(&self, now_ns: u64) -> bool {
        now_ns >= self.obeyed_ns + HURRY_NS
    }

    /// When the last round was.
    pub(in crate::daemon) fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// A new interval, or backends that came or went: the next round is due at once, with a new ring.
    pub(in crate::daemon) fn reconfigure(&mut self, interval: Duration) {
        self.interval_ns = nanoseconds(interval);
        self.due_ns = 0;
        self.ring = None;
    }

    /// Follows these weights for a while.
    pub(in crate::daemon) fn follow(&mut self, followed: FollowedWeights) {
        self.followed = Some(followed);
    }

    /// This node is the master from now on.
    pub(in crate::daemon) fn hold_ring(&mut self, now_ns: u64) {
        self.held_until_ns = now_ns + HELD_NS;
    }

    /// Whether the live ring is no longer that of these weights.
    pub(super) fn is_stale(&self, in_order: &[WeightPermille], is_led: bool, now_ns: u64) -> bool {
        let Some(built) = &self.ring else {
            return true;
        };
        if is_led {
            return built != in_order;
        }
        let is_held = now_ns < self.held_until_ns && table::lets_the_same(built, in_order);
        !is_held && table::worth_rebuilding(built, in_order)
    }

    /// There are figures of this node's own.
    pub(in crate::daemon) fn forget_former(&mut self) {
        self.followed
            .take_if(|followed| followed.whose == Whose::Former);
    }

    /// The last decision on a backend.
    pub(in crate::daemon) fn decision(&self, id: BackendId) -> Option<&policy::Decision> {
        self.shown.decision(id)
    }

    /// The last decisions on all backends, or on one.
    pub(in crate::daemon) fn explained(&self, backend: Option<&str>) -> Explained {
        let Some((input, _)) = &self.last else {
            return Explained::default();
        };
        let output = &self.shown;
        Explained {
            text: policy::explain::text(input, output, backend),
            // Plain data with text keys always becomes JSON.
            decisions: serde_json::to_value(policy::explain::explanation(input, output, backend))
                .unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_master_keeps_the_former_ones_ring_for_a_while() {
        let weights = |weights: [u32; 3]| weights.map(WeightPermille).to_vec();
        let told = weights([1000, 1000, 1000]);
        let mut weigher = Weigher::new(Duration::from_secs(10));
        assert!(weigher.is_stale(&told, false, 0), "there is no ring");
        weigher.ring = Some(told.clone());
        let own = weights([1000, 1000, 300]);
        assert!(weigher.is_stale(&own, false, 0));
        weigher.hold_ring(0);
        assert!(!weigher.is_stale(&own, false, HELD_NS - 1));
        assert!(weigher.is_stale(&own, false, HELD_NS));
        let without_one = weights([1000, 1000, 0]);
        assert!(weigher.is_stale(&without_one, false, 1), "one is drained");
        assert!(weigher.is_stale(&own, true, 1), "it is what another says");
        assert!(!weigher.is_stale(&told, true, 1));
    }
}
