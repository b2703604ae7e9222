//! `/api/live`: the state each second as server-sent events, for the page.
use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse as _, Response,
        sse::{self, Sse},
    },
};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Interval, MissedTickBehavior},
};

use super::Web;
use crate::{
    daemon::{
        clock,
        event::{self, Event},
        observe::{recent::Happening, status::Status},
        operator::request::Request,
    },
    plain,
};

/// Only the latest events: the page itself must stay small.
pub(super) const FROM_THE_LAST: usize = 100;
/// Between two states.
const EVERY: Duration = Duration::from_secs(1);

/// What each event carries.
#[derive(Debug, Serialize)]
pub(super) struct Live {
    unix_s: u64,
    status: Box<Status>,
    /// All that are remembered in the first, then the new ones.
    events: Vec<Happening>,
}

struct Watcher {
    event_loop: mpsc::Sender<Event>,
    ticks: Interval,
    last_id: u64,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn live(State(web): State<Web>) -> Response {
    let Ok(place) = Arc::clone(&web.streams).try_acquire_owned() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages are open already; close one\n",
        )
            .into_response();
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        event_loop: web.event_loop,
        ticks,
        last_id: 0,
        _place: place,
    };
    Sse::new(states(watcher)).into_response()
}

/// The state as it is now, with the last so many happenings; `None` when the daemon is stopping.
pub(super) async fn look(event_loop: &mpsc::Sender<Event>, last: usize) -> Option<Live> {
    let mut live = look_after(event_loop, 0).await?;
    let old = live.events.len().saturating_sub(last);
    live.events.drain(..old);
    Some(live)
}

async fn look_after(event_loop: &mpsc::Sender<Event>, id: u64) -> Option<Live> {
    Some(Live {
        status: event::ask(event_loop, Request::Status).await?,
        events: event::ask(event_loop, |reply| Request::Events(id, reply)).await?,
        unix_s: clock::unix_s(),
    })
}

/// Ends when the daemon does. A page that does not read holds one state, not more.
fn states(watcher: Watcher) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold(watcher, |mut watcher| async move {
        watcher.ticks.tick().await;
        let live = look_after(&watcher.event_loop, watcher.last_id).await?;
        watcher.last_id = live.events.last().map_or(watcher.last_id, |last| last.id);
        let text = plain::lines(serde_json::to_string(&live).ok()?);
        let event = sse::Event::default().event("state").data(text);
        Some((Ok(event), watcher))
    })
}
