//! Writes IP headers.
use super::{
    checksum::Sum,
    field::{ipv4, ipv6},
    frame::{put_u16, put_u32, put_words},
};

/// Bytes of an IPv4 header without options, as the packet's length counts them.
const HEADER4: u16 = 20;
const _: () = assert!(HEADER4 as usize == ipv4::HEADER);

/// Hops that a packet of this box may take.
pub const HOPS: u8 = 64;

/// An IP header, as far as packets of this box differ in it. Addresses in memory order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header<A> {
    /// Type of service, traffic class.
    pub class: u8,
    /// Bytes after the header.
    pub payload: u16,
    /// What follows: one of [`super::parse::protocol`].
    pub protocol: u8,
    /// Its sender.
    pub source: A,
    /// Its receiver.
    pub destination: A,
}

/// Writes an IPv4 header with "don't fragment" and identification 0: a packet that is never in parts
/// needs no number (RFC 6864, section 4.1).
#[inline(always)]
pub const fn put_ipv4(head: &mut [u8; ipv4::HEADER], header: &Header<u32>) {
    let [high, low] = (HEADER4 + header.payload).to_be_bytes();
    let first = u32::from_ne_bytes([ipv4::PLAIN, header.class, high, low]);
    let [flags, offset] = ipv4::DONT_FRAGMENT.to_be_bytes();
    let second = u32::from_ne_bytes([0, 0, flags, offset]);
    let third = u32::from_ne_bytes([HOPS, header.protocol, 0, 0]);
    let sum = Sum::new()
        .add_u32(first)
        .add_u32(second)
        .add_u32(third)
        .add_u32(header.source)
        .add_u32(header.destination);
    put_u32(head, 0, first);
    put_u32(head, 4, second);
    put_u32(head, 8, third);
    put_u16(head, ipv4::CHECKSUM, sum.finish());
    put_u32(head, ipv4::SOURCE, header.source);
    put_u32(head, ipv4::DESTINATION, header.destination);
}

/// Writes an IPv6 header; of `flow_label` 20 bits count (RFC 6437).
#[inline(always)]
pub const fn put_ipv6(head: &mut [u8; ipv6::HEADER], header: &Header<[u32; 4]>, flow_label: u32) {
    let start = [header.class, header.protocol];
    put_ipv6_start(head, start, header.payload, flow_label);
    put_words(head, ipv6::SOURCE, header.source);
    put_words(head, ipv6::DESTINATION, header.destination);
}

/// Writes an IPv6 header's 8 bytes before its addresses: class and protocol, bytes after the header.
#[inline(always)]
pub const fn put_ipv6_start<const N: usize>(
    head: &mut [u8; N],
    [class, protocol]: [u8; 2],
    payload: u16,
    flow_label: u32,
) {
    let first = 6 << 28 | (class as u32) << 20 | flow_label & 0xf_ffff;
    let [high, low] = payload.to_be_bytes();
    put_u32(head, 0, first.to_be());
    put_u32(head, 4, u32::from_ne_bytes([high, low, protocol, HOPS]));
}
