//! `cargo xtask test`: everything that says whether the tree is right.
mod built;
mod lanes;

use std::{
    io::IsTerminal,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use xtask::programs::Set;

pub(crate) use built::{TestProgram, build};

use crate::{
    interrupt, is_root, kernel, leftovers,
    outcome::Outcome,
    process::{self, Stream},
    setup,
};

/// A step: what is said about it, and the arguments of cargo.
struct Step {
    title: &'static str,
    arguments: &'static [&'static str],
}

const STYLE: [Step; 2] = [
    Step {
        title: "formatting",
        arguments: &["fmt", "--all", "--check"],
    },
    Step {
        title: "lints",
        arguments: &[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    },
];

/// Everything in one build: a selection of its own for each step would choose other features, and so
/// compile lbd once for each.
const PROGRAMS: Step = Step {
    title: "programs",
    arguments: &["test", "--workspace", "--no-run", "--no-fail-fast"],
};

const UNITS: &str = "unit and property tests";

const EXAMPLES: Step = Step {
    title: "examples in the documentation",
    arguments: &["test", "--workspace", "--doc", "--no-fail-fast"],
};

const LABS: &str = "XDP and end-to-end tests";
/// The package that has them.
const LABS_PACKAGE: &str = "tests";

/// Runs every step, also after one that failed; true when none did.
pub(crate) fn run() -> Result<bool> {
    interrupt::watch();
    let coming = setup::begin(set())?;
    let before = leftovers::namespaces();
    let mut outcome = Outcome::default();
    // The first step that needs the linker of the eBPF programs waits for it.
    let result = steps(&mut outcome).and(coming.wait());
    leftovers::remove(&before);
    if let Err(error) = result {
        // Interrupted, or cargo itself could not be run: what was counted is still worth its line.
        eprintln!("xtask: {error:#}");
        outcome.fail();
    }
    if let Some(why) = outcome.why_skipped() {
        println!("\n{why}");
    }
    println!("\n{}", outcome.times());
    println!("\n{outcome}");
    Ok(outcome.failed() == 0)
}

/// What is needed: without root there are neither labs nor XDP programs.
pub(crate) fn set() -> Set {
    if is_root() { Set::Test } else { Set::Style }
}

fn steps(outcome: &mut Outcome) -> Result<()> {
    for step in &STYLE {
        timed(outcome, step.title, |outcome| by_cargo(step, outcome))?;
    }
    let programs = timed(outcome, PROGRAMS.title, |outcome| {
        announce(&PROGRAMS);
        build(cargo(&PROGRAMS), outcome)
    })?;
    let (labs, units): (Vec<_>, Vec<_>) = programs
        .into_iter()
        .partition(|program| program.is_of(LABS_PACKAGE) && program.is_integration);
    println!("\n== {UNITS}");
    timed(outcome, UNITS, |outcome| {
        units
            .iter()
            .try_for_each(|program| unit_tests(program, outcome))
    })?;
    timed(outcome, EXAMPLES.title, |outcome| {
        by_cargo(&EXAMPLES, outcome)
    })?;
    println!("\n== {LABS}");
    thread::scope(|scope| {
        // Emulated at the lowest priority, it takes the time in which the labs wait.
        let older = is_root().then(|| scope.spawn(|| older_kernel(&labs)));
        let result = timed(outcome, LABS, |outcome| {
            lanes::run_all(LABS, &labs, outcome)
        });
        let Some(older) = older else {
            return result;
        };
        timed(outcome, kernel::TITLE, |outcome| {
            let ended = older
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            println!("\n== {}: cargo xtask kernel", kernel::TITLE);
            for (stream, line) in &ended.lines {
                process::echo(*stream, line);
            }
            outcome.join(ended.outcome);
            result.and(ended.result)
        })
    })
}

/// What the step on an older kernel came to, told when the labs have ended.
struct Ended {
    lines: Vec<(Stream, String)>,
    outcome: Outcome,
    result: Result<()>,
}

fn older_kernel(labs: &[TestProgram]) -> Ended {
    let mut lines = Vec::new();
    let mut outcome = Outcome::default();
    let result = kernel::step(labs, &mut outcome, &mut |stream, line: &str| {
        lines.push((stream, line.to_owned()));
    });
    Ended {
        lines,
        outcome,
        result,
    }
}

/// Runs a step and notes how long it took.
fn timed<T>(
    outcome: &mut Outcome,
    title: &'static str,
    step: impl FnOnce(&mut Outcome) -> Result<T>,
) -> Result<T> {
    let begun = Instant::now();
    let result = step(outcome);
    outcome.step_took(title, begun.elapsed());
    result
}

fn announce(step: &Step) {
    println!("\n== {}: cargo {}", step.title, step.arguments.join(" "));
}

fn by_cargo(step: &Step, outcome: &mut Outcome) -> Result<()> {
    announce(step);
    run_to_the_end(step.title, step.title, cargo(step), outcome)
}

fn unit_tests(program: &TestProgram, outcome: &mut Outcome) -> Result<()> {
    println!("\n-- {}", program.name);
    run_to_the_end(UNITS, &program.name, with_seed(program.command()), outcome)
}

/// Runs `command`, whose tests belong to a step.
fn run_to_the_end(title: &str, name: &str, command: Command, outcome: &mut Outcome) -> Result<()> {
    let failed_before = outcome.failed();
    let status = process::run(command, Duration::MAX, |stream, line| {
        process::echo(stream, line);
        outcome.take(title, line);
    })?;
    // A program that died, or did not compile, reports nothing.
    if !status.success() && outcome.failed() == failed_before {
        let ending = process::ending(status);
        process::echo(Stream::Err, &format!("{name} failed: {ending}"));
        outcome.fail();
    }
    Ok(())
}

fn cargo(step: &Step) -> Command {
    let mut command = Command::new("cargo");
    command.args(step.arguments);
    command.env("PATH", setup::path_with_unpacked());
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    with_seed(command)
}

/// A fixed seed: a run that fails is the same for whoever looks into it, and one change of the tree is
/// judged like the next. `PROPTEST_RNG_SEED=$RANDOM cargo test` looks elsewhere.
fn with_seed(mut command: Command) -> Command {
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        command.env("PROPTEST_RNG_SEED", "9568");
    }
    command
}
