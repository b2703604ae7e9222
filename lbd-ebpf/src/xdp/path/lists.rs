//! Who is let in: the allow lists, then the deny lists. Frames without a flow only, so that an open
//! session pays nothing for lists of any length.
use aya_ebpf::btf_maps::lpm_trie::Key;
use lbd_common::denied::{Network4, Network6};

use crate::xdp::tables::maps::{ALLOW4, ALLOW6, DENY_LENGTHS, DENY4, DENY6};

/// What the lists say of a source.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Listed {
    /// Nothing.
    No,
    /// Allowed: no other rule counts.
    Allowed,
    /// Denied.
    Denied,
}

/// Of an IPv4 source.
#[inline(always)]
pub(crate) fn listed4(source: u32) -> Listed {
    judge(ALLOW4.get(&Key::new(32, source)), || is_denied4(source))
}

/// Of an IPv6 source.
#[inline(always)]
pub(crate) fn listed6(source: [u32; 4]) -> Listed {
    judge(ALLOW6.get(&Key::new(128, source)), || {
        let [a, b, c, d] = source.map(u64::from);
        is_denied6(a | b << 32, c | d << 32)
    })
}

#[inline(always)]
fn judge(allowed: Option<&u32>, is_denied: impl FnOnce() -> u32) -> Listed {
    if allowed.is_some() {
        Listed::Allowed
    } else if is_denied() != 0 {
        Listed::Denied
    } else {
        Listed::No
    }
}

/// Whether a denied network holds an IPv4 source.
///
/// A function of its own, as is the other one, because the kernel then verifies its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_denied4(source: u32) -> u32 {
    let mut lengths = lengths(0);
    for _ in 0..=32 {
        let Some(length) = next(&mut lengths) else {
            return 0;
        };
        let network = Network4::of(source, length);
        // SAFETY: the entry is not read.
        if unsafe { DENY4.get(&network) }.is_some() {
            return 1;
        }
    }
    0
}

/// Whether a denied network holds an IPv6 source.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_denied6(high: u64, low: u64) -> u32 {
    let source = [
        high as u32,
        (high >> 32) as u32,
        low as u32,
        (low >> 32) as u32,
    ];
    for word in 0..3 {
        let mut lengths = lengths(1 + word);
        for _ in 0..64 {
            let Some(length) = next(&mut lengths) else {
                break;
            };
            let network = Network6::of(source, word * 64 + length);
            // SAFETY: the entry is not read.
            if unsafe { DENY6.get(&network) }.is_some() {
                return 1;
            }
        }
    }
    0
}

/// A word of [`DENY_LENGTHS`], the first one that of IPv4.
#[inline(always)]
fn lengths(word: u32) -> u64 {
    let Some(all) = DENY_LENGTHS.get(0) else {
        return 0;
    };
    // SAFETY: `DenyLengths` is four words, which the daemon stores whole at any moment.
    unsafe {
        core::ptr::from_ref(all)
            .cast::<u64>()
            .add((word & 3) as usize)
            .read_volatile()
    }
}

/// Takes the lowest bit out.
#[inline(always)]
fn next(bits: &mut u64) -> Option<u32> {
    if *bits == 0 {
        return None;
    }
    let lowest = bits.trailing_zeros();
    *bits &= *bits - 1;
    Some(lowest)
}
