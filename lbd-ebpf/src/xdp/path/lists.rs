//! Who is let in: the allow lists, then the deny lists. Frames without a flow only, so that an open
//! session pays nothing for lists of any length.
use aya_ebpf::btf_maps::lpm_trie::Key;

use crate::xdp::tables::maps::{ALLOW4, ALLOW6, DENY4, DENY6};

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
    let key = Key::new(32, source);
    judge(ALLOW4.get(&key), || DENY4.get(&key))
}

/// Of an IPv6 source.
#[inline(always)]
pub(crate) fn listed6(source: [u32; 4]) -> Listed {
    let key = Key::new(128, source);
    judge(ALLOW6.get(&key), || DENY6.get(&key))
}

#[inline(always)]
fn judge<'a>(allowed: Option<&u32>, denied: impl FnOnce() -> Option<&'a u32>) -> Listed {
    if allowed.is_some() {
        Listed::Allowed
    } else if denied().is_some() {
        Listed::Denied
    } else {
        Listed::No
    }
}
