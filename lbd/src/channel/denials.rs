//! Sources that operators denied by hand, which every node keeps, so that they outlive the node they
//! were given on.
use std::net::IpAddr;

use super::record::take;
use crate::config::Network;

/// What was said of a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// No session.
    Denied {
        /// When it was given, in seconds since 1970.
        since_unix_s: u64,
        /// When it ends by itself, in seconds since 1970.
        until_unix_s: Option<u64>,
    },
    /// It was taken back.
    Released,
}

/// A denial or the end of one, and when it was given: of two for a network the later one counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DenialRecord {
    /// The sources.
    pub network: Network,
    /// Grows with every word on the network, on any node.
    pub version: u64,
    /// The word.
    pub verdict: Verdict,
}

mod kind {
    pub(super) const RELEASED: u8 = 0;
    pub(super) const DENIED: u8 = 1;
}

impl DenialRecord {
    /// Bytes on the wire.
    pub(super) fn wire_bytes(&self) -> usize {
        let address = if self.network.address().is_ipv4() {
            4
        } else {
            16
        };
        1 + address + 1 + 8 + 1 + 8 + 8
    }

    pub(super) fn emit(&self, to: &mut Vec<u8>) {
        match self.network.address() {
            IpAddr::V4(address) => {
                to.push(4);
                to.extend(address.octets());
            }
            IpAddr::V6(address) => {
                to.push(6);
                to.extend(address.octets());
            }
        }
        to.push(self.network.prefix_len());
        to.extend(self.version.to_be_bytes());
        let (kind, since, until) = match self.verdict {
            Verdict::Released => (kind::RELEASED, 0, 0),
            Verdict::Denied {
                since_unix_s,
                until_unix_s,
            } => (kind::DENIED, since_unix_s, until_unix_s.unwrap_or(0)),
        };
        to.push(kind);
        to.extend(since.to_be_bytes());
        to.extend(until.to_be_bytes());
    }

    pub(super) fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let [family] = take(bytes)?;
        let address = match family {
            4 => IpAddr::from(take::<4>(bytes)?),
            6 => IpAddr::from(take::<16>(bytes)?),
            _ => return None,
        };
        let [prefix_len] = take(bytes)?;
        let network = Network::of(address, prefix_len);
        if (network.address(), network.prefix_len()) != (address, prefix_len) {
            return None;
        }
        let version = u64::from_be_bytes(take(bytes)?);
        let [kind] = take(bytes)?;
        let since = u64::from_be_bytes(take(bytes)?);
        let until = u64::from_be_bytes(take(bytes)?);
        let verdict = match kind {
            kind::RELEASED if (since, until) == (0, 0) => Verdict::Released,
            kind::DENIED => Verdict::Denied {
                since_unix_s: since,
                until_unix_s: (until > 0).then_some(until),
            },
            _ => return None,
        };
        Some(Self {
            network,
            version,
            verdict,
        })
    }
}
