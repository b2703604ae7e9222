//! VRRPv3 on the wire (RFC 9568), and its authentication trailer.
//!
//! Pure: bytes in, values out. [`advert`] is the packet, [`auth`] the optional trailer with its
//! [`replay`] window, [`announce`] the frames that move an address to its new master and the
//! reading of a rival's claim to it, [`question`] those that ask whether a box is there.

pub mod advert;
pub mod announce;
pub mod auth;
pub mod checksum;
pub mod error;
pub mod question;
pub mod replay;

#[cfg(test)]
mod golden;

pub use advert::{Addresses, Advert, Interval, Parsed, Received};
pub use auth::{AuthError, AuthMode, Authenticator, Key};
pub use checksum::ChecksumForm;
pub use error::VrrpError;
pub use replay::{Moment, PeerClock};

use std::net::{Ipv4Addr, Ipv6Addr};

/// The IP protocol number (RFC 9568, 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// The TTL or hop limit of an advert: a packet that crossed a router has less (RFC 9568, 5.1.1.3).
pub const TTL: u8 = 255;
/// Where adverts go in IPv4 (RFC 9568, 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where adverts go in IPv6 (RFC 9568, 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
