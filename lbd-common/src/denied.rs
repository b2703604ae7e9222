//! Networks that may open nothing, as `DENY4` and `DENY6` have them: a hash of prefix length and address.
//!
//! A lookup tries each prefix length that is in use ([`DenyLengths`]): one or two loads each, however many
//! networks there are. In a trie each bit in which 100,000 networks differ is a cache line of its own.

/// An IPv4 network.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Network4 {
    /// Bits of the network.
    pub prefix_len: u32,
    /// Its address in memory order, 0 beyond the prefix.
    pub data: u32,
}

/// An IPv6 network.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Network6 {
    /// Bits of the network.
    pub prefix_len: u32,
    /// Its address as four words in memory order, 0 beyond the prefix.
    pub data: [u32; 4],
}

/// Prefix lengths that at least one denied network has, a bit each. The one entry of `DENY_LENGTHS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DenyLengths {
    /// Of IPv4: bit 0 is `0.0.0.0/0`, bit 32 a host.
    pub v4: u64,
    /// Of IPv6, 64 to a word.
    pub v6: [u64; 3],
}

const _: () = assert!(size_of::<Network4>() == 8 && size_of::<Network6>() == 20);
const _: () = assert!(size_of::<DenyLengths>() == 32);

impl Network4 {
    /// The network of this length that holds an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: u32, prefix_len: u32) -> Self {
        Self {
            prefix_len,
            data: first_bits(address, prefix_len),
        }
    }
}

impl Network6 {
    /// The network of this length that holds an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: [u32; 4], prefix_len: u32) -> Self {
        let [a, b, c, d] = address;
        let data = [
            first_bits(a, prefix_len),
            first_bits(b, prefix_len.saturating_sub(32)),
            first_bits(c, prefix_len.saturating_sub(64)),
            first_bits(d, prefix_len.saturating_sub(96)),
        ];
        Self { prefix_len, data }
    }
}

/// The first bits of a word in memory order; from 32 on all of them.
#[inline(always)]
const fn first_bits(word: u32, bits: u32) -> u32 {
    let bits = if bits < 32 { bits } else { 32 };
    let mask = (u64::MAX << (32 - bits)) as u32;
    word & mask.to_be()
}

impl DenyLengths {
    /// Notes a length of IPv4 networks.
    pub const fn add4(&mut self, prefix_len: u32) {
        self.v4 |= 1 << (prefix_len & 63);
    }

    /// Notes a length of IPv6 networks.
    pub const fn add6(&mut self, prefix_len: u32) {
        let word = (prefix_len >> 6) as usize;
        if word < self.v6.len() {
            self.v6[word] |= 1 << (prefix_len & 63);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn word(octets: [u8; 4]) -> u32 {
        u32::from_ne_bytes(octets)
    }

    #[test]
    fn a_network_has_the_first_bits_of_its_addresses() {
        let address = word([198, 51, 101, 255]);
        for (bits, expected) in [
            (0, [0, 0, 0, 0]),
            (1, [128, 0, 0, 0]),
            (8, [198, 0, 0, 0]),
            (23, [198, 51, 100, 0]),
            (24, [198, 51, 101, 0]),
            (32, [198, 51, 101, 255]),
        ] {
            assert_eq!(Network4::of(address, bits).data, word(expected), "{bits}");
        }
        let all = [u32::MAX; 4];
        for (bits, expected) in [
            (0, [0; 4]),
            (32, [u32::MAX, 0, 0, 0]),
            (64, [u32::MAX, u32::MAX, 0, 0]),
            (65, [u32::MAX, u32::MAX, word([128, 0, 0, 0]), 0]),
            (128, all),
        ] {
            assert_eq!(Network6::of(all, bits).data, expected, "{bits}");
        }
    }

    #[test]
    fn every_length_has_a_bit() {
        let mut lengths = DenyLengths::default();
        for bits in [0, 32] {
            lengths.add4(bits);
        }
        for bits in [0, 63, 64, 128] {
            lengths.add6(bits);
        }
        assert_eq!(lengths.v4, 1 << 32 | 1);
        assert_eq!(lengths.v6, [1 << 63 | 1, 1, 1]);
    }
}
