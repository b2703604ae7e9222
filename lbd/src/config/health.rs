//! `cluster.health`: how a backend's health is found out.
use std::time::Duration;

use serde::Serialize;

use super::{choice::choice, duration};

choice! {
    /// What a health check does.
    pub enum Check {
        /// An SMTP dialogue: 220, EHLO, QUIT.
        Smtp = "smtp",
        /// Connects and closes.
        Tcp = "tcp",
        /// Nothing: a backend is always taken for healthy.
        Off = "off",
    }
}

choice! {
    /// Whether and how a health check speaks TLS.
    pub enum HealthTls {
        /// From the connection on, before the banner, as on port 465.
        Implicit = "implicit",
        /// By STARTTLS.
        StartTls = "starttls",
        /// Not at all.
        Off = "off",
    }
}

/// The port of submission over TLS from the connection on (RFC 8314, section 7.3).
const SUBMISSIONS: u16 = 465;

/// The health check. It never sends a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    /// Default `smtp`.
    pub check: Check,
    /// Between two checks of a backend. Default 5 s.
    #[serde(serialize_with = "duration::serialize")]
    pub interval: Duration,
    /// For the whole dialogue; patient enough for postscreen's greeting after 6 s. Default 10 s.
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
    /// Good checks in a row that make a backend healthy, 1 to 100. Default 2.
    pub rise: u8,
    /// Bad checks in a row that take it out, 1 to 100: as dead, if no connection came about in any of
    /// them, else as not serving, which leaves its open sessions alone. Default 3.
    pub fall: u8,
    /// The part of the backends that answer, 0.01 to 1, whose checks have to fail together before the
    /// check itself is taken to be wrong: those backends then take sessions all the same, with a
    /// warning. `null`: never. Default 1, all of them.
    pub panic_threshold: Option<f64>,
    /// The port that is checked. Default `null`: the backend's, else the first of the cluster's.
    pub port: Option<u16>,
    /// The name given in EHLO. Default `null`: `node.name`.
    pub helo: Option<String>,
    /// Whether and how TLS is spoken: a backend whose handshake fails is not healthy. Any certificate is
    /// accepted. Default `null`: `implicit` if port 465 is checked, `starttls` if [`Self::starttls`] says
    /// so, else `off`.
    pub tls: Option<HealthTls>,
    /// The same as `tls: starttls`. Default false.
    pub starttls: bool,
    /// A recipient to ask for by MAIL FROM:<> and RCPT TO, then QUIT. Default `null`: not asked.
    pub recipient: Option<String>,
}

impl Health {
    /// How TLS is spoken with this port.
    #[must_use]
    pub fn tls_on(&self, port: u16) -> HealthTls {
        match self.tls {
            Some(tls) => tls,
            None if self.starttls => HealthTls::StartTls,
            None if port == SUBMISSIONS => HealthTls::Implicit,
            None => HealthTls::Off,
        }
    }
}
