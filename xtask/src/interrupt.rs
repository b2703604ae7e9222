//! SIGINT, SIGTERM and SIGHUP: noted, so that what was started is stopped before we end.
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Result, bail};

static RECEIVED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    // A store to an atomic is all that a handler may do here (signal-safety(7)).
    RECEIVED.store(signal, Ordering::Relaxed);
}

/// Begins to note signals instead of dying of them.
pub(crate) fn watch() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(libc::c_int) = note;
        // SAFETY: the handler is async-signal-safe and lives as long as the program.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// The signal that asked us to end, if one did.
pub(crate) fn received() -> Option<i32> {
    let signal = RECEIVED.load(Ordering::Relaxed);
    (signal != 0).then_some(signal)
}

/// An error once a signal asked us to end.
pub(crate) fn check() -> Result<()> {
    match received() {
        Some(signal) => bail!("stopped by signal {signal}"),
        None => Ok(()),
    }
}
