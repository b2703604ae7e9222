//! Rates of new connections. All of them count within one unit of
//! [`SEEN_SHIFT`](crate::flow::SEEN_SHIFT) (1.07 s), which stands for a second.

/// A slot of `SOURCES`: one source's new connections in this second. Read and replaced whole, without
/// a lock: a connection that two CPUs count at once may be counted once.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SourceRate {
    /// Bits of the hash of the source (IPv4 /32, IPv6 /64) that do not choose the slot.
    pub tag: u32,
    /// The second that is counted.
    pub seen: u16,
    /// New connections in it.
    pub count: u16,
}

impl SourceRate {
    /// As it stands in the map.
    #[inline(always)]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.tag as u64 | (self.seen as u64) << 32 | (self.count as u64) << 48
    }

    /// The inverse of [`Self::to_bits`].
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            tag: bits as u32,
            seen: (bits >> 32) as u16,
            count: (bits >> 48) as u16,
        }
    }
}

/// The one entry of `RATES`, per CPU: what this CPU did in this second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// The second that is counted.
    pub seen: u32,
    /// SYNs without a flow.
    pub syns: u32,
    /// Flows adopted in mid-session.
    pub adopted: u32,
    /// Frames too big for a tunnel that were answered.
    pub too_big: u16,
    /// Next hops of replies that the daemon was told it must ask for.
    pub neighbours: u16,
    /// Denied frames that the daemon was told of.
    pub denied: u32,
}

const _: () = assert!(size_of::<SourceRate>() == 8 && size_of::<Rates>() == 20);
