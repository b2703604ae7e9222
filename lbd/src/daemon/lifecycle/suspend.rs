//! Whether the machine was suspended. Pure.
//!
//! Some drivers (virtio-net on 6.1 is one) set their queues up anew on a resume and lose the XDP program
//! meanwhile, while the kernel's own books go on saying that it is attached.

/// Less than this is the time between two readings of two clocks.
const LEAST_NS: u64 = 500_000_000;

/// The time that the machine has slept, as of the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::daemon) struct SuspendDetector {
    /// `None` before the first look.
    slept_ns: Option<u64>,
}

impl SuspendDetector {
    /// How long it has slept since the last look, if it has. One clock counts that time
    /// (`CLOCK_BOOTTIME`), the other does not (`CLOCK_MONOTONIC`).
    pub(in crate::daemon) fn look(&mut self, boottime_ns: u64, monotonic_ns: u64) -> Option<u64> {
        let slept_ns = boottime_ns.saturating_sub(monotonic_ns);
        let before_ns = self.slept_ns.replace(slept_ns)?;
        let since_ns = slept_ns.saturating_sub(before_ns);
        (since_ns >= LEAST_NS).then_some(since_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_suspend_is_seen_once_and_time_that_merely_passes_is_none() {
        let mut asleep = SuspendDetector::default();
        assert_eq!(
            asleep.look(100 * S, 90 * S),
            None,
            "it slept before the start"
        );
        assert_eq!(asleep.look(101 * S, 91 * S - 1000), None);
        assert_eq!(asleep.look(161 * S, 91 * S - 1000), Some(60 * S));
        assert_eq!(asleep.look(162 * S, 92 * S), None);
        assert_eq!(
            asleep.look(400 * S, 330 * S),
            None,
            "paused: both clocks went on"
        );
    }
}
