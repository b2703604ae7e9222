//! Sources that no client has: a frame from one is forged, and its answer would reach no host or this
//! box itself.
use crate::xdp::tables::vip::{vip4, vip6};

/// `0.0.0.0/8` and `127.0.0.0/8` (RFC 1122, section 3.2.1.3), multicast (RFC 5771), what is reserved
/// (RFC 1112, section 4) with the broadcast address, and every VIP.
#[inline(always)]
pub(crate) fn is_odd4(source: u32) -> bool {
    let first = u32::from_be(source) >> 24;
    first == 0 || first == 127 || first >= 224 || vip4(source).is_some()
}

/// `::`, `::1`, IPv4 in IPv6's clothes (RFC 4291, sections 2.5.2, 2.5.3 and 2.5.5), multicast, and
/// every VIP.
#[inline(always)]
pub(crate) fn is_odd6(source: [u32; 4]) -> bool {
    let is_short =
        source[0] | source[1] == 0 && (source[2] == 0 || u32::from_be(source[2]) == 0xffff);
    is_short || u32::from_be(source[0]) >> 24 == 0xff || vip6(source).is_some()
}
