//! The figures over HTTP, read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/stats` | lbd's own JSON |
//! | `/stats/agent-check` | HAProxy's agent-check line; `?queue_half=N` as in `--queue-half` |
//! | `/metrics` | OpenMetrics text |

use std::io;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::limited::Limited;
use super::{Agent, DEFAULT_QUEUE_HALF};
use crate::stats::{Report, agent_check, own_json, prometheus};

/// The routes above, to be served alone or with others.
pub fn router(agent: Agent) -> Router {
    Router::new()
        .route("/stats", get(stats))
        .route("/stats/agent-check", get(line))
        .route("/metrics", get(metrics))
        .with_state(agent)
}

/// Serves a router to strangers until the task is dropped: 24 connections of an address at once, 10 s
/// and one request each.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let router = router.layer(middleware::map_response(close));
    axum::serve(Limited::new(listener), router).await
}

/// A poller comes every few seconds: keeping its connection would only hold a place.
async fn close(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

async fn stats(State(agent): State<Agent>) -> Response {
    answer(&agent, |report| {
        axum::Json(own_json::emit(report)).into_response()
    })
    .await
}

#[derive(Debug, Deserialize)]
struct Line {
    queue_half: Option<u64>,
}

async fn line(State(agent): State<Agent>, Query(query): Query<Line>) -> Response {
    let queue_half = query.queue_half.unwrap_or(DEFAULT_QUEUE_HALF);
    answer(&agent, |report| {
        agent_check::emit(&report.sample, queue_half).into_response()
    })
    .await
}

async fn metrics(State(agent): State<Agent>) -> Response {
    answer(&agent, |report| {
        let content_type = [(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)];
        (content_type, prometheus::emit(report)).into_response()
    })
    .await
}

async fn answer(agent: &Agent, format: impl FnOnce(&Report) -> Response) -> Response {
    match agent.report().await {
        Ok(report) => format(&report),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
