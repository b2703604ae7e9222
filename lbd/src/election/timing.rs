//! The intervals of RFC 9568 6.1, in nanoseconds.
//!
//! An implementation that keeps whole seconds here has a skew of 0, and all its backups fire
//! together.
use crate::units::Priority;
use crate::vrrp::Interval;

/// Advertised by a master whose daemon leaves for a successor on the same box: it has three of these
/// (and no backup longer than four) to start.
pub const SUCCESSOR: Interval = match Interval::from_centiseconds(300) {
    Some(interval) => interval,
    None => Interval::MAX,
};

/// The largest skew after a master said that it stops: see [`handover_ns`].
const HANDOVER_BASE_NS: u64 = 4_000_000;

/// `((256 - priority) * interval) / 256`: the higher the priority, the sooner.
#[must_use]
pub fn skew_ns(priority: Priority, interval_ns: u64) -> u64 {
    (256 - u64::from(priority.0)) * interval_ns / 256
}

/// Silence after which a backup takes over: `3 * interval + skew`, with the master's interval.
#[must_use]
pub fn master_down_ns(priority: Priority, interval: Interval) -> u64 {
    3 * interval.ns() + skew_ns(priority, interval.ns())
}

/// How long a master that sent an advert may serve without sending another.
///
/// Less than any backup's [`master_down_ns`] by that backup's skew: a master that can no longer send is
/// silent before another node speaks.
#[must_use]
pub fn lease_ns(interval: Interval) -> u64 {
    3 * interval.ns()
}

/// How long a backup waits after the master said that it stops.
///
/// RFC 9568 6.4.2 has the whole skew, 218 ms at priority 200 and 1 s adverts, only to keep the
/// backups apart. The VIP is free by then, so 4 ms keep them apart as well; those that still fire
/// together sort it out with one advert each.
#[must_use]
pub fn handover_ns(priority: Priority, interval: Interval) -> u64 {
    skew_ns(priority, interval.ns().min(HANDOVER_BASE_NS))
}

/// Questions to a silent master's box before it counts as gone.
pub const PROBES: u8 = 8;

/// Silence after which a backup begins to doubt the master: one advert is overdue by an eighth.
#[must_use]
pub fn overdue_ns(interval: Interval) -> u64 {
    interval.ns() + interval.ns() / 8
}

/// Between two questions to a silent master's box: longer than an answer takes on a busy segment,
/// and all of them together no blink of a box.
#[must_use]
pub fn probe_gap_ns(interval: Interval) -> u64 {
    (interval.ns() / 16).clamp(1_500_000, 50_000_000)
}

/// By how much a timer may be late before its owner looks for a rival first.
#[must_use]
pub fn late_ns(interval: Interval) -> u64 {
    interval.ns() / 8
}

/// How long the advert of the other family may follow the one that was heard first: a node sends both in
/// one go, and they pass the same wire.
#[must_use]
pub fn both_families_ns(interval: Interval) -> u64 {
    interval.ns().min(50_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(centiseconds: u16) -> Interval {
        Interval::from_centiseconds(centiseconds).unwrap()
    }

    #[test]
    fn times_below_a_second_are_exact() {
        // (centiseconds, priority) -> skew, master down
        let cases = [
            (100, 100, 609_375_000, 3_609_375_000),
            (100, 200, 218_750_000, 3_218_750_000),
            (100, 255, 3_906_250, 3_003_906_250),
            (100, 1, 996_093_750, 3_996_093_750),
            (10, 100, 60_937_500, 360_937_500),
            (1, 100, 6_093_750, 36_093_750),
            (1, 254, 78_125, 30_078_125),
            (4095, 128, 20_475_000_000, 143_325_000_000),
        ];
        for (centiseconds, priority, skew, down) in cases {
            let (i, p) = (interval(centiseconds), Priority(priority));
            assert_eq!(
                skew_ns(p, i.ns()),
                skew,
                "{centiseconds} cs, priority {priority}"
            );
            assert_eq!(master_down_ns(p, i), down);
        }
    }

    #[test]
    fn a_handover_takes_less_than_5_ms_at_every_interval() {
        for centiseconds in [1, 10, 100, 4095] {
            for priority in 1..=255 {
                assert!(handover_ns(Priority(priority), interval(centiseconds)) < 5_000_000);
            }
        }
    }

    #[test]
    fn a_box_that_is_gone_is_replaced_before_a_lease_could_end() {
        // The slowest: priority 1.
        for centiseconds in [1, 2, 10, 100, 4095] {
            let i = interval(centiseconds);
            let gone_ns =
                overdue_ns(i) + u64::from(PROBES) * probe_gap_ns(i) + handover_ns(Priority(1), i);
            assert!(gone_ns < lease_ns(i), "{centiseconds} cs: {gone_ns}");
        }
    }

    proptest! {
        #[test]
        fn a_lease_ends_before_another_node_takes_over(c in 1..=4095u16, priority in 1..=255u8) {
            let interval = interval(c);
            prop_assert!(lease_ns(interval) < master_down_ns(Priority(priority), interval));
        }

        #[test]
        fn a_higher_priority_is_sooner(c in 1..=4095u16, low in 1..255u8) {
            let interval = interval(c);
            let (low, high) = (Priority(low), Priority(low + 1));
            prop_assert!(master_down_ns(high, interval) < master_down_ns(low, interval));
            prop_assert!(handover_ns(high, interval) < handover_ns(low, interval));
        }
    }
}
