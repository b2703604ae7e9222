//! Where the later parts of a packet go that was cut up on its way.

/// A key of `FRAGMENTS`: what all parts of a packet have in common (RFC 791, section 3.2; RFC 8200, section
/// 4.5). The value is what [`note`] makes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FragmentKey {
    /// Four words in memory order; an IPv4 address is in word 0.
    pub source: [u32; 4],
    /// The VIP, likewise.
    pub destination: [u32; 4],
    /// The packet's identification, in memory order.
    pub identification: u32,
    /// 4 or 6.
    pub family: u32,
}

const _: () = assert!(size_of::<FragmentKey>() == 40 && align_of::<FragmentKey>() == 4);

/// How long the later parts follow the first: parts come one after another, and an identification of IPv4 is
/// used again after 65,536 packets. 4.3 s.
const FOLLOW_NS: u64 = 1 << 32;

/// The bits of a note that are the backend's id.
const ID: u64 = 0xffff;

/// The first part went to this backend at `now_ns`, in nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn note(now_ns: u64, backend: u16) -> u64 {
    now_ns & !ID | backend as u64
}

/// The backend that a note names, while it holds.
#[inline(always)]
pub fn noted(note: u64, now_ns: u64) -> Option<u16> {
    let age_ns = (now_ns & !ID).wrapping_sub(note & !ID);
    (age_ns < FOLLOW_NS).then_some((note & ID) as u16)
}

#[cfg(test)]
mod tests {
    use super::{FOLLOW_NS, note, noted};

    #[test]
    fn a_note_names_its_backend_for_some_seconds() {
        let now_ns = 77_123_456_789;
        let note = note(now_ns, 1023);
        assert_eq!(noted(note, now_ns), Some(1023));
        assert_eq!(noted(note, now_ns + FOLLOW_NS - 100_000), Some(1023));
        assert_eq!(noted(note, now_ns + FOLLOW_NS + 100_000), None);
        // One from before this box was started anew, or of a clock that went back.
        assert_eq!(noted(note, now_ns - 100_000), None);
    }
}
