//! Waiting for sockets, a command or a deadline.
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// Wakes the thread from any other.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(in crate::daemon) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no memory; what it returns is checked next.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        owned(fd).map(|fd| Self(Arc::new(fd)))
    }

    pub(in crate::daemon) fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes that outlive the call. It can fail only when the counter is full, and
        // then the bell rings already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
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
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: the call takes no memory; what it returns is checked next.
        owned(unsafe { libc::timerfd_create(libc::CLOCK_BOOTTIME, flags) }).map(Self)
    }

    /// Fires once at `at_ns`, at once when that has passed; never for `None`.
    pub(in crate::daemon) fn set(&self, at_ns: Option<u64>) -> io::Result<()> {
        // All zeros disarms it.
        let at_ns = at_ns.map_or(0, |at| at.max(1));
        let time = |ns: u64| libc::timespec {
            tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::try_from(ns % 1_000_000_000).unwrap_or(0),
        };
        let setting = libc::itimerspec {
            it_interval: time(0),
            it_value: time(at_ns),
        };
        // SAFETY: the setting outlives the call; no old one is asked for.
        let result = unsafe {
            libc::timerfd_settime(
                self.0.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &raw const setting,
                std::ptr::null_mut(),
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of them can be read. A signal ends it early, which does no harm.
pub(in crate::daemon) fn wait(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let count = libc::nfds_t::try_from(polled.len()).unwrap_or(0);
    // SAFETY: as many entries as said, which outlive the call.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), count, -1) };
    if result < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

fn drain(fd: BorrowedFd<'_>) {
    let mut count = [0; 8];
    // SAFETY: eight bytes to write to, which outlive the call. Nothing to read is fine.
    unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made by the caller, which alone owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
