//! A flow as nodes tell it to each other: by addresses, since each node has ids of its own.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use crate::units::{Endpoint, Sockets};

/// What happened to a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Its client's SYN was steered.
    Opening,
    /// Its client has answered the handshake.
    Opened,
    /// Its client has ended it.
    Closed,
    /// It has begun, by the word of the backend's own kernel: a box speaks of its own sockets, and no
    /// other node does.
    Confirmed,
    /// The backend's own kernel has it, since whenever: in a full table, and now and then in the stream.
    Held,
    /// The backend's own kernel has ended it: likewise.
    Ended,
    /// It is open, and was last heard so long ago: in a full table, and now and then in the stream, so
    /// that peers do not take a long session for an idle one.
    Alive {
        /// In units of 2^30 ns ([`lbd_common::flow::SEEN_SHIFT`]).
        age: u16,
    },
}

/// What became of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowRecord {
    /// What happened.
    pub change: Change,
    /// The client.
    pub source: SocketAddr,
    /// The virtual address and port.
    pub vip: SocketAddr,
    /// The backend, and what its socket is bound to.
    pub backend: Endpoint,
}

/// What a batch of records is part of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The stream of changes.
    Stream,
    /// A full table.
    Table {
        /// Its first batch.
        first: bool,
        /// Its last batch.
        last: bool,
    },
}

/// A record's first byte: the change in its lowest bits, then which addresses are IPv6.
mod bit {
    pub(super) const CHANGE: u8 = 3;
    pub(super) const SOURCE_IPV6: u8 = 4;
    pub(super) const VIP_IPV6: u8 = 8;
    pub(super) const BACKEND_IPV6: u8 = 16;
    /// The session is translated: the port on the backend follows its address.
    pub(super) const TRANSLATED: u8 = 32;
    /// The change is the word of the backend's own kernel.
    pub(super) const OWN: u8 = 64;
    pub(super) const ALL: u8 = CHANGE | SOURCE_IPV6 | VIP_IPV6 | BACKEND_IPV6 | TRANSLATED | OWN;
}

mod change {
    pub(super) const OPENING: u8 = 0;
    pub(super) const OPENED: u8 = 1;
    pub(super) const CLOSED: u8 = 2;
    pub(super) const ALIVE: u8 = 3;
}

impl Change {
    /// Whether this is the word of the backend's own kernel, which that box alone may give.
    #[must_use]
    pub fn is_by_backend(self) -> bool {
        matches!(self, Self::Confirmed | Self::Held | Self::Ended)
    }
}

impl FlowRecord {
    /// Bytes on the wire: 17 with IPv4, 53 with IPv6, and 2 more with an age, and with a translation.
    pub(super) fn wire_bytes(&self) -> usize {
        let address = |address: IpAddr| if address.is_ipv4() { 4 } else { 16 };
        let age = match self.change {
            Change::Alive { .. } => 2,
            _ => 0,
        };
        let port = if self.backend.is_translated() { 2 } else { 0 };
        let ends = address(self.source.ip()) + 2 + address(self.vip.ip()) + 2;
        1 + age + ends + address(self.backend.address) + port
    }

    pub(super) fn emit(&self, to: &mut Vec<u8>) {
        let mut bits = match self.change {
            Change::Opening => change::OPENING,
            Change::Opened => change::OPENED,
            Change::Closed => change::CLOSED,
            Change::Alive { .. } => change::ALIVE,
            Change::Confirmed => change::OPENED | bit::OWN,
            Change::Held => change::OPENING | bit::OWN,
            Change::Ended => change::CLOSED | bit::OWN,
        };
        for (is_set, bit) in [
            (self.source.is_ipv6(), bit::SOURCE_IPV6),
            (self.vip.is_ipv6(), bit::VIP_IPV6),
            (self.backend.address.is_ipv6(), bit::BACKEND_IPV6),
            (self.backend.is_translated(), bit::TRANSLATED),
        ] {
            bits |= if is_set { bit } else { 0 };
        }
        to.push(bits);
        if let Change::Alive { age } = self.change {
            to.extend(age.to_be_bytes());
        }
        emit_address(self.source.ip(), to);
        to.extend(self.source.port().to_be_bytes());
        emit_address(self.vip.ip(), to);
        to.extend(self.vip.port().to_be_bytes());
        emit_address(self.backend.address, to);
        if let Sockets::Own { port } = self.backend.sockets {
            to.extend(port.map_or(0, NonZeroU16::get).to_be_bytes());
        }
    }

    /// Takes one record off the front of `bytes`; `None` when there is none that is whole.
    pub(super) fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let [bits] = take(bytes)?;
        if bits & !bit::ALL != 0 {
            return None;
        }
        let is_own = bits & bit::OWN != 0;
        let change = match bits & bit::CHANGE {
            change::OPENED if is_own => Change::Confirmed,
            change::OPENING if is_own => Change::Held,
            change::CLOSED if is_own => Change::Ended,
            _ if is_own => return None,
            change::OPENING => Change::Opening,
            change::OPENED => Change::Opened,
            change::CLOSED => Change::Closed,
            _ => Change::Alive {
                age: u16::from_be_bytes(take(bytes)?),
            },
        };
        let mut socket = |is_ipv6| {
            let address = parse_address(is_ipv6, bytes)?;
            Some(SocketAddr::new(address, u16::from_be_bytes(take(bytes)?)))
        };
        let source = socket(bits & bit::SOURCE_IPV6 != 0)?;
        let vip = socket(bits & bit::VIP_IPV6 != 0)?;
        let address = parse_address(bits & bit::BACKEND_IPV6 != 0, bytes)?;
        let sockets = if bits & bit::TRANSLATED == 0 {
            Sockets::Virtual
        } else {
            Sockets::Own {
                port: NonZeroU16::new(u16::from_be_bytes(take(bytes)?)),
            }
        };
        Some(Self {
            change,
            source,
            vip,
            backend: Endpoint { address, sockets },
        })
    }
}

/// Takes so many bytes off the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

pub(super) fn emit_address(address: IpAddr, to: &mut Vec<u8>) {
    match address {
        IpAddr::V4(v4) => to.extend(v4.octets()),
        IpAddr::V6(v6) => to.extend(v6.octets()),
    }
}

pub(super) fn parse_address(is_ipv6: bool, bytes: &mut &[u8]) -> Option<IpAddr> {
    Some(if is_ipv6 {
        Ipv6Addr::from(take::<16>(bytes)?).into()
    } else {
        Ipv4Addr::from(take::<4>(bytes)?).into()
    })
}
