//! Requests to the daemon over its control socket: HTTP/1.1 on a Unix socket.
use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The daemon answers at once; a daemon that does not is stuck, and the person should know.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An answer with 1,000 backends is some 600 KB.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Asks the daemon behind `socket`; `body` goes as JSON.
pub(super) fn request<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<T> {
    request_within(TIMEOUT, socket, method, path, body)
}

/// The same of what takes longer.
pub(super) fn request_within<T: DeserializeOwned>(
    patience: Duration,
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(patience, exchange(socket, method, path, body))
            .await
            .map_err(|_| {
                anyhow!("the daemon did not answer within {patience:?}; its log may say why")
            })?
    })?;
    serde_json::from_slice(&answer)
        .context("the daemon's answer was not understood; does it run another version?")
}

/// Asks for an answer that comes bit by bit, and hands each on as it comes, until it ends or `take`
/// says that it has enough.
pub(super) fn follow(
    socket: &Path,
    path: &str,
    body: &serde_json::Value,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut answer = send(socket, Method::POST, path, Some(body)).await?;
        if !answer.status().is_success() {
            let bytes = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect();
            let bytes = bytes.await.map_err(|error| anyhow!("{error}"))?.to_bytes();
            bail!("{}", String::from_utf8_lossy(&bytes).trim_end());
        }
        while let Some(frame) = answer.frame().await {
            let frame = frame.context("the daemon has ended")?;
            if let Some(bytes) = frame.data_ref()
                && !take(bytes)?
            {
                break;
            }
        }
        Ok(())
    })
}

/// The process that listens on `socket`.
pub(super) fn daemon_pid(socket: &Path) -> anyhow::Result<libc::pid_t> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let peer = runtime.block_on(connect(socket))?.peer_cred()?;
    peer.pid().with_context(|| {
        format!(
            "the kernel does not say who listens on {}",
            socket.display()
        )
    })
}

async fn connect(socket: &Path) -> anyhow::Result<UnixStream> {
    UnixStream::connect(socket).await.with_context(|| {
        format!(
            "no daemon answers at {}; start it with `lbd run`, or name its configuration with --config",
            socket.display()
        )
    })
}

/// A text as the value of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<Bytes> {
    let response = send(socket, method, path, body).await?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| anyhow!("the daemon's answer was cut short: {error}"))?
        .to_bytes();
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&bytes).trim_end());
    }
    Ok(bytes)
}

async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<Response<Incoming>> {
    let stream = connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body = body.map(serde_json::Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "lbd")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn what_is_no_letter_is_encoded() {
        assert_eq!(encoded("mx-1.a_b~"), "mx-1.a_b~");
        assert_eq!(encoded("a b&c=é/"), "a%20b%26c%3D%C3%A9%2F");
    }
}
