//! Access to a frame's bytes, the same for a packet in the kernel and a slice on the host.

/// The bytes of one frame, from the Ethernet header on.
pub trait Frame {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// `N` bytes from `offset` on; `None` if the frame ends before them.
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// Whether there are no bytes at all.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Frame for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.get(offset..)?.first_chunk()
    }
}

/// Two bytes as they stand in memory: network byte order when the bytes are.
#[inline(always)]
#[must_use]
pub const fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    assert!(at + 2 <= N);
    // SAFETY: the two bytes are inside the array, and an unaligned read needs nothing else.
    unsafe { bytes.as_ptr().add(at).cast::<u16>().read_unaligned() }
}

/// Four bytes as they stand in memory.
#[inline(always)]
#[must_use]
pub const fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    assert!(at + 4 <= N);
    // SAFETY: the four bytes are inside the array, and an unaligned read needs nothing else.
    unsafe { bytes.as_ptr().add(at).cast::<u32>().read_unaligned() }
}

/// Four words in memory order, as an IPv6 address is kept in every map.
#[inline(always)]
#[must_use]
pub const fn words_at<const N: usize>(bytes: &[u8; N], at: usize) -> [u32; 4] {
    [
        u32_at(bytes, at),
        u32_at(bytes, at + 4),
        u32_at(bytes, at + 8),
        u32_at(bytes, at + 12),
    ]
}

/// Writes two bytes as they stand in memory.
#[inline(always)]
pub const fn put_u16<const N: usize>(bytes: &mut [u8; N], at: usize, value: u16) {
    assert!(at + 2 <= N);
    // SAFETY: the two bytes are inside the array, and an unaligned write needs nothing else.
    unsafe {
        bytes
            .as_mut_ptr()
            .add(at)
            .cast::<u16>()
            .write_unaligned(value);
    }
}

/// Writes four bytes as they stand in memory.
#[inline(always)]
pub const fn put_u32<const N: usize>(bytes: &mut [u8; N], at: usize, value: u32) {
    assert!(at + 4 <= N);
    // SAFETY: the four bytes are inside the array, and an unaligned write needs nothing else.
    unsafe {
        bytes
            .as_mut_ptr()
            .add(at)
            .cast::<u32>()
            .write_unaligned(value);
    }
}

/// Writes four words in memory order.
#[inline(always)]
pub const fn put_words<const N: usize>(bytes: &mut [u8; N], at: usize, words: [u32; 4]) {
    put_u32(bytes, at, words[0]);
    put_u32(bytes, at + 4, words[1]);
    put_u32(bytes, at + 8, words[2]);
    put_u32(bytes, at + 12, words[3]);
}
