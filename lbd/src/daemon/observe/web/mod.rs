//! `node.http`: the state, read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the dashboard: one page, no outside asset |
//! | `/metrics` | OpenMetrics, or Prometheus' older text to who does not ask for it |
//! | `/api/status` | what `lbd status --json` prints |
//! | `/api/events` | what happened lately |
//! | `/api/history` | each backend's figures over the last hour |
//! | `/api/live` | the state each second, as server-sent events |
//! | `/api/openapi.json` | all of this, for programs |
mod guard;
mod live;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use tokio::sync::{Semaphore, mpsc};

pub(in crate::daemon) use self::serve::{connection, serve, serve_each};
use super::metrics;
use crate::{
    config::Node,
    daemon::{
        event::{self, Event},
        operator::request,
    },
    markup::CSS,
    plain,
};

/// Sent with every answer: nothing here may be framed, sniffed, cached, or read by other sites.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

/// The dashboard. All that it shows goes in as text, so inline scripts can only be its own.
const PAGE: &str = include_str!("dashboard.html");
/// Where its style begins.
const STYLE: &str = "/* markup.css */";
/// Live pages at once: the other places stay free for scrapers.
const PAGES: usize = 16;

/// What the routes share.
#[derive(Clone, Debug)]
struct Web {
    event_loop: mpsc::Sender<Event>,
    streams: Arc<Semaphore>,
}

/// The routes. `node` has the names by which a browser may call this box, `openapi` answers with the
/// document about them.
pub(in crate::daemon) fn router(
    events: mpsc::Sender<Event>,
    node: &Node,
    openapi: fn() -> Response,
) -> Router {
    let names: Arc<[String]> = guard::own_names(node).into();
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .route("/api/events", get(happenings))
        .route("/api/history", get(history))
        .route("/api/live", get(live::live))
        .route("/api/openapi.json", get(async move || openapi()))
        .fallback(nothing_here)
        .method_not_allowed_fallback(read_only)
        .layer(middleware::from_fn_with_state(names, guarded))
        .with_state(Web {
            event_loop: events,
            streams: Arc::new(Semaphore::new(PAGES)),
        })
}

/// The page with the state as it is now in it, so that the first thing it shows is no empty frame.
async fn page(State(web): State<Web>) -> Response {
    let Some(first) = live::look(&web.event_loop, live::FROM_THE_LAST).await else {
        return stopping();
    };
    match serde_json::to_string(&first) {
        // Inside a script element `</script>` must not occur: a name or a reason may hold any text.
        Ok(first) => {
            let first = plain::lines(first);
            let page = PAGE.replacen(STYLE, CSS, 1);
            Html(page.replacen("FIRST", &first.replace('<', "\\u003c"), 1)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics(State(web): State<Web>, headers: HeaderMap) -> Response {
    let Some(status) = event::ask(&web.event_loop, request::Request::Status).await else {
        return stopping();
    };
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let format = metrics::Format::accepted(accept.unwrap_or_default());
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    let text = plain::lines(metrics::exposition(&status, format));
    (content_type, text).into_response()
}

async fn status(State(web): State<Web>) -> Response {
    answer(event::ask(&web.event_loop, request::Request::Status).await)
}

async fn happenings(State(web): State<Web>) -> Response {
    answer(event::ask(&web.event_loop, |reply| request::Request::Events(0, reply)).await)
}

async fn history(State(web): State<Web>) -> Response {
    answer(event::ask(&web.event_loop, request::Request::History).await)
}

fn answer(state: Option<impl serde::Serialize>) -> Response {
    match state {
        Some(state) => json(&state),
        None => stopping(),
    }
}

/// An answer in which no text changes what is shown around it.
pub(in crate::daemon) fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            let content_type = [(header::CONTENT_TYPE, "application/json")];
            (content_type, plain::lines(text)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n").into_response()
}

async fn nothing_here() -> Response {
    (
        StatusCode::NOT_FOUND,
        "there is nothing here; ask for /, /metrics or /api/status\n",
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
