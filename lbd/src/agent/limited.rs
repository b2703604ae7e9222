//! A listener for strangers: few connections each, and each for a short time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use crate::connection_limit::{ConnectionLimit, Permit};

/// The life of a connection: a slow client may not hold its place.
const LIFE: Duration = Duration::from_secs(10);

/// Accepts whom [`ConnectionLimit`] has a place for.
#[derive(Debug)]
pub(super) struct Limited {
    listener: TcpListener,
    limit: ConnectionLimit,
}

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Self {
        let limit = ConnectionLimit::default();
        Self { listener, limit }
    }

    /// The next connection. Errors of single connections are passed over; when the process has no
    /// descriptor left, it waits a moment.
    pub(super) async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // The agent knows no cluster: only the box itself is no stranger.
                    let is_known = peer.ip().to_canonical().is_loopback();
                    let Some(permit) = self.limit.enter(peer.ip(), is_known) else {
                        tracing::debug!("too many connections: refused {}", peer.ip());
                        continue;
                    };
                    let connection = Connection {
                        stream,
                        end: Box::pin(tokio::time::sleep(LIFE)),
                        permit,
                    };
                    return (connection, peer);
                }
                Err(error) => {
                    tracing::debug!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl axum::serve::Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        Self::accept(self).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself after [`LIFE`], or when it loses its place.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    permit: Permit,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_over = self.end.as_mut().poll(context).is_ready();
        if is_over || Pin::new(&mut self.permit.lost).poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
