//! What an operator orders, done.
use tracing::info;

use super::{
    chronicle::Kind,
    clock,
    conductor::Conductor,
    control::{Explained, OperatorRequest, Order},
};
use crate::{policy::Override, units::Weight};

impl Conductor {
    /// Keeps the order, acts on it at once, and says what was done or why not.
    pub(super) fn operator(&mut self, request: &OperatorRequest) -> Result<String, String> {
        let name = request.backend.as_str();
        self.must_know(name)?;
        let order = match request.order {
            Order::Drain => Some(Override::Drain),
            Order::Weight(weight) if weight > Weight::MAX.0 => {
                return Err(format!("a weight is 0 to {}, not {weight}", Weight::MAX.0));
            }
            Order::Weight(weight) => Some(Override::Weight(Weight(weight))),
            Order::Release => None,
        };
        self.orders.set(name, order).map_err(|error| {
            format!(
                "nothing was changed, as the order could not be kept in node.state_dir: {error}"
            )
        })?;
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
                format!("{name} is drained: no new sessions, {sessions} open ones stay")
            }
            Some(Override::Weight(weight)) => format!("{name} has the weight {}", weight.0),
            None => format!("{name} has the weight that the policy gives it"),
        };
        info!("operator: {done}");
        self.note(Kind::Operator, Some(name), done.clone());
        Ok(done)
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
