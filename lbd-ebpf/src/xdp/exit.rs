//! How a frame leaves the chain.
use aya_ebpf::bindings::xdp_action;
use lbd_common::counters::Reason;
use lbd_ebpf::wire::parse::Unusable;

use super::tables::maps::COUNTERS;

/// The one way to leave the chain before the end.
#[derive(Clone, Copy)]
pub(crate) enum Exit {
    /// Up to the host's own stack.
    Pass(Reason),
    /// Gone.
    Drop(Reason),
    /// The frame was turned into its answer: back where it came from.
    Answer(Reason),
    /// Decided and counted by a function of its own, whose action this is, or left to one by a
    /// [`code`](super::code).
    Done(u32),
}

/// A frame that is nothing to lbd leaves as it came. It is not counted: that alone would take longer
/// than seeing it, and the interface counts it too.
pub(crate) const NOT_OURS: Exit = Exit::Done(xdp_action::XDP_PASS);

/// What a stage returns.
pub(crate) type Stage<T> = Result<T, Exit>;

impl Exit {
    /// Counts the exit and names it as the kernel does.
    #[inline(always)]
    pub(crate) fn finish(self) -> u32 {
        let (action, reason) = match self {
            Self::Pass(reason) => (xdp_action::XDP_PASS, reason),
            Self::Drop(reason) => (xdp_action::XDP_DROP, reason),
            Self::Answer(reason) => (xdp_action::XDP_TX, reason),
            Self::Done(action) => return action,
        };
        count(reason);
        action
    }
}

/// The exit of a frame whose headers cannot be followed to its transport.
#[inline(always)]
pub(crate) fn unusable(why: Unusable) -> Exit {
    Exit::Drop(match why {
        Unusable::Malformed => Reason::DropMalformed,
        Unusable::Fragment => Reason::DropFragment,
    })
}

/// Counts something that is not an exit, such as an adopted flow.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own, a `Counters` is as many `u64` as there are reasons,
        // and a reason is the index of its field.
        unsafe { *counters.cast::<u64>().add(reason as usize) += 1 };
    }
}
