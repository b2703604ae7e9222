//! One round of the policy: look at everything, decide, and put weights and ring into the maps.
//!
//! Between two rounds an operator's order is obeyed at once, by the figures of the last round: it is
//! no round of its own, or frequent orders would make the policy forget faster.
use std::{collections::HashMap, net::IpAddr};

use tracing::info;

use super::{
    Steering,
    followed_weights::{self, FollowedWeights, Whose},
    members::{self, Member},
};
use crate::{
    channel::BackendWeight,
    config::Mode,
    daemon::{
        clock,
        cluster::{Cluster, election_view::ElectionView},
        context::Context,
        log_failure::log_failure,
        observe::{
            recent::{Kind, Severity},
            record::Observed,
        },
    },
    dataplane::DataPlane,
    policy::{self, Input, Output, Reason},
    table::{Entry, Ring},
    units::{BackendId, WeightPermille},
};

/// How often the master repeats its weights: a datagram may be lost.
const TELL_NS: u64 = 1_000_000_000;

impl Steering {
    /// One round.
    pub(in crate::daemon) fn weigh(&mut self, context: &mut Context<'_>, now_ns: u64) {
        self.sweep
            .count_ended(context.plane, &mut self.members, now_ns);
        let input = self.policy_input(context, now_ns);
        let output = self.weigher.policy.step(&input);
        self.weigher.last = Some((input, output));
        self.weigher.has_orders = false;
        self.put_into_maps(context, now_ns);
        self.weigher.last_ns = now_ns;
        // The last answer of a round of polls starts the next round of the policy; a poll that
        // hangs must not hold it up for long.
        let interval_ns = self.weigher.interval_ns;
        self.weigher.due_ns = now_ns
            + if self.members.any_polled() {
                interval_ns * 3 / 2
            } else {
                interval_ns
            };
    }

    /// The policy's input as of now.
    pub(super) fn policy_input(&self, context: &Context<'_>, now_ns: u64) -> Input {
        Input {
            now_ns,
            settings: members::policy_settings(&context.config.cluster),
            mode: self.policy_mode(context),
            sites: self.members.sites(&context.config.cluster, now_ns),
        }
    }

    /// Puts orders into the maps, between two rounds.
    pub(in crate::daemon) fn obey(&mut self, context: &mut Context<'_>, now_ns: u64) {
        let input = self.policy_input(context, now_ns);
        let output = self.weigher.policy.preview(&input);
        self.weigher.last = Some((input, output));
        self.weigher.obeyed_ns = now_ns;
        self.weigher.has_orders = false;
        self.put_into_maps(context, now_ns);
    }

    /// Puts the orders of other nodes into the maps.
    pub(in crate::daemon) fn follow_orders_if_due(
        &mut self,
        context: &mut Context<'_>,
        now_ns: u64,
    ) {
        if self.weigher.has_orders && self.weigher.may_obey(now_ns) {
            self.obey(context, now_ns);
        }
    }

    /// This node's decisions, or the master's that it follows.
    fn put_into_maps(&mut self, context: &mut Context<'_>, now_ns: u64) {
        let Some((_, own)) = &self.weigher.last else {
            return;
        };
        let mut output = own.clone();
        let is_master = context.cluster.election.is_master();
        let followed = self.weigher.followed.take();
        let followed = followed.filter(|followed| followed.counts(is_master, now_ns));
        if let Some(followed) = &followed {
            let members = &self.members;
            let address = |id| Some(members.iter().find(|member| member.id == id)?.address);
            followed.lead(&mut output, address);
        }
        self.log_changes(&output, context.observed);
        self.apply(&output, followed.as_ref(), context.plane, now_ns);
        self.forget_gone(context.plane, now_ns);
        self.weigher.shown = output;
        self.weigher.followed = followed;
        if is_master {
            self.tell_weights(context.cluster, now_ns);
        }
    }

    /// What a peer that takes itself for the master has decided: it counts if this node thinks so too.
    pub(in crate::daemon) fn told_weights(
        &mut self,
        of: IpAddr,
        weights: Vec<BackendWeight>,
        context: &mut Context<'_>,
    ) {
        let has_leader = !context.cluster.election.is_master()
            && context.cluster.election.leader_address().is_some();
        let peers = context.cluster.channel.addresses();
        if !has_leader
            || !followed_weights::may_lead(of, peers, |address| {
                context.cluster.election.is_leader(address)
            })
        {
            return;
        }
        let now_ns = clock::boottime_ns();
        let followed =
            FollowedWeights::new(Whose::Master, now_ns + followed_weights::TOLD_NS, weights);
        self.weigher.follow(followed);
        self.put_into_maps(context, now_ns);
    }

    /// Tells the backups, again every second.
    pub(in crate::daemon) fn tell_weights_if_due(&mut self, cluster: &Cluster, now_ns: u64) {
        if cluster.election.is_master() && now_ns >= self.weigher.told_ns + TELL_NS {
            self.tell_weights(cluster, now_ns);
        }
    }

    pub(in crate::daemon) fn tell_weights(&mut self, cluster: &Cluster, now_ns: u64) {
        self.weigher.told_ns = now_ns;
        let Some(in_ring) = &self.weigher.ring else {
            return;
        };
        let weights = self
            .members
            .iter()
            .zip(in_ring)
            .filter_map(|(member, in_ring)| {
                Some(BackendWeight {
                    backend: member.address,
                    weight: self.weigher.decision(member.id)?.weight,
                    in_ring: *in_ring,
                })
            });
        cluster.channel.tell_weights(weights.collect());
    }

    fn policy_mode(&self, context: &Context<'_>) -> policy::Mode {
        match context.config.cluster.mode {
            Mode::ActiveActive => policy::Mode::ActiveActive,
            Mode::ActivePassive => policy::Mode::ActivePassive {
                master: self.master_backend(&context.cluster.election),
            },
        }
    }

    /// The backend that is the master's own box.
    fn master_backend(&self, election: &ElectionView) -> Option<BackendId> {
        if election.is_master() {
            return self.members.local().map(|member| member.id);
        }
        let master = self
            .members
            .iter()
            .find(|member| election.is_leader(member.address))?;
        Some(master.id)
    }

    /// Weights at once, the ring only when it would differ by more than noise, or from the master's.
    fn apply(
        &mut self,
        output: &Output,
        followed: Option<&FollowedWeights>,
        plane: &mut DataPlane,
        now_ns: u64,
    ) {
        let weights: Vec<(BackendId, WeightPermille)> = output
            .decisions()
            .map(|decision| (decision.id, decision.weight))
            .collect();
        log_failure("writing the weights", plane.set_weights(&weights));
        let by_id: HashMap<BackendId, WeightPermille> = weights.into_iter().collect();
        // A suspicion may pass in a moment. The program skips who has no weight, so the ring, which
        // also names the box of a session that no table knows, can stay.
        let suspect = |id| {
            let decision = output.decision(id);
            decision.is_some_and(|decision| matches!(decision.reason, Reason::Suspect { .. }))
        };
        let built = self.weigher.ring.as_deref().unwrap_or_default();
        let in_ring = |(index, member): (usize, &Member)| {
            followed
                .and_then(|followed| followed.in_ring(member.address))
                .or_else(|| built.get(index).copied().filter(|_| suspect(member.id)))
                .or_else(|| by_id.get(&member.id).copied())
                .unwrap_or_default()
        };
        let members = self.members.iter().enumerate();
        let in_order: Vec<WeightPermille> = members.map(in_ring).collect();
        if self.weigher.is_stale(&in_order, followed.is_some(), now_ns) {
            let ring = self.build_ring(&in_order);
            let swapped = plane.swap_ring(ring.slots());
            if swapped.is_ok() {
                self.weigher.ring = Some(in_order);
                self.admission.adoption.ring_changed(now_ns);
            }
            log_failure("swapping the ring", swapped);
        }
    }

    /// By the backends' addresses, which are the same on every node; ids need not be.
    fn build_ring(&self, weights: &[WeightPermille]) -> Ring {
        let identities: Vec<String> = self
            .members
            .iter()
            .map(|member| member.address.to_string())
            .collect();
        let entries: Vec<Entry<'_>> = self
            .members
            .iter()
            .zip(&identities)
            .zip(weights)
            .map(|((member, identity), weight)| Entry {
                identity: identity.as_bytes(),
                weight: *weight,
                value: u32::from(member.id.0),
            })
            .collect();
        Ring::build(&entries)
    }

    /// A line for each backend that starts or stops to take sessions.
    fn log_changes(&mut self, output: &Output, observed: &mut Observed) {
        for decision in output.decisions() {
            let before = self
                .weigher
                .decision(decision.id)
                .map(|before| before.accepting);
            if before == Some(decision.accepting) {
                continue;
            }
            let Some(member) = self.members.by_id(decision.id) else {
                continue;
            };
            let name = member.name.clone();
            let (kind, said) = if decision.accepting {
                let said = format!("{name} takes sessions: {}", decision.reason);
                (Kind::Return, said)
            } else {
                *member.shut_offs.entry(decision.reason.kind()).or_default() += 1;
                let said = format!("{name} takes no new sessions: {}", decision.reason);
                (Kind::ShutOff, said)
            };
            observed.happened(Severity::Info, kind, Some(&name), said);
        }
    }

    /// Removes those whose last session has ended.
    fn forget_gone(&mut self, plane: &mut DataPlane, now_ns: u64) {
        if self.weigher.leaving.is_empty() {
            return;
        }
        let busy: HashMap<BackendId, u64> = plane.loads().into_iter().collect();
        let has_sessions = |id| busy.get(&id).is_some_and(|sessions| *sessions > 0);
        for id in self.weigher.leaving.take_gone(now_ns, has_sessions) {
            if let Some(endpoint) = plane.backend_ids().endpoint(id) {
                info!("the last session with {endpoint} has ended; it is removed");
            }
            log_failure("removing a backend", plane.remove_backend(id));
        }
    }
}
