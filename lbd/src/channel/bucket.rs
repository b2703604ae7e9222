//! How much a peer may say, so that one that is broken, or in wrong hands, does not take this node's
//! time and table.
//!
//! The limit is far above what an lbd has to send. It counts datagrams of any content:
//! - 25,000 sessions a second, the stream at its limit, are 61 bytes each (`sync_stream`): 1,100 full
//!   datagrams a second, or 2,000 as they gather for a millisecond each; with IPv6 2,900. History next to
//!   it is 2,000 a second at most. [`A_SECOND`] is more than all of that.
//! - A peer that was held up has 2^18 flows queued, which are 4,000 datagrams, or 10,500 with IPv6, and
//!   sends them at once. This node has 4 Mbyte of receive buffer, which are 3,000 datagrams, and reads them
//!   at once when it was held up itself. [`BURST`] is more than both.
//! - A table comes as fast as the peer sends, 20,000 datagrams a second. While this node lacks it, its
//!   datagrams count by themselves, and [`TABLE`] of them are the 16,777,216 IPv4 flows that `node.flows`
//!   allows at most. More of them come too, at [`A_SECOND`].
//!
//! What is refused is as good as lost on the way: its number is missing, and is asked for again. So a
//! peer that was right after all is slowed down, and loses nothing.

/// Datagrams of a peer in each second, in the long run.
const A_SECOND: u64 = 8_000;
/// Beyond that, at once.
pub(super) const BURST: u64 = 1 << 14;
/// Likewise of a table that this node lacks.
pub(super) const TABLE: u64 = 1 << 18;

/// What one datagram takes.
const COST_NS: u64 = 1_000_000_000 / A_SECOND;

/// A bucket of datagrams that fills with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    size_ns: u64,
    /// When it is full again: an empty one in its whole size from now.
    full_ns: u64,
}

impl Bucket {
    /// Full, of so many datagrams.
    pub(super) fn new(datagrams: u64) -> Self {
        Self {
            size_ns: datagrams * COST_NS,
            full_ns: 0,
        }
    }

    /// Whether there is no datagram left in it.
    pub(super) fn is_empty(&self, now_ns: u64) -> bool {
        self.full_ns.saturating_sub(now_ns) + COST_NS > self.size_ns
    }

    /// Takes a datagram out of it; false when there is none.
    pub(super) fn take(&mut self, now_ns: u64) -> bool {
        let takes = !self.is_empty(now_ns);
        if takes {
            self.full_ns = self.full_ns.max(now_ns) + COST_NS;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_second_brings_back_what_a_second_may_take() {
        let mut bucket = Bucket::new(BURST);
        let mut taken_at = |now_ns| (0..2 * BURST).filter(|_| bucket.take(now_ns)).count() as u64;
        assert_eq!(taken_at(SECOND), BURST);
        assert_eq!(taken_at(2 * SECOND), A_SECOND);
        assert_eq!(taken_at(2 * SECOND + COST_NS), 1);
        assert_eq!(taken_at(3 * SECOND / 2), 0, "a clock that goes back");
        assert_eq!(taken_at(60 * SECOND), BURST, "no more than it holds");
    }

    proptest! {
        #[test]
        fn never_more_is_taken_than_it_held_and_time_has_brought(
            waits_ns in proptest::collection::vec(0..20 * COST_NS, 1..400), size in 1_u64..50
        ) {
            let mut bucket = Bucket::new(size);
            let (mut now_ns, mut taken) = (SECOND, 0);
            for wait_ns in &waits_ns {
                now_ns += wait_ns;
                taken += (0..5).filter(|_| bucket.take(now_ns)).count() as u64;
                prop_assert!(taken <= size + (now_ns - SECOND) / COST_NS);
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(
            jitters_ns in proptest::collection::vec(0..COST_NS, 1..400)
        ) {
            let mut bucket = Bucket::new(2);
            for (nth, jitter_ns) in (1..).zip(jitters_ns) {
                prop_assert!(bucket.take(nth * COST_NS + jitter_ns));
            }
        }
    }
}
