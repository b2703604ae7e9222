//! The clocks that leases, flows, adverts and files are timed by; timers and timeouts of tasks use tokio's.
use rustix::time::{ClockId, clock_gettime};

use crate::vrrp::Moment;

/// Nanoseconds since boot, suspended time included: the clock of leases and of the cores' `now`.
#[must_use]
pub(super) fn boottime_ns() -> u64 {
    read_ns(ClockId::Boottime)
}

/// Nanoseconds since boot without suspended time: the clock that flows are marked with.
#[must_use]
pub(super) fn monotonic_ns() -> u64 {
    read_ns(ClockId::Monotonic)
}

/// Nanoseconds since 1970: which of two orders is the later one, and the sequence of an advert's trailer.
#[must_use]
pub(super) fn unix_ns() -> u64 {
    read_ns(ClockId::Realtime)
}

/// Seconds since 1970, for people and for files that outlive the boot.
#[must_use]
pub(super) fn unix_s() -> u64 {
    unix_ns() / NS_PER_S
}

/// Both clocks that an advert is judged by.
pub(super) fn moment() -> Moment {
    Moment {
        unix_ns: unix_ns(),
        boot_ns: boottime_ns(),
    }
}

const NS_PER_S: u64 = 1_000_000_000;

/// 0 for a time before the clock's beginning, which only a wrongly set date is.
fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NS_PER_S).saturating_add(nanoseconds)
}
