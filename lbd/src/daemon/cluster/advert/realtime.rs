//! Deadlines that hold on a busy box.
use std::io;

/// Above ordinary real-time work, below the kernel's own threads that matter more (watchdogs).
const PRIORITY: libc::c_int = 60;

/// Gives the calling thread a real-time priority. Its children do not inherit it.
pub(super) fn prioritize() -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters outlive the call; 0 names the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

/// Keeps what the process has touched, and will touch, in memory.
///
/// With `MCL_ONFAULT`: the flow tables are large maps of which little is touched.
pub(super) fn lock_memory() -> io::Result<()> {
    // SAFETY: the call takes no memory of ours.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
