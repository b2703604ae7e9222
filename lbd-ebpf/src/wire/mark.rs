//! The mark of a frame that was handed on for the last time.
//!
//! A reserved bit of the TCP header (RFC 9293, section 3.1), with the checksum changed accordingly:
//! it stays with the segment on every path, through a tunnel and another box's steering
//! too, and wants no second source MAC, for which a switch that allows one MAC a port would shut the
//! port. Receivers ignore the bit, and a box that runs lbd takes it off again, so that the mail
//! server's stack sees what the client has sent. A client that sets the bit itself has no second
//! chance.
use super::{
    checksum::Sum,
    field::tcp::{CHECKSUM, DATA_OFFSET, HEADER},
    frame::{put_u16, u16_at},
};

/// The first of the four bits after the data offset, the one that new uses come to last: those begin
/// at the other end, next to the flags (RFC 3540, RFC 9768).
const BIT: u8 = 0x08;

/// Whether a TCP header has the mark.
#[inline(always)]
#[must_use]
pub const fn is_set(tcp: &[u8; HEADER]) -> bool {
    tcp[DATA_OFFSET] & BIT != 0
}

/// Sets the mark, or takes it off.
#[inline(always)]
pub const fn put(tcp: &mut [u8; HEADER], marked: bool) {
    let old = u16_at(tcp, DATA_OFFSET);
    tcp[DATA_OFFSET] = tcp[DATA_OFFSET] & !BIT | if marked { BIT } else { 0 };
    let sum = Sum::of(u16_at(tcp, CHECKSUM)).replace_u16(old, u16_at(tcp, DATA_OFFSET));
    put_u16(tcp, CHECKSUM, sum.finish());
}
