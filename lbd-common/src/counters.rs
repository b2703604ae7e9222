//! Why packets went where they went.

/// The one entry of `COUNTERS`, per CPU. A sentence each says whether an operator should worry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Frames for no VIP, passed untouched. Expected: everything else the box does.
    pub pass_not_ours: u64,
}
