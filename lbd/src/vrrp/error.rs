//! One error for each way in which an advert can be wrong.
use thiserror::Error;

/// Why a received packet is no advert for us. Such a packet changes nothing and is counted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum VrrpError {
    /// It crossed a router, or was made by hand (RFC 9568, 7.1).
    #[error("TTL or hop limit {found}, expected 255: the packet crossed a router")]
    Ttl {
        /// As received.
        found: u8,
    },
    /// Not even a header.
    #[error("{length} bytes, shorter than the 8 of a VRRP header")]
    Short {
        /// Bytes of IP payload.
        length: usize,
    },
    /// Peers of version 2 must be set to version 3.
    #[error("VRRP version {found}, expected 3 (keepalived: vrrp_version 3)")]
    Version {
        /// As received.
        found: u8,
    },
    /// Only ADVERTISEMENT (1) exists.
    #[error("VRRP packet type {found}, expected 1 (advertisement)")]
    Type {
        /// As received.
        found: u8,
    },
    /// Another virtual router of this segment. Expected where several share it.
    #[error("virtual router id {found}, ours is {expected}")]
    VirtualRouterId {
        /// As received.
        found: u8,
        /// As configured.
        expected: u8,
    },
    /// Neither form of the checksum is right.
    #[error("checksum {found:#06x} is wrong in both forms")]
    Checksum {
        /// As received.
        found: u16,
    },
    /// RFC 9568, 5.2.5: the minimum is 1.
    #[error("no address in the advert")]
    NoAddress,
    /// The count of addresses and the length disagree.
    #[error("{count} addresses need {expected} bytes, or {} with a trailer, but there are {length}", expected + 28)]
    Length {
        /// Addresses announced by the header.
        count: u8,
        /// What header and addresses take.
        expected: usize,
        /// Bytes of IP payload.
        length: usize,
    },
    /// An interval of 0 would make every node its own master (RFC 5798, erratum 8301).
    #[error("advertisement interval 0")]
    ZeroInterval,
    /// The caller passed addresses of two families.
    #[error("source and destination are of different families")]
    Family,
}
