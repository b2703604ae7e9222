//! `node.channel` over TCP: stats for who asks, over HTTP, and pushes of peers, who prove themselves.
//! Both are strangers at first, and are limited alike.
use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::net::{TcpListener, TcpStream};

use super::{
    known::Known,
    push::{self, Post},
};
use crate::{daemon::observe::web, push::secure::MAGIC};

/// Who says nothing for so long leaves.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// A poller asks once and is answered: a slow one may not hold its place.
const LIFE: Duration = Duration::from_secs(10);

/// Serves until the task is dropped.
pub(in crate::daemon) async fn serve(
    listener: TcpListener,
    stats: Router,
    post: Arc<Post>,
    known: Known,
) {
    let each = |stream| one(stream, stats.clone(), Arc::clone(&post));
    web::serve_each("node.channel", listener, |from| known.has(from), each).await;
}

/// No HTTP request begins with the byte that a push begins with.
async fn one(stream: TcpStream, stats: Router, post: Arc<Post>) {
    let mut first = [0];
    match tokio::time::timeout(FIRST_BYTE, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == MAGIC[0] => push::serve(stream, post).await,
        Ok(Ok(1)) => web::connection(stream, stats, LIFE).await,
        _ => {}
    }
}
