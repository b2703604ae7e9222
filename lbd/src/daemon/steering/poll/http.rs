//! One GET over HTTP or HTTPS, with a bounded answer.

use std::fmt;
use std::str::FromStr;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::tls::Roots;
use super::PollError;
use crate::stats::{MAX_ANSWER_BYTES, SampleError};

/// Headers, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An `http://` or `https://` URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Url {
    /// Without brackets.
    host: String,
    port: u16,
    uri: Uri,
}

/// Why a text is no URL that can be asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlError {
    /// No URL.
    #[error("{text} is no URL: {error}")]
    Syntax {
        /// What was configured.
        text: String,
        /// What is wrong.
        error: String,
    },
    /// Something else than HTTP.
    #[error("{0} starts with neither http:// nor https://")]
    Scheme(String),
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let syntax = |error: String| UrlError::Syntax {
            text: text.to_owned(),
            error,
        };
        let uri: Uri = text.parse().map_err(|error| syntax(format!("{error}")))?;
        let standard_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(syntax("it has no host".to_owned()));
        }
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(standard_port);
        Ok(Self { host, port, uri })
    }
}

impl Url {
    /// Whether its server has to show a certificate.
    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}

/// What is asked for, and whose certificates are believed when it is asked for by HTTPS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    pub(super) url: Url,
    /// Always there for an `https://` URL.
    pub(super) roots: Option<Roots>,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// The body of a 200 answer. The caller limits the time: dropping this drops the connection.
pub(super) async fn get(page: &Page) -> Result<Bytes, PollError> {
    let Page { url, roots } = page;
    let authority = url
        .uri
        .authority()
        .map_or("", |authority| authority.as_str());
    let connect = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = connect.map_err(|error| PollError::Connect {
        to: authority.to_owned(),
        error: error.to_string(),
    })?;
    match roots {
        None => exchange(stream, url, authority).await,
        Some(roots) => {
            let secured = roots.handshake(stream, &url.host).await;
            let stream = secured.map_err(|error| PollError::Tls {
                to: authority.to_owned(),
                error: error.to_string(),
            })?;
            exchange(stream, url, authority).await
        }
    }
}

async fn exchange<S>(stream: S, url: &Url, authority: &str) -> Result<Bytes, PollError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: &dyn fmt::Display| PollError::Broken {
        to: authority.to_owned(),
        error: error.to_string(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // Aborted when the set is dropped.
    let mut driver = JoinSet::new();
    driver.spawn(connection);

    let path = url.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| broken(&error))?;
    if response.status() != StatusCode::OK {
        return Err(PollError::Status {
            url: url.to_string(),
            status: response.status().as_u16(),
        });
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long()),
        Err(error) => Err(broken(&error)),
    }
}

fn too_long() -> PollError {
    PollError::Sample(SampleError::TooLong {
        limit: MAX_ANSWER_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let table = [
            ("http://192.0.2.1:9154/metrics", "192.0.2.1", 9154),
            ("http://mx1.example", "mx1.example", 80),
            ("http://[2001:db8::1]/x?y=z", "2001:db8::1", 80),
            ("https://mx1.example/metrics", "mx1.example", 443),
            ("https://[2001:db8::1]:9154", "2001:db8::1", 9154),
        ];
        for (text, host, port) in table {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
        }
        for text in ["", "192.0.2.1", "/metrics", "http://", "http:// x/"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
        let error = "ftp://mx1/".parse::<Url>().unwrap_err();
        assert_eq!(error, UrlError::Scheme("ftp://mx1/".into()));
    }
}
