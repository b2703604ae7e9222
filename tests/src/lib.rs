//! A lab of hosts from network namespaces, and the end-to-end tests that use it.
//!
//! [`lab`] builds the hosts and the wire between them. Everything it makes goes away with it,
//! however the process ends. It needs root; [`root_or_skip`] is how a test says so.

pub mod cluster;
pub mod lab;
pub mod smtp;
pub mod xdp;

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
