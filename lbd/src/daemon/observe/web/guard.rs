//! Whether a request may come from where it says. Pure.
//!
//! The port is read-only, so a foreign page can change nothing; but a name that is made to point at
//! this box (DNS rebinding) would let it read. A browser then sends that name as `Host`.
use std::net::IpAddr;

use axum::http::StatusCode;
use thiserror::Error;

use crate::{config::Node, host};

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum Refused {
    #[error("the request has no Host header")]
    NoHost,
    #[error(
        "this box does not have that name; use its address, localhost, or its name, or list the name in \
         node.http_names"
    )]
    ForeignHost,
    #[error("requests from pages of other sites are refused")]
    ForeignOrigin,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
        }
    }
}

/// What this box may be called: `node.name`, its host name, and `node.http_names`.
pub(super) fn own_names(node: &Node) -> Vec<String> {
    let host = host::name().unwrap_or_default();
    let listed = node.http_names.iter().map(String::as_str);
    [node.name.as_str(), &host]
        .into_iter()
        .chain(listed)
        .filter(|name| !name.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Judges the `Host` and `Origin` of a request. `names` are lower-case.
pub(super) fn judge(
    host: Option<&str>,
    origin: Option<&str>,
    names: &[String],
) -> Result<(), Refused> {
    let host = host.ok_or(Refused::NoHost)?;
    if !is_own(name_of(host), names) {
        return Err(Refused::ForeignHost);
    }
    match origin {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://") == Some(host) => Ok(()),
        Some(_) => Err(Refused::ForeignOrigin),
    }
}

/// An address cannot be rebound. A name counts when it is one of ours, whole: in `mx1.evil.example` the
/// domain is a stranger's.
fn is_own(name: &str, names: &[String]) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.to_lowercase();
    // The dot of the root, which some clients keep.
    let name = name.strip_suffix('.').unwrap_or(&name);
    name == "localhost" || names.iter().any(|own| own == name)
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_origins_are_judged() {
        let names = ["mx1".to_owned(), "mx.example.com".to_owned()];
        for (host, origin, expected) in [
            (Some("127.0.0.1:9425"), None, Ok(())),
            (Some("[::1]:9425"), None, Ok(())),
            (Some("[2001:db8::1]"), None, Ok(())),
            (Some("localhost:9425"), None, Ok(())),
            (Some("MX1:9425"), None, Ok(())),
            (
                Some("MX1.example.com:9425"),
                None,
                Err(Refused::ForeignHost),
            ),
            (Some("mx.Example.com.:9425"), None, Ok(())),
            (Some("a.mx.example.com"), None, Err(Refused::ForeignHost)),
            (Some("mx1"), Some("http://mx1"), Ok(())),
            (Some("mx11.example.com"), None, Err(Refused::ForeignHost)),
            (Some("evil.example:9425"), None, Err(Refused::ForeignHost)),
            (Some(""), None, Err(Refused::ForeignHost)),
            (None, None, Err(Refused::NoHost)),
            (
                Some("mx1:9425"),
                Some("http://evil.example"),
                Err(Refused::ForeignOrigin),
            ),
            (Some("mx1:9425"), Some("null"), Err(Refused::ForeignOrigin)),
            (
                Some("mx1:9425"),
                Some("http://mx1:80"),
                Err(Refused::ForeignOrigin),
            ),
        ] {
            assert_eq!(judge(host, origin, &names), expected, "{host:?} {origin:?}");
        }
    }
}
