//! What a push and the event loop tell each other of this node.
use std::path::PathBuf;

use crate::{
    config::{ClusterKeys, Config},
    push::Version,
};

/// What pushing needs of the event loop: its state, while all others wait for the answer.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct PushContext {
    /// What runs.
    pub(in crate::daemon) running: Config,
    /// The file that it was read from.
    pub(in crate::daemon) path: PathBuf,
    /// Why the file as it is now is refused.
    pub(in crate::daemon) refused: Option<String>,
    /// Why this node is not the one to push from; `None` on the master.
    pub(in crate::daemon) not_master: Option<String>,
}

/// Who this node is among its peers.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Identity {
    /// Its name on the cluster channel.
    pub(in crate::daemon) name: String,
    /// What it believes.
    pub(in crate::daemon) keys: ClusterKeys,
}

/// What was put in place, to be taken over.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct TakeOver {
    /// What it is.
    pub(in crate::daemon) version: Version,
    /// Whether anything on this node changed.
    pub(in crate::daemon) changed: bool,
    /// The node that it came from, if not this one.
    pub(in crate::daemon) from: Option<String>,
}
