//! `lbd trace` on a node of a cluster.
use std::{
    io::{BufRead as _, BufReader},
    mem,
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crate::{
    cluster::Cluster,
    lab::{Host, INTERFACE},
    until,
};

/// Whether the traced program is on a node's interface, in the place of the ordinary one.
///
/// # Panics
/// When the interface has no program.
#[must_use]
pub fn is_traced(node: &Host) -> bool {
    let link = node.ip(&format!("-d link show dev {INTERFACE}")).unwrap();
    assert!(link.contains("xdp"), "no program: {link}");
    link.contains("lbd_traced")
}

/// A trace that goes on.
#[derive(Debug)]
pub struct Trace {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Trace {
    /// Begins one on a node of the lab, and waits until it runs.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn begin(nodes: &[Host], cluster: &Cluster, node: usize, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = ["trace"].iter().chain(arguments).copied().collect();
        let mut child = cluster
            .command(node, &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.unwrap();
                println!("{line}");
                lock(&told).push(line);
            }
        });
        let trace = Self {
            child,
            lines,
            reader: Some(reader),
        };
        until("the traced program runs", || is_traced(&nodes[node]));
        trace
    }

    /// The command's process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until it has told of a frame with all of these in its line, `count` times.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_told(&self, parts: &[&str], count: usize) {
        let what = format!("{parts:?} is told {count} times");
        until(&what, || with(&lock(&self.lines), parts).len() >= count);
    }

    /// What it has told so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// Waits for its end, and returns what it has told.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn lines(self) -> Vec<String> {
        let (status, lines) = self.end();
        assert!(status.success(), "{status}: {lines:?}");
        lines
    }

    /// Ends it as ^C does, and returns how it ended and what it had told.
    ///
    /// # Panics
    /// When it has ended already.
    #[must_use]
    pub fn interrupt(mut self) -> (ExitStatus, Vec<String>) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
        let pid = self.child.id().cast_signed();
        // SAFETY: a signal to a child that has not been waited for.
        let sent = unsafe { libc::kill(pid, libc::SIGINT) };
        assert_eq!(sent, 0);
        self.end()
    }

    fn end(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let lines = mem::take(&mut *lock(&self.lines));
        (status, lines)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that have all of these.
#[must_use]
pub fn with<'a>(lines: &'a [String], parts: &[&str]) -> Vec<&'a String> {
    let has = |line: &&String| parts.iter().all(|part| line.contains(part));
    lines.iter().filter(has).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
