//! What an operator orders, done.
use lbd_common::flow::FlowWord;
use tracing::{info, warn};

use super::{
    chronicle::Kind,
    clock,
    conductor::Conductor,
    control::{Explained, OperatorRequest, Order, Then},
};
use crate::{
    channel::{OrderRecord, Word},
    config::duration::Shown,
    dataplane::seen,
    policy::Override,
    units::Weight,
};

impl Conductor {
    /// Keeps the order, acts on it at once, and says what was done or why not.
    pub(super) fn operator(&mut self, request: &OperatorRequest) -> Result<String, String> {
        let name = request.backend.as_str();
        self.must_know(name)?;
        let word = match request.order {
            Order::Drain { timeout_s, then } => Word::Drain {
                until_unix_s: timeout_s.map(|timeout| clock::unix_s().saturating_add(timeout)),
                then_reset: then == Then::Reset,
            },
            Order::Weight(weight) if weight > Weight::MAX.0 => {
                return Err(format!("a weight is 0 to {}, not {weight}", Weight::MAX.0));
            }
            Order::Weight(weight) => Word::Weight(weight),
            Order::Release => Word::Released,
        };
        self.orders
            .set(name, word, clock::unix_ns())
            .map_err(|error| {
                format!(
                    "nothing was changed, as the order could not be kept in node.state_dir: {error}"
                )
            })?;
        self.channel.tell_orders(self.orders.records());
        let order = self.orders.get(name);
        let Some(member) = self.members.by_name(name) else {
            return Err(format!(
                "{name} was removed from the configuration meanwhile"
            ));
        };
        member.order = order;
        let sessions = member.live.sessions;
        self.weigh(clock::boottime_ns());
        let done = match order {
            Some(Override::Drain) => {
                format!(
                    "{name} is drained: no new sessions, {}",
                    what_becomes_of(sessions, request.order)
                )
            }
            Some(Override::Weight(weight)) => format!("{name} has the weight {}", weight.0),
            None => format!("{name} has the weight that the policy gives it"),
        };
        info!("operator: {done}");
        self.note(Kind::Operator, Some(name), done.clone());
        Ok(done)
    }

    /// Orders that a peer knows.
    pub(super) fn told_orders(&mut self, told: Vec<OrderRecord>) {
        let changed = match self.orders.merge(told) {
            Ok(changed) => changed,
            Err(error) => {
                warn!("orders of a peer could not be kept in node.state_dir: {error}");
                return;
            }
        };
        if changed.is_empty() {
            return;
        }
        for member in self.members.iter_mut() {
            member.order = self.orders.get(&member.name);
        }
        info!(
            "operator, on another node: {} ordered otherwise",
            changed.join(", ")
        );
        self.weigh(clock::boottime_ns());
    }

    /// Resets what is left on the backends whose drain has lasted long enough. Each node does it to
    /// the flows that it knows.
    pub(super) fn end_drains(&mut self) {
        let now_unix_s = clock::unix_s();
        for member in self.members.iter() {
            let is_over = self.orders.drain(&member.name).is_some_and(|drain| {
                drain.then_reset && drain.until_unix_s.is_some_and(|until| until <= now_unix_s)
            });
            if !is_over || member.live.sessions == 0 {
                continue;
            }
            let now_seen = seen(clock::monotonic_ns());
            let on_it = |_, word: FlowWord| word.backend == member.id.0;
            let reset = self.plane.flows().doom(now_seen, on_it);
            if reset > 0 {
                info!(
                    "{} was drained for long enough: {reset} sessions are reset",
                    member.name
                );
            }
        }
    }

    /// The last decisions, on all backends or on one.
    pub(super) fn explain(&self, backend: Option<&str>) -> Result<Explained, String> {
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
            "there is no backend {name}; there are {}",
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
