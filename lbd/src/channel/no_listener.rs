//! For which services a box has no listening socket: what it cannot speak for, and what it may refuse.
use std::net::SocketAddr;

use super::record::{emit_address, parse_address, take};

/// Services that one datagram names. Of more than these it says nothing, as if they had a listener.
const MOST_SERVICES: usize = 64;

/// What a box says of the services for which no socket of its own listens.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NoListener {
    /// It refuses their connections: nothing on it hands them to another stack or port.
    pub refuses: bool,
    /// The virtual addresses and ports.
    pub services: Vec<SocketAddr>,
}

impl NoListener {
    /// What fits a datagram.
    #[must_use]
    pub fn new(refuses: bool, mut services: Vec<SocketAddr>) -> Self {
        services.truncate(MOST_SERVICES);
        Self { refuses, services }
    }

    pub(super) fn emit(&self, to: &mut Vec<u8>) {
        for service in &self.services {
            to.push(if service.is_ipv4() { 4 } else { 6 });
            emit_address(service.ip(), to);
            to.extend(service.port().to_be_bytes());
        }
    }

    pub(super) fn parse(refuses: bool, count: u16, bytes: &mut &[u8]) -> Option<Self> {
        if usize::from(count) > MOST_SERVICES {
            return None;
        }
        let services = (0..count).map(|_| {
            let is_ipv6 = match take(bytes)? {
                [4] => false,
                [6] => true,
                _ => return None,
            };
            let address = parse_address(is_ipv6, bytes)?;
            Some(SocketAddr::new(address, u16::from_be_bytes(take(bytes)?)))
        });
        Some(Self {
            refuses,
            services: services.collect::<Option<_>>()?,
        })
    }
}
