//! Whether this box hears anything of the world outside it.
//!
//! A box whose own cable is pulled, or whose switch port blocks, gets no answer from any host. What it
//! then finds out about others is about itself.
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// When other boxes were heard. Times are nanoseconds since boot; 0 is never.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "their unit")]
pub struct Outside {
    /// The last sign of any of them.
    seen_ns: AtomicU64,
    /// Since then no gap between two signs was longer than `gap_ns`.
    since_ns: AtomicU64,
    /// How long this box may hear nothing before it counts as cut off.
    gap_ns: AtomicU64,
}

/// The least gap: some hellos of the cluster channel.
const GAP: Duration = Duration::from_secs(2);

impl Outside {
    /// Follows the interval of the health checks, which may be the only ones that bring signs.
    pub(super) fn expect_every(&self, interval: Duration) {
        let gap = GAP.max(interval + interval / 2);
        let gap_ns = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        self.gap_ns.store(gap_ns, Ordering::Relaxed);
    }

    /// Another box was heard at `at_ns`.
    pub fn note(&self, at_ns: u64) {
        let before_ns = self.seen_ns.fetch_max(at_ns, Ordering::Relaxed);
        let gap_ns = self.gap_ns.load(Ordering::Relaxed);
        if before_ns == 0 || at_ns.saturating_sub(before_ns) > gap_ns {
            self.since_ns.store(at_ns, Ordering::Relaxed);
        }
    }

    /// Whether this box was connected from `began_ns` to `now_ns`: who did not answer it meanwhile
    /// does not answer anyone.
    #[must_use]
    pub fn vouches(&self, began_ns: u64, now_ns: u64) -> bool {
        let seen_ns = self.seen_ns.load(Ordering::Relaxed);
        seen_ns != 0
            && now_ns.saturating_sub(seen_ns) <= self.gap_ns.load(Ordering::Relaxed)
            && self.since_ns.load(Ordering::Relaxed) <= began_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn silence_of_others_counts_while_another_host_is_heard() {
        let outside = Outside::default();
        outside.expect_every(Duration::from_secs(1));
        assert!(!outside.vouches(0, S), "no host was ever heard");
        for second in 10..=20 {
            outside.note(second * S);
        }
        assert!(!outside.vouches(9 * S, 15 * S), "it was not connected yet");
        assert!(outside.vouches(10 * S, 20 * S));
        assert!(outside.vouches(15 * S, 22 * S));
        assert!(!outside.vouches(15 * S, 22 * S + 1), "cut off by now");
        outside.note(40 * S);
        assert!(!outside.vouches(39 * S, 41 * S), "it began while cut off");
        assert!(outside.vouches(40 * S, 41 * S));
    }

    #[test]
    fn rare_checks_may_be_the_only_signs() {
        let outside = Outside::default();
        outside.expect_every(Duration::from_mins(1));
        outside.note(100 * S);
        assert!(outside.vouches(100 * S, 190 * S));
        assert!(!outside.vouches(100 * S, 191 * S));
    }
}
