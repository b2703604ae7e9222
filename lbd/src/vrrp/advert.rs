//! The advertisement: a plain value with `parse` and `emit` (RFC 9568, 5.2).
//!
//! ```text
//!  0                   1                   2                   3
//! +-------+-------+---------------+---------------+---------------+
//! |Version| Type  | Virtual Rtr ID|   Priority    | Address Count |
//! +-------+-------+---------------+---------------+---------------+
//! |Reserve| Max Advertise Interval|          Checksum             |
//! +-------+-----------------------+-------------------------------+
//! |                 IPv4 or IPv6 address(es)                      |
//! ```
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::auth::{TRAILER_BYTES, Trailer};
use super::checksum::{ChecksumForm, of_advert};
use super::error::VrrpError;
use crate::units::Priority;

/// Where each field is.
mod field {
    use std::ops::Range;

    pub(super) const VERSION_TYPE: usize = 0;
    pub(super) const VIRTUAL_ROUTER_ID: usize = 1;
    pub(super) const PRIORITY: usize = 2;
    pub(super) const COUNT: usize = 3;
    pub(super) const INTERVAL: Range<usize> = 4..6;
    pub(super) const CHECKSUM: Range<usize> = 6..8;
    pub(super) const HEADER_BYTES: usize = 8;
}

/// Where the checksum is: the trailer's HMAC reads it as zero.
pub(super) const CHECKSUM_FIELD: std::ops::Range<usize> = field::CHECKSUM;

const VERSION: u8 = 3;
const TYPE_ADVERTISEMENT: u8 = 1;

/// An advertisement interval: 1 to 4095 centiseconds. 10 ms is the least the wire can say.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Interval(u16);

impl Interval {
    /// 10 ms.
    pub const MIN: Self = Self(1);
    /// 40.95 s: the field has 12 bits.
    pub const MAX: Self = Self(0xfff);
    /// 1 s, the default of RFC 9568 6.1.
    pub const DEFAULT: Self = Self(100);

    const NS_PER_CENTISECOND: u64 = 10_000_000;

    /// `None` for 0 and for what 12 bits do not hold.
    #[must_use]
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        if centiseconds == 0 || centiseconds > Self::MAX.0 {
            None
        } else {
            Some(Self(centiseconds))
        }
    }

    /// Exact only: `None` when `ns` is no multiple of 10 ms or out of range.
    #[must_use]
    pub fn from_ns(ns: u64) -> Option<Self> {
        if !ns.is_multiple_of(Self::NS_PER_CENTISECOND) {
            return None;
        }
        u16::try_from(ns / Self::NS_PER_CENTISECOND)
            .ok()
            .and_then(Self::from_centiseconds)
    }

    /// In centiseconds, as on the wire.
    #[must_use]
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// In nanoseconds, as every timer here.
    #[must_use]
    pub const fn ns(self) -> u64 {
        self.0 as u64 * Self::NS_PER_CENTISECOND
    }
}

impl TryFrom<u16> for Interval {
    type Error = &'static str;

    fn try_from(centiseconds: u16) -> Result<Self, Self::Error> {
        Self::from_centiseconds(centiseconds).ok_or("an interval is 1 to 4095 centiseconds")
    }
}

impl From<Interval> for u16 {
    fn from(interval: Interval) -> Self {
        interval.0
    }
}

/// The virtual addresses of an advert: one family, in the order of the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Addresses {
    /// 4 bytes each.
    V4(Vec<Ipv4Addr>),
    /// 16 bytes each, a link-local one first.
    V6(Vec<Ipv6Addr>),
}

impl Addresses {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::V4(list) => list.len(),
            Self::V6(list) => list.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both hold the same addresses, in any order. keepalived drops adverts whose list
    /// differs from its own, so a difference is worth a sentence to the operator.
    #[must_use]
    pub fn same_set(&self, other: &Self) -> bool {
        fn same<T: Ord + Clone>(a: &[T], b: &[T]) -> bool {
            let (mut a, mut b) = (a.to_vec(), b.to_vec());
            a.sort();
            b.sort();
            a == b
        }
        match (self, other) {
            (Self::V4(a), Self::V4(b)) => same(a, b),
            (Self::V6(a), Self::V6(b)) => same(a, b),
            _ => false,
        }
    }

    /// Whether this list has a link-local address and the other one none, where they are alike but for
    /// that; `None` where they differ in more or in nothing.
    #[must_use]
    pub fn has_more_link_locals(&self, other: &Self) -> Option<bool> {
        let (Self::V6(ours), Self::V6(others)) = (self, other) else {
            return None;
        };
        let split = |list: &[Ipv6Addr]| -> (Vec<Ipv6Addr>, Vec<Ipv6Addr>) {
            let mut list = list.to_vec();
            list.sort();
            list.into_iter().partition(Ipv6Addr::is_unicast_link_local)
        };
        let ((our_local, our_rest), (other_local, other_rest)) = (split(ours), split(others));
        let differ = our_local.is_empty() != other_local.is_empty();
        (differ && our_rest == other_rest).then_some(!our_local.is_empty())
    }
}

/// An advertisement without its checksum.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advert {
    /// 1 to 255.
    pub virtual_router_id: u8,
    /// 0: the sender stops; 255: it owns the addresses.
    pub priority: Priority,
    /// The sender's interval, which its backups adopt.
    pub interval: Interval,
    /// What the sender serves; 1 to 255 of them.
    pub addresses: Addresses,
}

/// A packet of protocol 112 with what the IP header said of it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// From the IP header.
    pub source: IpAddr,
    /// From the IP header; the group, or our own address when the peers are unicast.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

/// A received advert.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub advert: Advert,
    /// How its checksum was right.
    pub checksum: ChecksumForm,
    /// The trailer, not yet verified: that is [`super::Authenticator::verify`]'s.
    pub trailer: Option<Trailer>,
}

impl Advert {
    /// Bytes of the message without a trailer.
    #[must_use]
    pub fn emitted_bytes(&self) -> usize {
        field::HEADER_BYTES
            + match &self.addresses {
                Addresses::V4(list) => 4 * list.len(),
                Addresses::V6(list) => 16 * list.len(),
            }
    }

    /// Writes the message into `out`, which is cleared, with its checksum left zero: sign it or
    /// not, then [`fill_checksum`].
    ///
    /// Only the first 255 addresses are sent; the config allows fewer.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        out.clear();
        out.push(VERSION << 4 | TYPE_ADVERTISEMENT);
        out.push(self.virtual_router_id);
        out.push(self.priority.0);
        out.push(count);
        out.extend(self.interval.0.to_be_bytes());
        out.extend([0; 2]);
        match &self.addresses {
            Addresses::V4(list) => {
                for address in list.iter().take(count.into()) {
                    out.extend(address.octets());
                }
            }
            Addresses::V6(list) => {
                for address in list.iter().take(count.into()) {
                    out.extend(address.octets());
                }
            }
        }
    }

    /// Reads a packet.
    pub fn parse(received: &Received<'_>, virtual_router_id: u8) -> Result<Parsed, VrrpError> {
        let bytes = received.payload;
        if received.source.is_ipv4() != received.destination.is_ipv4() {
            return Err(VrrpError::Family);
        }
        if received.ttl != super::TTL {
            return Err(VrrpError::Ttl {
                found: received.ttl,
            });
        }
        let Some((header, rest)) = bytes.split_first_chunk::<{ field::HEADER_BYTES }>() else {
            return Err(VrrpError::Short {
                length: bytes.len(),
            });
        };
        let version = header[field::VERSION_TYPE] >> 4;
        if version != VERSION {
            return Err(VrrpError::Version { found: version });
        }
        let kind = header[field::VERSION_TYPE] & 0xf;
        if kind != TYPE_ADVERTISEMENT {
            return Err(VrrpError::Type { found: kind });
        }
        if header[field::VIRTUAL_ROUTER_ID] != virtual_router_id {
            return Err(VrrpError::VirtualRouterId {
                found: header[field::VIRTUAL_ROUTER_ID],
                expected: virtual_router_id,
            });
        }
        let count = header[field::COUNT];
        if count == 0 {
            return Err(VrrpError::NoAddress);
        }
        let address_bytes = usize::from(count) * if received.source.is_ipv4() { 4 } else { 16 };
        let Some((list, trailer)) = rest.split_at_checked(address_bytes) else {
            return Err(wrong_length(count, address_bytes, bytes.len()));
        };
        let trailer = match trailer.len() {
            0 => None,
            TRAILER_BYTES => trailer.first_chunk().map(Trailer::parse),
            _ => return Err(wrong_length(count, address_bytes, bytes.len())),
        };
        let checksum = checksum_form(received, field::HEADER_BYTES + address_bytes)?;
        // The four bits above the interval are reserved: to be ignored (RFC 9568, 5.2.6).
        let interval = u16::from_be_bytes([
            header[field::INTERVAL.start],
            header[field::INTERVAL.start + 1],
        ]) & Interval::MAX.0;
        let interval = Interval::from_centiseconds(interval).ok_or(VrrpError::ZeroInterval)?;
        let addresses = if received.source.is_ipv4() {
            Addresses::V4(
                list.as_chunks()
                    .0
                    .iter()
                    .copied()
                    .map(<[u8; 4]>::into)
                    .collect(),
            )
        } else {
            Addresses::V6(
                list.as_chunks()
                    .0
                    .iter()
                    .copied()
                    .map(<[u8; 16]>::into)
                    .collect(),
            )
        };
        Ok(Parsed {
            advert: Self {
                virtual_router_id,
                priority: Priority(header[field::PRIORITY]),
                interval,
                addresses,
            },
            checksum,
            trailer,
        })
    }
}

fn wrong_length(count: u8, address_bytes: usize, length: usize) -> VrrpError {
    VrrpError::Length {
        count,
        expected: field::HEADER_BYTES + address_bytes,
        length,
    }
}

/// The part of a message that its checksum covers.
///
/// In IPv4 the trailer is left out (draft-cassen-vrrp-auth-hmac-00). In IPv6 it is not: keepalived
/// lets the kernel fill and check the checksum of the whole payload (`IPV6_CHECKSUM`).
fn covered(message: &[u8], ipv4: bool, pdu_bytes: usize) -> &[u8] {
    if ipv4 { &message[..pdu_bytes] } else { message }
}

fn checksum_form(received: &Received<'_>, pdu_bytes: usize) -> Result<ChecksumForm, VrrpError> {
    let ipv4 = received.source.is_ipv4();
    let message = covered(received.payload, ipv4, pdu_bytes);
    let forms: &[ChecksumForm] = if ipv4 {
        &[ChecksumForm::WithPseudoHeader, ChecksumForm::MessageOnly]
    } else {
        &[ChecksumForm::WithPseudoHeader]
    };
    forms
        .iter()
        .copied()
        .find(|form| of_advert(received.source, received.destination, message, *form) == 0)
        .ok_or_else(|| VrrpError::Checksum {
            found: u16::from_be_bytes([
                received.payload[field::CHECKSUM.start],
                received.payload[field::CHECKSUM.start + 1],
            ]),
        })
}

/// Fills the checksum of an emitted, perhaps signed, `message` for one destination.
///
/// `pdu_bytes` is [`Advert::emitted_bytes`]. The trailer's HMAC reads the checksum as zero, so one
/// signature serves all destinations.
pub fn fill_checksum(
    message: &mut [u8],
    pdu_bytes: usize,
    source: IpAddr,
    destination: IpAddr,
    form: ChecksumForm,
) {
    message[field::CHECKSUM].fill(0);
    let covered = covered(message, source.is_ipv4(), pdu_bytes);
    let sum = of_advert(source, destination, covered, form);
    message[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests;
