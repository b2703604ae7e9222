//! What an operator orders, done.
use lbd_common::flow::FlowWord;
use tracing::{info, warn};

use super::order::{Explained, OperatorRequest, Order, Ordered, Then};
use crate::{
    channel::{OrderRecord, Word},
    config::duration::Shown,
    daemon::{
        clock,
        event_loop::EventLoop,
        observe::recent::{Kind, Severity},
    },
    dataplane::seen,
    units::{BackendId, Endpoint, Weight},
};

impl EventLoop {
    /// Does what was ordered since the last time, in one write to the disk and one to the maps, and
    /// says what was done or why not.
    pub(in crate::daemon) fn operate_if_due(&mut self, now_ns: u64) {
        if self.ordered.is_empty() || !self.weigher.may_obey(now_ns) {
            return;
        }
        let ordered = std::mem::take(&mut self.ordered);
        let words: Vec<Result<Word, String>> = ordered
            .iter()
            .map(|one| self.word_of(&one.request))
            .collect();
        let good: Vec<(&str, Word)> = ordered
            .iter()
            .zip(&words)
            .filter_map(|(one, word)| Some((one.request.backend.as_str(), *word.as_ref().ok()?)))
            .collect();
        let kept = self.keep(&good, now_ns).map_err(|error| {
            format!(
                "nothing was changed, because the order could not be saved in node.state_dir: {error}"
            )
        });
        for (Ordered { request, reply }, word) in ordered.into_iter().zip(words) {
            let done = word.and_then(|_| kept.clone());
            // A person who went away meanwhile needs no answer.
            let _ = reply.send(done.map(|()| self.say_done(&request)));
        }
    }

    /// Keeps the orders and acts on them.
    fn keep(&mut self, words: &[(&str, Word)], now_ns: u64) -> std::io::Result<()> {
        if words.is_empty() {
            return Ok(());
        }
        self.orders.set(words, clock::unix_ns())?;
        self.channel.tell_orders(self.orders.records());
        self.take_orders();
        self.obey(now_ns);
        Ok(())
    }

    fn word_of(&self, request: &OperatorRequest) -> Result<Word, String> {
        self.must_know(&request.backend)?;
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

    fn say_done(&mut self, request: &OperatorRequest) -> String {
        let name = request.backend.as_str();
        let done = match request.order {
            Order::Drain { .. } => {
                let member = self.members.by_name(name);
                let sessions = member.map_or(0, |member| member.live.sessions);
                let rest = what_becomes_of(sessions, request.order);
                format!("{name} is drained: no new sessions, {rest}")
            }
            Order::Weight(weight) => format!("{name} has weight {weight}"),
            Order::Release => format!("{name} has the weight the policy gives it"),
        };
        self.happened(Severity::Info, Kind::Operator, Some(name), done.clone());
        done
    }

    /// Gives every member the order that there is for it.
    pub(in crate::daemon) fn take_orders(&mut self) {
        for member in self.members.iter_mut() {
            member.order = self.orders.get(&member.name);
        }
    }

    /// Orders that a peer knows.
    pub(in crate::daemon) fn told_orders(&mut self, told: Vec<OrderRecord>) {
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
        self.take_orders();
        info!(
            "operator, on another node: changed the orders for {}",
            changed.join(", ")
        );
        self.weigher.note_orders();
    }

    /// Resets what is left on the backends whose drain has lasted long enough. Each node does it to
    /// the flows that it knows.
    pub(in crate::daemon) fn end_drains(&mut self) {
        let now_unix_s = clock::unix_s();
        let leaving = self.leaving_of_boxes();
        for member in self.members.iter() {
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
            let reset = self.plane.flows().doom(now_seen, on_it);
            if reset > 0 {
                info!(
                    "the drain of {} reached its timeout: {reset} sessions are reset",
                    member.name
                );
            }
        }
    }

    /// The last decisions, on all backends or on one.
    pub(in crate::daemon) fn explain(&self, backend: Option<&str>) -> Result<Explained, String> {
        if let Some(name) = backend {
            self.must_know(name)?;
        }
        Ok(self.weigher.explained(backend))
    }

    fn must_know(&self, name: &str) -> Result<(), String> {
        let names = || self.members.iter().map(|member| member.name.as_str());
        if names().any(|known| known == name) {
            return Ok(());
        }
        let known: Vec<&str> = names().collect();
        Err(format!(
            "there is no backend {name}; the backends are {}",
            known.join(", ")
        ))
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
