//! The shell of the cluster channel: a task with the socket, and the conductor's side of it.
mod flow_sync;
mod learn;
mod task;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

pub(super) use self::flow_sync::FlowSync;
use self::task::{Order, Snapshot};
use super::{clock, event};
use crate::{
    channel::{FlowRecord, Keys, Part, PeerStatus, SenderId},
    config::Config,
};

/// A peer that was heard within so much runs an lbd. Some hellos of a second each.
const LIVE_NS: u64 = 10_000_000_000;

/// What the task tells the conductor.
#[derive(Debug)]
pub(super) enum Event {
    /// Flows of a peer, in their order.
    Learn {
        /// Of what they are a part.
        part: Part,
        /// The flows.
        records: Vec<FlowRecord>,
    },
    /// A peer wants every live flow.
    TableWanted {
        /// Which one.
        peer: SenderId,
    },
    /// The answer to [`Outlet::join`]: every peer that can be asked was asked, and what it said came
    /// before this.
    Joined,
}

/// The conductor's handle to the task.
#[derive(Debug)]
pub(super) struct Outlet {
    events: mpsc::Sender<event::Event>,
    state: State,
}

#[derive(Debug)]
enum State {
    Off {
        why: String,
    },
    On {
        /// Closing it ends the task.
        orders: mpsc::UnboundedSender<Order>,
        snapshot: Arc<Mutex<Snapshot>>,
    },
}

impl Outlet {
    pub(super) fn new(events: mpsc::Sender<event::Event>) -> Self {
        let why = "not started yet".to_owned();
        Self {
            events,
            state: State::Off { why },
        }
    }

    /// Follows a configuration from now on. Call it inside the runtime.
    pub(super) fn follow(&mut self, config: &Config) {
        let (Some(address), Some(keys)) = (config.node.channel, config.keys()) else {
            let missing = match config.node.channel {
                None => "node.channel",
                Some(_) => "cluster.secret_file",
            };
            self.turn_off(format!(
                "without {missing} flows are not told to peers: a failover loses sessions"
            ));
            return;
        };
        let keys = Keys::new(keys.signing(), keys.verifying());
        let peers = peers(config, address);
        if let State::On { orders, .. } = &self.state {
            // The task lives as long as this sender does.
            let _ = orders.send(Order::Configure { keys, peers });
            return;
        }
        match task::start(
            &config.node.name,
            address,
            keys,
            &peers,
            self.events.clone(),
        ) {
            Ok((orders, snapshot)) => {
                info!("flows are told to peers from {address}/udp");
                self.state = State::On { orders, snapshot };
            }
            Err(failed) => {
                let why = format!("node.channel: {address}/udp cannot be used: {failed}");
                error!("{why}");
                self.state = State::Off { why };
            }
        }
    }

    fn turn_off(&mut self, why: String) {
        if !matches!(&self.state, State::Off { why: known } if *known == why) {
            warn!("{why}");
            self.state = State::Off { why };
        }
    }

    /// Asks every peer for its table; [`Event::Joined`] follows. False when there is no channel.
    pub(super) fn join(&self) -> bool {
        self.order(Order::Join)
    }

    /// Whether an address is one of the peers'.
    pub(super) fn is_peer(&self, address: IpAddr) -> bool {
        let is_its = |peer: &PeerStatus| peer.address.ip() == address;
        self.look()
            .is_ok_and(|snapshot| snapshot.peers.iter().any(is_its))
    }

    /// The peers that were heard not long ago.
    pub(super) fn live(&self, now_ns: u64) -> Vec<IpAddr> {
        let snapshot = self.look().unwrap_or_default();
        let is_live = |peer: &&PeerStatus| {
            peer.heard_ns
                .is_some_and(|heard| now_ns.saturating_sub(heard) < LIVE_NS)
        };
        let live = snapshot.peers.iter().filter(is_live);
        live.map(|peer| peer.address.ip()).collect()
    }

    fn is_on(&self) -> bool {
        matches!(self.state, State::On { .. })
    }

    fn order(&self, order: Order) -> bool {
        match &self.state {
            State::On { orders, .. } => orders.send(order).is_ok(),
            State::Off { .. } => false,
        }
    }

    /// Why it is off, or what the task knows.
    fn look(&self) -> Result<Snapshot, &str> {
        match &self.state {
            State::Off { why } => Err(why),
            State::On { snapshot, .. } => Ok(snapshot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()),
        }
    }
}

/// The other backends: one that runs no lbd hears nothing, and that harms nobody.
fn peers(config: &Config, own: SocketAddr) -> Vec<(String, SocketAddr)> {
    config
        .cluster
        .backends()
        .filter(|(_, backend)| backend.name != config.node.name)
        .map(|(_, backend)| {
            let address = SocketAddr::new(backend.address, own.port());
            (backend.name.clone(), address)
        })
        .collect()
}
