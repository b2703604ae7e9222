//! Serving HTTP to whoever reaches the port: bounded in connections, in time and in memory.
use std::{net::IpAddr, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use crate::connection_limit::ConnectionLimit;

/// A request's head must be here within this, and the next one's on the same connection.
const HEAD: Duration = Duration::from_secs(5);
/// A head that is larger is refused. hyper takes no less than 8 KiB.
const HEAD_BYTES: usize = 16 << 10;
/// Who does not read for so long is dropped.
const STALLED: Duration = Duration::from_secs(15);
/// No connection lives longer; a live page opens the next one by itself.
const LIFE: Duration = Duration::from_mins(10);

/// Serves until the task is dropped.
pub(in crate::daemon) async fn serve(
    listener: TcpListener,
    router: Router,
    is_known: impl Fn(IpAddr) -> bool,
) {
    serve_each("node.http", listener, is_known, |stream| {
        connection(stream, router.clone(), LIFE)
    })
    .await;
}

/// Serves each connection by a task of its own, for as long as it has a place. The boxes of the cluster
/// have places that no stranger takes: see [`ConnectionLimit`].
pub(in crate::daemon) async fn serve_each<F>(
    key: &'static str,
    listener: TcpListener,
    is_known: impl Fn(IpAddr) -> bool,
    serve: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let limit = ConnectionLimit::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(mut permit) = limit.enter(peer.ip(), is_known(peer.ip())) else {
                    debug!("{key}: too many connections: refused {}", peer.ip());
                    continue;
                };
                let served = serve(stream);
                tokio::spawn(async move {
                    tokio::select! {
                        () = served => {}
                        _ = &mut permit.lost => {}
                    }
                });
            }
            Err(error) => {
                // Of one connection, or no descriptor is left: a moment later there may be.
                debug!("{key}: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Answers the requests of one connection, for so long at most.
pub(in crate::daemon) async fn connection(stream: TcpStream, router: Router, life: Duration) {
    let socket = socket2::SockRef::from(&stream);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(STALLED)));
    if let Err(error) = tuned {
        debug!("http: {error}");
    }
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Ok(Err(error)) = tokio::time::timeout(life, served).await {
        debug!("http: {error}");
    }
}
