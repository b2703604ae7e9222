//! Everything that is asked of the event loop, each with the channel for the answer.
use std::net::IpAddr;

use tokio::sync::oneshot;

use super::{
    access::{AccessRequest, AccessStatus},
    flow_query::FlowView,
    order::{Explained, OperatorRequest},
    trace::{TraceRequest, Tracing},
};
use crate::{
    daemon::{
        cluster::push::{Identity, PushContext, TakeOver},
        observe::{
            recent::{Happening, History},
            status::Status,
        },
    },
    dataplane::{Unverified, Verified},
};

/// What a person asks of the daemon.
#[derive(Debug)]
pub(in crate::daemon) enum Request {
    /// The state as plain data.
    Status(oneshot::Sender<Box<Status>>),
    /// The last decisions with their figures, on all backends or on the named one.
    Explain(Option<String>, oneshot::Sender<Result<Explained, String>>),
    /// An operator's word on a backend; the answer is a sentence.
    Operator(OperatorRequest, oneshot::Sender<Result<String, String>>),
    /// Who may open sessions, and whether this source may.
    Access(Option<IpAddr>, oneshot::Sender<AccessStatus>),
    /// A denial, or the end of one; the answer is a sentence.
    ChangeAccess(AccessRequest, oneshot::Sender<Result<String, String>>),
    /// The flow tables, to be walked elsewhere.
    Flows(oneshot::Sender<FlowView>),
    /// What happened after the event of this id.
    Events(u64, oneshot::Sender<Vec<Happening>>),
    /// The backends' figures over the last hour.
    History(oneshot::Sender<History>),
    /// Who this node is to a peer that pushes.
    Identity(oneshot::Sender<Option<Identity>>),
    /// What a push needs to know.
    PushContext(oneshot::Sender<Box<PushContext>>),
    /// Read the configuration file again; the answer is why it is refused, if so.
    Reload(oneshot::Sender<Option<String>>),
    /// A pushed configuration is in place; the answer is why it does not run, if so.
    TakeOver(Box<TakeOver>, oneshot::Sender<Option<String>>),
    /// Load a traced program, to be verified elsewhere.
    PrepareTrace(TraceRequest, oneshot::Sender<Result<Unverified, String>>),
    /// Put it in the place of the ordinary one.
    BeginTrace(Box<Verified>, oneshot::Sender<Result<Tracing, String>>),
    /// Bring the ordinary one back.
    EndTrace,
}
