//! What an operator orders, done.
use lbd_common::flow::FlowWord;
use tracing::{info, warn};

use super::{
    Operators,
    order::{OperatorRequest, Order, Ordered, Then},
};
use crate::{
    channel::{OrderRecord, Word},
    config::duration::Shown,
    daemon::{
        clock,
        context::Context,
        observe::{
            recent::{Kind, Severity},
            record::Observed,
        },
        steering::{Steering, members::Members},
    },
    dataplane::{DataPlane, seen},
    units::{BackendId, Endpoint, Weight},
};

impl Operators {
    /// Does what was ordered since the last time, in one write to the disk and one to the maps, and
    /// says what was done or why not.
    pub(in crate::daemon) fn operate_if_due(
        &mut self,
        steering: &mut Steering,
        context: &mut Context<'_>,
        now_ns: u64,
    ) {
        if self.waiting.is_empty() || !steering.weigher().may_obey(now_ns) {
            return;
        }
        let ordered = std::mem::take(&mut self.waiting);
        let words: Vec<Result<Word, String>> = ordered
            .iter()
            .map(|one| word_of(&one.request, &steering.members))
            .collect();
        let good: Vec<(&str, Word)> = ordered
            .iter()
            .zip(&words)
            .filter_map(|(one, word)| Some((one.request.backend.as_str(), *word.as_ref().ok()?)))
            .collect();
        let kept = self.keep(&good, steering, context, now_ns).map_err(|error| {
            format!(
                "nothing was changed, because the order could not be saved in node.state_dir: {error}"
            )
        });
        for (Ordered { request, reply }, word) in ordered.into_iter().zip(words) {
            let done = word.and_then(|_| kept.clone());
            // A person who went away meanwhile needs no answer.
            let _ = reply
                .send(done.map(|()| say_done(&request, &mut steering.members, context.observed)));
        }
    }

    /// Keeps the orders and acts on them.
    fn keep(
        &mut self,
        words: &[(&str, Word)],
        steering: &mut Steering,
        context: &mut Context<'_>,
        now_ns: u64,
    ) -> std::io::Result<()> {
        if words.is_empty() {
            return Ok(());
        }
        self.orders.set(words, clock::unix_ns())?;
        context.cluster.channel.tell_orders(self.orders.records());
        self.give_orders(&mut steering.members);
        steering.obey(context, now_ns);
        Ok(())
    }

    /// Gives every member the order that there is for it.
    pub(in crate::daemon) fn give_orders(&self, members: &mut Members) {
        for member in members.iter_mut() {
            member.order = self.orders.get(&member.name);
        }
    }

    /// Orders that a peer knows.
    pub(in crate::daemon) fn told_orders(
        &mut self,
        told: Vec<OrderRecord>,
        steering: &mut Steering,
    ) {
        let changed = match self.orders.merge(told) {
            Ok(changed) => changed,
            Err(error) => {
                warn!("orders of a peer could not be saved in node.state_dir: {error}");
                return;
            }
        };
        if changed.is_empty() {
            return;
        }
        self.give_orders(&mut steering.members);
        info!(
            "operator, on another node: changed the orders for {}",
            changed.join(", ")
        );
        steering.note_orders();
    }

    /// Resets what is left on the backends whose drain has lasted long enough. Each node does it to
    /// the flows that it knows.
    pub(in crate::daemon) fn end_drains(&self, steering: &Steering, plane: &DataPlane) {
        let now_unix_s = clock::unix_s();
        let leaving = steering.leaving_of_boxes(plane);
        for member in steering.members.iter() {
            let is_over = self.orders.drain(&member.name).is_some_and(|drain| {
                drain.then_reset && drain.until_unix_s.is_some_and(|until| until <= now_unix_s)
            });
            if !is_over || member.live.sessions == 0 {
                continue;
            }
            let now_seen = seen(clock::monotonic_ns());
            let others = leaving.get(&member.address);
            let on_it = |_, word: FlowWord| {
                let is_other = |(id, _): &(BackendId, Endpoint)| id.0 == word.backend;
                word.backend == member.id.0 || others.is_some_and(|ids| ids.iter().any(is_other))
            };
            let reset = plane.flows().doom(now_seen, on_it);
            if reset > 0 {
                info!(
                    "the drain of {} reached its timeout: {reset} sessions are reset",
                    member.name
                );
            }
        }
    }
}

fn what_becomes_of(sessions: u64, order: Order) -> String {
    match order {
        Order::Drain {
            timeout_s: Some(timeout),
            then: Then::Reset,
        } => {
            let timeout = Shown(std::time::Duration::from_secs(timeout));
            format!("{sessions} open ones stay for {timeout}, then they are reset")
        }
        _ => format!("{sessions} open ones stay"),
    }
}

fn word_of(request: &OperatorRequest, members: &Members) -> Result<Word, String> {
    members.must_know(&request.backend)?;
    match request.order {
        Order::Drain { timeout_s, then } => Ok(Word::Drain {
            until_unix_s: timeout_s.map(|timeout| clock::unix_s().saturating_add(timeout)),
            then_reset: then == Then::Reset,
        }),
        Order::Weight(weight) if weight > Weight::MAX.0 => Err(format!(
            "a weight is from 0 to {}, not {weight}",
            Weight::MAX.0
        )),
        Order::Weight(weight) => Ok(Word::Weight(weight)),
        Order::Release => Ok(Word::Released),
    }
}

fn say_done(request: &OperatorRequest, members: &mut Members, observed: &mut Observed) -> String {
    let name = request.backend.as_str();
    let done = match request.order {
        Order::Drain { .. } => {
            let member = members.by_name(name);
            let sessions = member.map_or(0, |member| member.live.sessions);
            let rest = what_becomes_of(sessions, request.order);
            format!("{name} is drained: no new sessions, {rest}")
        }
        Order::Weight(weight) => format!("{name} has weight {weight}"),
        Order::Release => format!("{name} has the weight the policy gives it"),
    };
    observed.happened(Severity::Info, Kind::Operator, Some(name), done.clone());
    done
}
