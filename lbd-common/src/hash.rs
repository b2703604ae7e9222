//! Hashes that the program and the daemon must agree on.

/// How many slots of an open-addressed table are looked at before a key counts as absent.
///
/// The daemon refuses a table in which some key would sit further from its home slot.
pub const MAX_PROBE: u32 = 8;

/// Mixes 64 bits so that every input bit reaches every output bit.
///
/// Two rounds of multiply and xor-shift (the constant is Pelle Evensen's `rrmxmx` multiplier).
#[inline(always)]
#[must_use]
pub const fn mix(mut x: u64) -> u64 {
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^= x >> 32;
    x
}

/// The home slot of a 32-bit key in a table of `slots` (a power of two, 2 to 2^16).
#[inline(always)]
#[must_use]
pub const fn slot_u32(key: u32, slots: u32) -> u32 {
    (key.wrapping_mul(0x9e37_79b1) >> 16) & (slots - 1)
}

/// The home slot of an IPv6 address, as four words in memory order.
#[inline(always)]
#[must_use]
pub const fn slot_v6(words: [u32; 4], slots: u32) -> u32 {
    let folded = words[0]
        .wrapping_mul(0x85eb_ca6b)
        .wrapping_add(words[1].wrapping_mul(0xc2b2_ae35))
        .wrapping_add(words[2].wrapping_mul(0x27d4_eb2f))
        .wrapping_add(words[3]);
    slot_u32(folded, slots)
}

/// The home slot of a MAC address (see [`crate::node::mac_to_u64`]).
#[inline(always)]
#[must_use]
pub const fn slot_mac(mac: u64, slots: u32) -> u32 {
    slot_u32((mac ^ (mac >> 16)) as u32, slots)
}
