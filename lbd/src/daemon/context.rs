//! What the owners of the event loop's state are lent while they handle an event.
use super::{
    cluster::Cluster, lifecycle::running::Running, observe::record::Observed,
    operator::notify::Notice,
};
use crate::{config::Config, dataplane::DataPlane};

/// What every owner needs and none of them owns.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) plane: &'a mut DataPlane,
    pub(super) cluster: &'a mut Cluster,
    pub(super) observed: &'a mut Observed,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        running: &'a Running,
        plane: &'a mut DataPlane,
        cluster: &'a mut Cluster,
        observed: &'a mut Observed,
    ) -> Self {
        Self {
            config: &running.config,
            plane,
            cluster,
            observed,
        }
    }

    /// What `node.notify` is told of any event.
    pub(super) fn notice(&self, event: &'static str, reason: String) -> Notice {
        Notice::new(
            self.config,
            self.cluster.election.is_master(),
            event,
            reason,
        )
    }
}
