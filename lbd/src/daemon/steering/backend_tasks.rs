//! The tasks that run for each backend next to the event loop: polls, health checks, and the watch on the way
//! there.
use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc};

use tokio::{runtime::Handle, sync::mpsc};
use tracing::warn;

use super::{health, poll, reply_ways::ReplyWays};
use crate::{
    agent::{Agent, AgentConfig},
    config::Config,
    daemon::{event::Event, lifecycle::reload::Edits},
    host::{HostError, HostEvent, Watch, neighbours::Vouched},
};

/// Handles to the tasks. They end when this is dropped.
#[derive(Debug)]
pub(in crate::daemon) struct BackendTasks {
    runtime: Handle,
    agent: Agent,
    pollers: poll::Pollers<Event>,
    checkers: health::Checkers<Event>,
    edits: Edits,
    wishes: mpsc::UnboundedSender<Wish>,
    /// What the configuration has to be watched.
    watched: Followed,
    reply_ways: ReplyWays,
}

/// Interfaces and addresses to watch.
type Followed = (Vec<String>, Vec<IpAddr>);

/// What the watch is told.
#[derive(Debug)]
enum Wish {
    /// To follow these.
    Follow(Followed),
    /// To take these nodes' word for their MACs.
    Vouch(BTreeMap<IpAddr, Vouched>),
}

impl BackendTasks {
    /// Starts the tasks; they have nothing to do until [`Self::follow`].
    pub(in crate::daemon) fn start(
        runtime: &Handle,
        config: &Config,
        events: &mpsc::Sender<Event>,
        agent: Agent,
    ) -> Result<Self, HostError> {
        let _inside = runtime.enter();
        let watch = Watch::start(config.node.interfaces.clone(), Vec::new())?;
        let (wishes, wished) = mpsc::unbounded_channel();
        runtime.spawn(pass_on(watch, wished, events.clone()));
        Ok(Self {
            runtime: runtime.clone(),
            agent,
            pollers: poll::Pollers::new(events.clone()),
            checkers: health::Checkers::new(events.clone()),
            edits: Edits::new(runtime, events.clone()),
            wishes,
            watched: Followed::default(),
            reply_ways: ReplyWays::default(),
        })
    }

    /// Follows a configuration's backends from now on, and edits of it and of what it names.
    pub(in crate::daemon) fn follow(&mut self, config: &Config, path: &Path) {
        self.edits.follow(path, config);
        let _inside = self.runtime.enter();
        let agent = self.agent.clone();
        let looks_at = AgentConfig::from(config);
        self.runtime
            .spawn(async move { agent.configure(looks_at).await });
        self.pollers.replace(poll::targets(config, &self.agent));
        self.checkers.replace(health::targets(config));
        let addresses = config
            .cluster
            .backends()
            .map(|(_, backend)| backend.address)
            .chain(config.cluster.directors.iter().copied())
            .collect();
        self.watched = (config.node.interfaces.clone(), addresses);
        self.watch();
    }

    /// Asks a backend for a sign of life.
    pub(in crate::daemon) fn ask(&mut self, backend: &str) {
        let _inside = self.runtime.enter();
        self.checkers.ask(backend);
    }

    /// What the checks have found out may have been this box's own fault.
    pub(in crate::daemon) fn doubt(&self) {
        self.checkers.doubt();
    }

    /// Where it is noted that other boxes were heard.
    pub(in crate::daemon) fn outside(&self) -> Arc<health::Outside> {
        self.checkers.outside()
    }

    /// Follows the ways to these clients too.
    pub(in crate::daemon) fn find_ways_to(&mut self, clients: Vec<IpAddr>) {
        if self.reply_ways.add(clients) {
            self.watch();
        }
    }

    fn watch(&self) {
        let (interfaces, mut addresses) = self.watched.clone();
        addresses.extend(self.reply_ways.iter());
        // The task that hears this ends with the runtime only.
        let _ = self.wishes.send(Wish::Follow((interfaces, addresses)));
    }

    /// Takes these nodes' word for the MACs that stand for their addresses.
    pub(in crate::daemon) fn vouch(&self, vouched: BTreeMap<IpAddr, Vouched>) {
        let _ = self.wishes.send(Wish::Vouch(vouched));
    }
}

/// Hands the watch's events to the event loop, and wishes to the watch.
async fn pass_on(
    mut watch: Watch,
    mut wished: mpsc::UnboundedReceiver<Wish>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let event: Option<HostEvent> = tokio::select! {
            event = watch.next() => event,
            wish = wished.recv() => match wish {
                Some(Wish::Vouch(vouched)) => {
                    watch.vouch(vouched);
                    continue;
                }
                Some(Wish::Follow((interfaces, addresses))) => {
                    watch.follow(interfaces, addresses);
                    continue;
                }
                None => return,
            },
        };
        let Some(event) = event else {
            warn!("interfaces and neighbours are no longer watched");
            return;
        };
        if events.send(Event::Host(event)).await.is_err() {
            return;
        }
    }
}
