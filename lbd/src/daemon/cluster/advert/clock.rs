//! The two clocks of this thread.
use crate::vrrp::Moment;

/// Both at once.
pub(super) fn now() -> Moment {
    Moment {
        unix_ns: unix_ns(),
        boot_ns: boottime_ns(),
    }
}

/// Nanoseconds since boot, suspended time included: of leases and of the machine's `now`.
pub(super) fn boottime_ns() -> u64 {
    read_ns(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since 1970: of the trailer's sequence.
pub(super) fn unix_ns() -> u64 {
    read_ns(libc::CLOCK_REALTIME)
}

fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill; both clocks exist on every kernel
    // that lbd runs on, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
