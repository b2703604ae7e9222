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

/// The home slot of a 32-bit key in a table of `slots`.
///
/// From the product's highest bits, which alone depend on every bit of the key: the last byte of an
/// address in memory order is the highest of its word.
#[inline(always)]
#[must_use]
pub const fn slot_u32(key: u32, slots: u32) -> u32 {
    ((key.wrapping_mul(0x9e37_79b1) as u64 * slots as u64) >> 32) as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_have_different_homes() {
        let mut homes = [0_u32; 64];
        for last in 1..=32 {
            homes[slot_u32(u32::from_ne_bytes([192, 0, 2, last]), 64) as usize] += 1;
        }
        assert!(homes.iter().all(|keys| *keys <= 4), "{homes:?}");
    }

    #[test]
    fn macs_that_count_up_have_different_homes() {
        let mut homes = [0_u32; 256];
        for last in 0..128 {
            let mac = crate::node::mac_to_u64([2, 0, 0, 0, 0, last]);
            homes[slot_mac(mac, 256) as usize] += 1;
        }
        assert!(homes.iter().all(|keys| *keys <= 4), "{homes:?}");
    }
}
