//! The control socket: HTTP on a Unix socket that only its owner may open.
//!
//! `GET /status`, `/explain`, `/access`, `/events`, `/history`, `/push`, `/openapi.json`; `POST /operator`, `/access`,
//! `/push`, `/flows` (a question, whose filters are a body), `/trace` (answered line by line). Each request is handed to the event loop, which
//! owns the state, and waits for its answer.
use std::{fs, io, net::IpAddr, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, Query, State, connect_info::Connected},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
    serve::IncomingStream,
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{
    access::AccessRequest,
    flow_query::FlowQuery,
    openapi,
    order::OperatorRequest,
    request::Request,
    trace::{self, TraceRequest},
};
use crate::{
    daemon::{
        cluster::push::{self, Post, PushRequest},
        event::{self, Event},
        observe::web,
    },
    trust::Trusted,
};

/// The longest body of a question.
const MAX_QUESTION_BYTES: usize = 4096;
/// A feed of 250,000 networks, more than fit into the kernel's lists.
const MAX_FEED_BYTES: usize = 16 << 20;

/// Opens the socket: mode 0600, in a folder that is made if need be. A socket left by a dead daemon
/// is replaced; one that answers is a daemon that runs.
///
/// Where others may put a socket of their own in its place, there is none.
pub(in crate::daemon) async fn bind(path: &Path) -> io::Result<UnixListener> {
    let safe = || {
        let checked = Trusted::of_this_process().check(path);
        checked.map_err(|why| io::Error::other(format!("it is not safe there: {why}")))
    };
    safe()?;
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another lbd answers at {}; stop it first", path.display()),
        ));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    safe()?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers events until the task is dropped.
pub(in crate::daemon) async fn serve(
    listener: UnixListener,
    events: mpsc::Sender<Event>,
    post: Arc<Post>,
) -> io::Result<()> {
    let router = router(events)
        .merge(pushes(post))
        .route("/openapi.json", get(async || openapi::answer()));
    let router = router.layer(DefaultBodyLimit::max(MAX_QUESTION_BYTES));
    axum::serve(
        listener,
        router.into_make_service_with_connect_info::<Asker>(),
    )
    .await
}

/// Who asks, as the kernel says.
#[derive(Clone, Copy, Debug)]
struct Asker {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Asker {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let peer = stream.io().peer_cred();
        Self {
            uid: peer.ok().map(|peer| peer.uid()),
        }
    }
}

/// Pushes take longer than the event loop may: they have tasks of their own.
fn pushes(post: Arc<Post>) -> Router {
    Router::new()
        .route("/push", get(standings).post(push))
        .with_state(post)
}

async fn standings(State(post): State<Arc<Post>>) -> Response {
    said(push::standings(&post).await)
}

async fn push(
    State(post): State<Arc<Post>>,
    ConnectInfo(asker): ConnectInfo<Asker>,
    Json(request): Json<PushRequest>,
) -> Response {
    let by = push::who(asker.uid, request.sudo_user.as_deref());
    // A person who stops waiting stops nothing: it goes on to its end.
    let pushed = tokio::spawn(async move { push::push(&post, request, by).await });
    match pushed.await {
        Ok(pushed) => said(pushed),
        Err(_) => stopping(),
    }
}

fn said<T: Serialize>(answer: Result<T, String>) -> Response {
    match answer {
        Ok(done) => web::json(&done),
        Err(refused) => (StatusCode::CONFLICT, refused).into_response(),
    }
}

fn router(events: mpsc::Sender<Event>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/explain", get(explain))
        .route("/operator", post(operator))
        .route(
            "/access",
            get(access)
                .post(change_access)
                .layer(DefaultBodyLimit::max(MAX_FEED_BYTES)),
        )
        .route("/flows", post(flows))
        .route("/trace", post(trace_frames))
        .route("/events", get(events_after))
        .route("/history", get(history))
        .with_state(events)
}

async fn status(State(events): State<mpsc::Sender<Event>>) -> Response {
    match event::ask(&events, Request::Status).await {
        Some(status) => web::json(&status),
        None => stopping(),
    }
}

/// `?backend=mx1`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    backend: Option<String>,
}

async fn explain(
    State(events): State<mpsc::Sender<Event>>,
    Query(which): Query<Which>,
) -> Response {
    match event::ask(&events, |reply| Request::Explain(which.backend, reply)).await {
        Some(Ok(explained)) => web::json(&explained),
        Some(Err(refused)) => (StatusCode::NOT_FOUND, refused).into_response(),
        None => stopping(),
    }
}

async fn operator(
    State(events): State<mpsc::Sender<Event>>,
    Json(order): Json<OperatorRequest>,
) -> Response {
    match event::ask(&events, |reply| Request::Operator(order, reply)).await {
        Some(Ok(done)) => web::json(&done),
        Some(Err(refused)) => (StatusCode::CONFLICT, refused).into_response(),
        None => stopping(),
    }
}

/// `?source=198.51.100.7`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    source: Option<IpAddr>,
}

async fn access(State(events): State<mpsc::Sender<Event>>, Query(whose): Query<Whose>) -> Response {
    match event::ask(&events, |reply| Request::Access(whose.source, reply)).await {
        Some(access) => web::json(&access),
        None => stopping(),
    }
}

async fn change_access(
    State(events): State<mpsc::Sender<Event>>,
    Json(change): Json<AccessRequest>,
) -> Response {
    match event::ask(&events, |reply| Request::ChangeAccess(change, reply)).await {
        Some(Ok(done)) => web::json(&done),
        Some(Err(refused)) => (StatusCode::CONFLICT, refused).into_response(),
        None => stopping(),
    }
}

async fn flows(
    State(events): State<mpsc::Sender<Event>>,
    Json(query): Json<FlowQuery>,
) -> Response {
    let Some(view) = event::ask(&events, Request::Flows).await else {
        return stopping();
    };
    // Milliseconds of one core for a million flows: neither the event loop nor the async threads wait.
    match tokio::task::spawn_blocking(move || view.list(&query)).await {
        Ok(Ok(list)) => web::json(&list),
        Ok(Err(refused)) => (StatusCode::BAD_REQUEST, refused).into_response(),
        Err(_) => stopping(),
    }
}

async fn trace_frames(
    State(events): State<mpsc::Sender<Event>>,
    Json(request): Json<TraceRequest>,
) -> Response {
    let prepared = event::ask(&events, |reply| {
        Request::PrepareTrace(request.clone(), reply)
    });
    let prepared = match prepared.await {
        Some(Ok(prepared)) => prepared,
        Some(Err(refused)) => return (StatusCode::CONFLICT, refused).into_response(),
        None => return stopping(),
    };
    // From here on the trace ends with this answer, however far it comes.
    let guard = TraceGuard(events.clone());
    let failed = |error: String| (StatusCode::CONFLICT, error).into_response();
    let verified = match tokio::task::spawn_blocking(move || prepared.verify()).await {
        Ok(Ok(verified)) => Box::new(verified),
        Ok(Err(error)) => return failed(error.to_string()),
        Err(_) => return stopping(),
    };
    match event::ask(&events, |reply| Request::BeginTrace(verified, reply)).await {
        Some(Ok(tracing)) => match trace::lines(tracing, &request, guard) {
            Ok(lines) => Body::from_stream(lines).into_response(),
            Err(error) => failed(error.to_string()),
        },
        Some(Err(refused)) => failed(refused),
        None => stopping(),
    }
}

/// Ends the trace when dropped.
#[derive(Debug)]
struct TraceGuard(mpsc::Sender<Event>);

impl Drop for TraceGuard {
    fn drop(&mut self) {
        let events = self.0.clone();
        // Without a runtime the daemon is ending, and the trace with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { events.send(Event::Request(Request::EndTrace)).await });
        }
    }
}

/// `?after=17`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn events_after(
    State(events): State<mpsc::Sender<Event>>,
    Query(After { after }): Query<After>,
) -> Response {
    match event::ask(&events, |reply| Request::Events(after, reply)).await {
        Some(happenings) => web::json(&happenings),
        None => stopping(),
    }
}

async fn history(State(events): State<mpsc::Sender<Event>>) -> Response {
    match event::ask(&events, Request::History).await {
        Some(history) => web::json(&history),
        None => stopping(),
    }
}

fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping").into_response()
}
