//! Every listening socket of the daemon, bound before anything on the box is changed.
use std::{io, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Handle,
    sync::mpsc,
};
use tracing::error;

use crate::{
    agent::{self, Agent},
    config::{Config, Node},
    daemon::{
        cluster::{channel_tcp, known::Known, push::Post},
        event::Event,
        observe::web,
        operator::{control, openapi},
    },
};

/// Bound, not serving yet.
#[derive(Debug)]
pub(in crate::daemon) struct Listeners {
    control: UnixListener,
    /// `node.http`: metrics and state, read-only.
    http: Option<TcpListener>,
    /// `node.channel`: this box's figures for its peers, read-only, and their pushes.
    channel: Option<TcpListener>,
}

impl Listeners {
    /// Binds them all, or none.
    pub(in crate::daemon) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let node = &config.node;
        let control = control::bind(&node.control)
            .await
            .with_context(|| format!("node.control {}", node.control.display()))?;
        let http = match node.http {
            Some(address) => Some(bind("node.http", address).await?),
            None => None,
        };
        let channel = match node.channel {
            Some(address) => Some(bind("node.channel", address).await?),
            None => None,
        };
        Ok(Self {
            control,
            http,
            channel,
        })
    }

    /// Serves until the runtime ends.
    ///
    /// `known`: the boxes of the cluster, as the running configuration has them.
    pub(in crate::daemon) fn serve(
        self,
        runtime: &Handle,
        events: &mpsc::Sender<Event>,
        agent: Agent,
        post: &Arc<Post>,
        node: &Node,
        known: &Known,
    ) {
        let control = control::serve(self.control, events.clone(), Arc::clone(post));
        runtime.spawn(async move { log_end("the control socket", control.await) });
        if let Some(http) = self.http {
            let router = web::router(events.clone(), node, openapi::answer);
            let known = known.clone();
            runtime.spawn(web::serve(http, router, move |from| known.has(from)));
        }
        if let Some(channel) = self.channel {
            let (stats, post) = (agent::router(agent), Arc::clone(post));
            runtime.spawn(channel_tcp::serve(channel, stats, post, known.clone()));
        }
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key}: cannot listen on {address}; is another lbd or agent running there?")
    })
}

fn log_end(what: &str, ended: io::Result<()>) {
    if let Err(error) = ended {
        error!("{what} stopped serving: {error}");
    }
}
