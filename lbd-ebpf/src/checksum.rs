//! The Internet checksum (RFC 1071), in memory order throughout: the sum of swapped words is the
//! swapped sum, so nothing is ever converted.

/// A ones' complement sum that has not been folded yet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sum(u64);

impl Sum {
    /// Of nothing.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// What another sum has come to, as [`Self::partial`] gives it.
    #[inline(always)]
    #[must_use]
    pub const fn from_partial(sum: u32) -> Self {
        Self(sum as u64)
    }

    /// The sum in 32 bits, as `bpf_csum_diff` takes and returns it.
    #[inline(always)]
    #[must_use]
    pub const fn partial(self) -> u32 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        // One carry at most, and then the low half is not all ones.
        (((sum & 0xffff_ffff) + (sum >> 32)) & 0xffff_ffff) as u32
    }

    /// Adds two bytes as they stand in memory.
    #[inline(always)]
    #[must_use]
    pub const fn add_u16(self, value: u16) -> Self {
        Self(self.0 + value as u64)
    }

    /// Adds four bytes as they stand in memory.
    #[inline(always)]
    #[must_use]
    pub const fn add_u32(self, value: u32) -> Self {
        Self(self.0 + value as u64)
    }

    /// Adds an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn add_words(self, words: [u32; 4]) -> Self {
        self.add_u32(words[0])
            .add_u32(words[1])
            .add_u32(words[2])
            .add_u32(words[3])
    }

    /// The checksum as it is stored: folded with end-around carry, and complemented.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> u16 {
        let mut sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        !((sum & 0xffff) as u16)
    }
}
