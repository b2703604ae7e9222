//! Waiting for sockets, a command or a deadline.
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Wakes the thread from any other.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(in crate::daemon) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    pub(in crate::daemon) fn ring(&self) {
        // It can fail only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    pub(in crate::daemon) fn silence(&self) {
        drain(self.0.as_fd());
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A timer of `CLOCK_BOOTTIME`: after a suspend it fires at once.
#[derive(Debug)]
pub(in crate::daemon) struct Timer(OwnedFd);

impl Timer {
    pub(in crate::daemon) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    /// Fires once at `at_ns`, at once when that has passed; never for `None`.
    pub(in crate::daemon) fn set(&self, at_ns: Option<u64>) -> io::Result<()> {
        // All zeros disarms it.
        let at_ns = at_ns.map_or(0, |at| at.max(1));
        let setting = Itimerspec {
            it_interval: timespec(0),
            it_value: timespec(at_ns),
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &setting)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

/// Waits until one of them can be read. A signal ends it early, which does no harm.
pub(in crate::daemon) fn wait(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn drain(fd: BorrowedFd<'_>) {
    // Nothing to read is fine.
    let _ = rustix::io::read(fd, &mut [0; 8]);
}
