//! `node.http`: the state, read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | OpenMetrics, or Prometheus' older text to who does not ask for it |
//! | `/api/status` | what `lbd status --json` prints |
mod guard;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::sync::mpsc;

pub(super) use self::serve::serve;
use super::{control, event::Event, metrics};

/// Sent with every answer: nothing here is to be framed, sniffed, cached, or read by other sites.
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

/// The routes. `node` is this box's name, by which a browser may call it.
pub(super) fn router(events: mpsc::Sender<Event>, node: &str) -> Router {
    let names: Arc<[String]> = guard::own_names(node).into();
    Router::new()
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .fallback(nothing_here)
        .method_not_allowed_fallback(read_only)
        .layer(middleware::from_fn_with_state(names, guarded))
        .with_state(events)
}

async fn metrics(State(events): State<mpsc::Sender<Event>>, headers: HeaderMap) -> Response {
    let Some(status) = control::ask(&events, control::Request::Status).await else {
        return stopping();
    };
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let format = metrics::Format::accepted(accept.unwrap_or_default());
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    (content_type, metrics::exposition(&status, format)).into_response()
}

async fn status(State(events): State<mpsc::Sender<Event>>) -> Response {
    match control::ask(&events, control::Request::Status).await {
        Some(status) => Json(status).into_response(),
        None => stopping(),
    }
}

fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n").into_response()
}

async fn nothing_here() -> Response {
    (
        StatusCode::NOT_FOUND,
        "there is nothing here; ask for /metrics or /api/status\n",
    )
        .into_response()
}

async fn read_only() -> Response {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        "this port is read-only: use GET here, and `lbd` on the box to change anything\n",
    )
        .into_response()
}

/// Refuses what a browser sends for another site, and marks every answer with [`HEADERS`].
async fn guarded(State(names): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let verdict = verdict(request.headers(), &names);
    let mut response = match verdict {
        Ok(()) => next.run(request).await,
        Err(refused) => (refused.status(), format!("{refused}\n")).into_response(),
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn verdict(headers: &HeaderMap, names: &[String]) -> Result<(), guard::Refused> {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.map(|value| value.to_str().unwrap_or("?"))
    };
    guard::judge(text(header::HOST), text(header::ORIGIN), names)
}
