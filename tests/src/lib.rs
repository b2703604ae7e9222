//! A lab of hosts from network namespaces, and the end-to-end tests that use it.
//!
//! [`lab`] builds the hosts and the wire between them. Everything it makes goes away with it,
//! however the process ends. It needs root; [`root_or_skip`] is how a test says so.

pub mod box_death;
pub mod browser;
pub mod cluster;
pub mod duration;
pub mod election;
pub mod history;
pub mod lab;
pub mod machine;
pub mod postfix;
pub mod probe;
pub mod programs;
pub mod rings;
pub mod smtp;
pub mod steady;
pub mod stranger;
pub mod tables;
pub mod trace;
pub mod xdp;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cluster::PATIENCE;

static TURN: Mutex<()> = Mutex::new(());

/// Waits for this test's turn: labs with daemons in them run one at a time, since their figures
/// are about time. None when the test has to be skipped, as [`root_or_skip`] says.
#[must_use]
pub fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    // The turn of a test that panicked is over like any other.
    root_or_skip(test).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Tells scoped threads that it is over when it is dropped. An assertion that fails in the scope drops it too:
/// otherwise the scope would wait for threads that never end.
#[derive(Debug)]
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for a condition, for as long as a cluster is waited for.
///
/// # Panics
/// When it does not come.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether this process may make namespaces; when not, says on stderr that `test` was skipped.
///
/// ```no_run
/// if !lbd_tests::root_or_skip("sessions_reach_every_backend") {
///     return;
/// }
/// ```
#[must_use]
pub fn root_or_skip(test: &str) -> bool {
    let root = is_root();
    if !root {
        eprintln!("skipped: {test} needs root, to make network namespaces and load XDP");
    }
    root
}

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// `part` in percent of `whole`, to a hundredth; 0 of nothing is 0.
#[must_use]
pub fn percent(part: u64, whole: u64) -> f64 {
    let hundredths = part * 10_000 / whole.max(1);
    u32::try_from(hundredths).map_or(f64::INFINITY, f64::from) / 100.0
}
