//! Runs the XDP and end-to-end tests, program by program.
//!
//! Each lab has hosts, pins and folders of its own, named for its process, so that two of them do not
//! touch. What they share is the machine's time: most tests wait for a state and take what time that
//! takes, while others judge how soon something happens. The first kind run three at a time, the second
//! alone. One of the first kind that fails runs once more alone, and only that counts: the closing lines
//! name it, since a test that fails under load has a time in it that it should not have.
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

/// Programs whose tests may run next to another's, the longest first, so that no lane waits at the end for
/// the other. One that is not here runs alone.
const SIDE_BY_SIDE: [&str; 65] = [
    "e2e_stop",
    "box_returns",
    "e2e_strangers",
    "e2e_outage",
    "e2e_policy",
    "push",
    "ops_access",
    "sync_state",
    "e2e_report",
    "election_frr",
    "election_health",
    "e2e_systemd",
    "sync_stream",
    "dataplane_load",
    "e2e_identity",
    "sync_ends",
    "sync_limits",
    "e2e_restart",
    "sync_bad_input",
    "xdp_random",
    "e2e_host",
    "sync_directors",
    "host",
    "e2e_translate",
    "e2e_sessions",
    "election_forged",
    "e2e_ecmp",
    "e2e_reconfigure",
    "election_many",
    "ops_http",
    "e2e_ipip",
    "e2e_fragments",
    "lab",
    "election_families",
    "e2e_ports",
    "health_mta",
    "e2e_nat",
    "e2e_load",
    "e2e_health",
    "sync_flows",
    "e2e_two_arms",
    "xdp_tunnel",
    "xdp_second_chance",
    "xdp_fragment",
    "xdp_admit",
    "xdp_nat",
    "election_keepalived",
    "guard_strangers",
    "policy_claims",
    "xdp_strangers",
    "xdp_steer",
    "e2e_change",
    "sync_join",
    "ops_mail",
    "agent_haproxy",
    "ops_deploy",
    "xdp_icmp",
    "smtp",
    "xdp_trace",
    "e2e_bad_input",
    "sock_events",
    "xdp_object",
    "trace",
    "trace_ways",
    "program_log",
];
/// A lab waits half of its time: three of them keep two cores busy.
const LANES: usize = 3;
/// Programs whose tests have a lab each and mostly wait, so that several of them run at a time. Each such
/// program runs alone. Another's tests run one at a time.
const SEVERAL_LABS: [(&str, usize); 2] = [("box_death", 3), ("sync_figures", 3)];
/// No program takes as long; one that does hangs.
const PATIENCE: Duration = Duration::from_mins(15);

/// Runs them all, also after one that failed.
pub(super) fn run_all(title: &str, programs: &[TestProgram], outcome: &mut Outcome) -> Result<()> {
    let named = |name: &&str| programs.iter().find(|program| program.name == **name);
    let side_by_side: VecDeque<&TestProgram> = SIDE_BY_SIDE.iter().filter_map(named).collect();
    let alone = |program: &&TestProgram| !SIDE_BY_SIDE.contains(&&*program.name);
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);

    let lanes = Lanes {
        title,
        waiting: Mutex::new(side_by_side),
        again: Mutex::default(),
        outcome: Mutex::new(outcome),
        stopped: AtomicBool::new(false),
    };
    let all: Vec<Result<()>> = thread::scope(|scope| {
        let each: Vec<_> = (0..LANES.min(cores + 1))
            .map(|_| scope.spawn(|| lanes.one()))
            .collect();
        let join = |lane: thread::ScopedJoinHandle<'_, Result<()>>| {
            lane.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        each.into_iter().map(join).collect()
    });
    all.into_iter().collect::<Result<()>>()?;
    let Lanes { again, outcome, .. } = lanes;
    let again = again.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    for program in &again {
        outcome.again(&program.name);
    }
    again
        .into_iter()
        .chain(programs.iter().filter(alone))
        .try_for_each(|program| run_alone(title, program, outcome))
}

struct Lanes<'a, 'p> {
    title: &'a str,
    waiting: Mutex<VecDeque<&'p TestProgram>>,
    /// Those that failed next to another.
    again: Mutex<Vec<&'p TestProgram>>,
    outcome: Mutex<&'a mut Outcome>,
    /// One lane was asked to end, and so are the others.
    stopped: AtomicBool,
}

impl<'p> Lanes<'_, 'p> {
    /// One lane: runs what waits until nothing does.
    fn one(&self) -> Result<()> {
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(program) = lock(&self.waiting).pop_front() else {
                break;
            };
            let result = self.run(program);
            if result.is_err() {
                self.stopped.store(true, Ordering::Relaxed);
                return result;
            }
        }
        Ok(())
    }

    /// Runs one. The lines of several at a time would mix, so each one's are shown when it has ended.
    fn run(&self, program: &'p TestProgram) -> Result<()> {
        let mut lines = Vec::new();
        let begun = Instant::now();
        let ending = run(program, |stream, line| {
            lines.push((stream, line.to_owned()));
        })?;
        let mut outcome = lock(&self.outcome);
        process::echo(Stream::Out, &header(program));
        for (stream, line) in &lines {
            process::echo(*stream, line);
        }
        if let Some(ending) = ending {
            let name = &program.name;
            let text = format!("{name} {ending}, next to another; it runs again alone.");
            process::echo(Stream::Err, &text);
            lock(&self.again).push(program);
        } else {
            for (_, line) in &lines {
                outcome.take(self.title, line);
            }
            outcome.took(&program.name, begun.elapsed());
        }
        Ok(())
    }
}

/// Runs one with the machine to itself, and shows each line as it comes.
fn run_alone(title: &str, program: &TestProgram, outcome: &mut Outcome) -> Result<()> {
    process::echo(Stream::Out, &header(program));
    let begun = Instant::now();
    let mut has_told = false;
    let ending = run(program, |stream, line| {
        has_told |= tells_of_failure(line);
        outcome.take(title, line);
        process::echo(stream, line);
    })?;
    outcome.took(&program.name, begun.elapsed());
    // One that died or hung reports nothing.
    if let Some(ending) = ending.filter(|_| !has_told) {
        process::echo(Stream::Err, &format!("{} {ending}", program.name));
        outcome.fail();
    }
    Ok(())
}

/// Runs one; how it failed, if it did.
fn run(program: &TestProgram, mut take: impl FnMut(Stream, &str)) -> Result<Option<String>> {
    let mut command = program.command();
    let several = SEVERAL_LABS.iter().find(|(name, _)| *name == program.name);
    let labs = several.map_or(1, |(_, labs)| *labs);
    command
        // With the figures that they print.
        .args([&format!("--test-threads={labs}"), "--nocapture"])
        .env("PATH", setup::path_with_unpacked());
    let ending = match process::run(command, PATIENCE, &mut take) {
        Ok(status) if status.success() => return Ok(None),
        Ok(status) => process::ending(status),
        Err(error) => {
            interrupt::check()?;
            format!("{error:#}")
        }
    };
    Ok(Some(format!("failed: {ending}")))
}

fn tells_of_failure(line: &str) -> bool {
    line.starts_with("test result: FAILED")
}

fn header(program: &TestProgram) -> String {
    format!("\n-- {}", program.name)
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
