//! The shell of [`crate::push`]: its files, its connections, and the event loop's part in it.
//!
//! | file | has |
//! |---|---|
//! | `store` | the versions under `node.state_dir`, and what they consist of |
//! | `layout` | the staging files, and the renames that install them |
//! | `local_config` | this node's own configuration: what it is now, and whether it could be another |
//! | `link` | one authenticated connection |
//! | `callers`, `pieces` | whom to call, and the bytes that are sent |
//! | `serve` | the side that takes |
//! | `drive` | the side that pushes |
//! | `ask` | what the peers have; the side that was away and pulls |
mod ask;
mod callers;
mod context;
mod drive;
mod layout;
mod link;
mod local_config;
mod pieces;
mod report;
mod serve;
mod store;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

pub(in crate::daemon) use ask::standings;
pub(in crate::daemon) use context::{Identity, PushContext, TakeOver};
pub(in crate::daemon) use drive::push;
pub(in crate::daemon) use report::who;
pub use report::{
    PeerReport, PeerStanding, Progress, PushOrigin, PushReport, PushRequest, StandingReport,
};
pub(in crate::daemon) use serve::serve;
pub use store::Store;

use crate::{
    daemon::{
        event::{self, Event},
        operator::request::Request,
    },
    push::{Difference, Record, Version},
};
use local_config::Laid;

/// Everything about pushes that outlives one of them.
#[derive(Debug)]
pub(in crate::daemon) struct Post {
    /// `Err`: why nothing can be kept.
    store: Mutex<Result<Store, String>>,
    /// One push at a time, whichever side this node is on.
    busy: Arc<tokio::sync::Mutex<()>>,
    events: mpsc::Sender<Event>,
}

impl Post {
    /// `store`: the one of `node.state_dir`, or why there is none. `config`, which `path` has, runs.
    pub(in crate::daemon) fn new(
        store: Result<Store, String>,
        path: &Path,
        node: &str,
        events: mpsc::Sender<Event>,
    ) -> Arc<Self> {
        let mut store = store;
        if let Err(why) = &store {
            warn!("no configuration can be pushed to or from this node: {why}");
        }
        if let Ok(store) = &mut store
            && store.history().current().is_none()
            && let Err(why) = local_config::keep_first(store, path, node)
        {
            warn!("the configuration of this node could not be saved as version 0: {why}");
        }
        Arc::new(Self {
            store: Mutex::new(store),
            busy: Arc::default(),
            events,
        })
    }

    fn store(&self) -> MutexGuard<'_, Result<Store, String>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the store, or says why there is none. Blocks on files: not on an async
    /// thread without `block_in_place`.
    fn with_store<T>(
        &self,
        action: impl FnOnce(&mut Store) -> Result<T, String>,
    ) -> Result<T, String> {
        match &mut *self.store() {
            Ok(store) => action(store),
            Err(why) => Err(format!("it keeps no versions: {why}")),
        }
    }

    /// Lays out a version on this node, and says what it changes.
    fn lay(
        &self,
        record: &Record,
        context: &PushContext,
    ) -> (Result<Laid, String>, Vec<Difference>) {
        let mut differences = Vec::new();
        let laid = blocking(|| {
            self.with_store(|store| {
                let (laid, found) = local_config::lay(store, record, context);
                differences = found;
                laid
            })
        });
        (laid, differences)
    }

    /// The version that this node was given last.
    pub(in crate::daemon) fn version(&self) -> Option<Version> {
        let store = self.store();
        let current = store.as_ref().ok()?.history().current();
        current.map(|record| record.version.clone())
    }

    /// Who this node is; `None` without a channel and a key. Cheap, as strangers make it ask.
    async fn identity(&self) -> Option<Identity> {
        let asked = self.ask(Request::Identity).await;
        asked.ok().flatten()
    }

    async fn context(&self) -> Result<PushContext, String> {
        let context = self.ask(Request::PushContext).await?;
        Ok(*context)
    }

    /// Has the event loop take over what was put in place. Why it does not run, if so.
    async fn take_over(&self, what: TakeOver) -> Option<String> {
        let asked = self.ask(|reply| Request::TakeOver(Box::new(what), reply));
        asked.await.unwrap_or_else(Some)
    }

    /// Has the event loop read the configuration file again. Why it refuses it, if so.
    async fn reload(&self) -> Option<String> {
        let asked = self.ask(Request::Reload).await;
        asked.unwrap_or_else(Some)
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, String> {
        let answer = event::ask(&self.events, request).await;
        answer.ok_or_else(|| "the daemon is stopping".to_owned())
    }
}

/// Blocks on files, off the async threads.
fn blocking<T>(action: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(action)
}
