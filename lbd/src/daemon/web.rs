//! `node.http`: the state, read-only. `GET /api/status` is what `lbd status --json` prints.
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::sync::mpsc;

use super::{control, event::Event};

pub(super) fn router(events: mpsc::Sender<Event>) -> Router {
    Router::new()
        .route("/api/status", get(status))
        .with_state(events)
}

async fn status(State(events): State<mpsc::Sender<Event>>) -> Response {
    match control::ask(&events, control::Request::Status).await {
        Some(status) => Json(status).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping").into_response(),
    }
}
