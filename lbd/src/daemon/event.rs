//! Everything that may happen to the event loop.
use tokio::sync::{mpsc, oneshot};

use super::{
    cluster::{advert, channel},
    operator::request::Request,
    steering::{health, poll},
};
use crate::host::HostEvent;

/// Sent by the tasks, handled one after another by the event loop.
#[derive(Debug)]
pub(super) enum Event {
    /// Time passed: see [`TICK`](super::TICK).
    Tick,
    /// An interface changed, or the way to a backend.
    Host(HostEvent),
    /// A backend was asked for its figures.
    Polled(poll::Event),
    /// A backend's health changed.
    Health(health::Event),
    /// The election moved.
    Election(advert::Event),
    /// A peer told something over the cluster channel.
    Channel(channel::Event),
    /// The configuration file was edited.
    ConfigEdited,
    /// A person asks.
    Request(Request),
    /// The daemon must stop.
    Stop,
}

impl From<poll::Event> for Event {
    fn from(event: poll::Event) -> Self {
        Self::Polled(event)
    }
}

impl From<health::Event> for Event {
    fn from(event: health::Event) -> Self {
        Self::Health(event)
    }
}

/// Asks the event loop; `None` when it has ended.
pub(super) async fn ask<T>(
    events: &mpsc::Sender<Event>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    events.send(Event::Request(request(reply))).await.ok()?;
    answer.await.ok()
}
