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

    /// What a stored checksum covers, to be changed by [`Self::replace_u16`] and the like and stored
    /// again: RFC 1624, equation 3. A sum that was wrong stays wrong by as much.
    #[inline(always)]
    #[must_use]
    pub const fn of(checksum: u16) -> Self {
        Self(!checksum as u64)
    }

    /// Two bytes are no longer `old` but `new`.
    #[inline(always)]
    #[must_use]
    pub const fn replace_u16(self, old: u16, new: u16) -> Self {
        self.add_u16(!old).add_u16(new)
    }

    /// Four bytes are no longer `old` but `new`.
    #[inline(always)]
    #[must_use]
    pub const fn replace_u32(self, old: u32, new: u32) -> Self {
        self.add_u32(!old).add_u32(new)
    }

    /// An IPv6 address is no longer `old` but `new`.
    #[inline(always)]
    #[must_use]
    pub const fn replace_words(self, old: [u32; 4], new: [u32; 4]) -> Self {
        self.replace_u32(old[0], new[0])
            .replace_u32(old[1], new[1])
            .replace_u32(old[2], new[2])
            .replace_u32(old[3], new[3])
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
