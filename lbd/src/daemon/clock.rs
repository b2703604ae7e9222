//! The clocks that leases, flows and files are timed by. The advert thread has its own reader
//! (`cluster/advert/clock.rs`); timers and timeouts of tasks use tokio's.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since boot, suspended time included: the clock of leases and of the cores' `now`.
#[must_use]
pub(super) fn boottime_ns() -> u64 {
    read_ns(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since boot without suspended time: the clock that flows are marked with.
#[must_use]
pub(super) fn monotonic_ns() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC)
}

/// Seconds since 1970, for people and for files that outlive the boot.
#[must_use]
pub(super) fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Nanoseconds since 1970, to tell which of two orders is the later one.
#[must_use]
pub(super) fn unix_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill; both clocks exist on every kernel
    // that lbd runs on, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let since_boot = Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    );
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}
