//! A process inside a host, ended with its handle.
use std::{
    io,
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// A running process; dropping it kills it and waits for it.
///
/// There is no parent-death signal: the kernel sends it when the *thread* that started the
/// process ends. The lab's [`super::janitor`] does that work when the whole process dies.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    pub(super) fn new(child: Child) -> Self {
        Self { child }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes what it writes to a piped stdout.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Its exit status, when it ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal, unless it ended.
    pub fn signal(&mut self, signal: libc::c_int) -> io::Result<()> {
        if self.status().is_some() {
            return Ok(());
        }
        let pid = libc::pid_t::try_from(self.child.id()).map_err(io::Error::other)?;
        // SAFETY: kill takes plain numbers; the pid is ours, since the child was not waited for.
        if unsafe { libc::kill(pid, signal) } == 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end with SIGTERM; kills it when it has not done so within `patience`.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        let _ = self.signal(libc::SIGTERM);
        let status = self.wait(patience);
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Waits for its end, at most `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.status();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
