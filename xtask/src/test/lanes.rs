//! Runs the XDP and end-to-end tests, program by program.
//!
//! Each lab has hosts, pins and folders of its own, named for its process, so that two of them do not
//! touch. What they share is the machine's time: most tests wait for a state and take what time that
//! takes, while others judge how soon something happens. The first kind run two at a time, the second
//! alone.
use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::built::TestProgram;
use crate::{
    interrupt,
    outcome::Outcome,
    process::{self, Stream},
    setup,
};

/// Programs whose tests may run beside another's, the longest first, so that no lane waits at the end for
/// the other. One that is not here runs alone.
const SIDE_BY_SIDE: [&str; 0] = [];
/// A third would take more than the cores of a small machine have to give.
const LANES: usize = 2;
/// One test at a time, with the figures that they print.
const ARGUMENTS: [&str; 2] = ["--test-threads=1", "--nocapture"];
/// No program takes as long; one that does hangs.
const PATIENCE: Duration = Duration::from_mins(15);

/// Runs them all, also after one that failed.
pub(super) fn run(title: &str, programs: &[TestProgram], outcome: &mut Outcome) -> Result<()> {
    let named = |name: &&str| programs.iter().find(|program| program.name == **name);
    let side_by_side: VecDeque<&TestProgram> = SIDE_BY_SIDE.iter().filter_map(named).collect();
    let alone = |program: &&TestProgram| !SIDE_BY_SIDE.contains(&&*program.name);
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);

    let lanes = Lanes {
        title,
        waiting: Mutex::new(side_by_side),
        outcome: Mutex::new(outcome),
        stopped: AtomicBool::new(false),
    };
    let all: Vec<Result<()>> = thread::scope(|scope| {
        let each: Vec<_> = (0..LANES.min(cores))
            .map(|_| scope.spawn(|| lanes.one()))
            .collect();
        let join = |lane: thread::ScopedJoinHandle<'_, Result<()>>| {
            lane.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        each.into_iter().map(join).collect()
    });
    all.into_iter().collect::<Result<()>>()?;
    programs
        .iter()
        .filter(alone)
        .try_for_each(|program| lanes.run(program, true))
}

struct Lanes<'a> {
    title: &'a str,
    waiting: Mutex<VecDeque<&'a TestProgram>>,
    outcome: Mutex<&'a mut Outcome>,
    /// One lane was asked to end, and so are the others.
    stopped: AtomicBool,
}

impl Lanes<'_> {
    /// One lane: runs what waits until nothing does.
    fn one(&self) -> Result<()> {
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(program) = lock(&self.waiting).pop_front() else {
                break;
            };
            let result = self.run(program, false);
            if result.is_err() {
                self.stopped.store(true, Ordering::Relaxed);
                return result;
            }
        }
        Ok(())
    }

    /// Runs one. `live` shows each line as it comes; the lines of two at a time would mix, so each one's
    /// are shown when it has ended.
    fn run(&self, program: &TestProgram, live: bool) -> Result<()> {
        let mut command = program.command();
        command
            .args(ARGUMENTS)
            .env("PATH", setup::path_with_unpacked());
        let header = format!("\n-- {}", program.name);
        if live {
            process::echo(Stream::Out, &header);
        }
        let begun = Instant::now();
        let mut lines = Vec::new();
        let mut failed = false;
        let result = process::run(command, PATIENCE, |stream, line| {
            failed |= line.starts_with("test result: FAILED");
            lock(&self.outcome).take(self.title, line);
            if live {
                process::echo(stream, line);
            } else {
                lines.push((stream, line.to_owned()));
            }
        });
        let mut outcome = lock(&self.outcome);
        if !live {
            process::echo(Stream::Out, &header);
            for (stream, line) in &lines {
                process::echo(*stream, line);
            }
        }
        outcome.took(&program.name, begun.elapsed());
        // One that died or hung reports nothing.
        let ending = match result {
            Ok(status) if status.success() || failed => return Ok(()),
            Ok(status) => process::ending(status),
            Err(error) => {
                interrupt::check()?;
                format!("{error:#}")
            }
        };
        let text = format!("{} failed: {ending}", program.name);
        process::echo(Stream::Err, &text);
        outcome.fail();
        Ok(())
    }
}

/// What a lane that panicked held is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_may_run_beside_others_exists_and_stands_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        for (at, name) in SIDE_BY_SIDE.iter().enumerate() {
            let file = folder.join(format!("{name}.rs"));
            let main = folder.join(name).join("main.rs");
            assert!(file.is_file() || main.is_file(), "{name}");
            assert!(!SIDE_BY_SIDE[..at].contains(name), "{name}");
        }
    }
}
