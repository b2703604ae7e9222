//! `cargo xtask test`: everything that says whether the tree is right.
use std::{io::IsTerminal, process::Command, time::Duration};

use anyhow::Result;
use xtask::programs::Set;

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

const TESTS: [Step; 2] = [
    Step {
        title: "unit and property tests",
        arguments: &[
            "test",
            "--workspace",
            "--exclude",
            "lbd-tests",
            "--no-fail-fast",
        ],
    },
    Step {
        title: "XDP and end-to-end tests",
        // One at a time: they share the machine's two ends of every measurement. Their output is
        // shown, since it has the figures.
        arguments: &[
            "test",
            "--package",
            "lbd-tests",
            "--no-fail-fast",
            "--",
            "--test-threads=1",
            "--nocapture",
        ],
    },
];

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
    println!("\n{outcome}");
    Ok(outcome.failed() == 0)
}

/// What is needed: without root there are neither labs nor XDP programs.
pub(crate) fn set() -> Set {
    if is_root() { Set::Test } else { Set::Style }
}

fn steps(outcome: &mut Outcome) -> Result<()> {
    // The tests of the lab run this program.
    let programs = Step {
        title: "programs",
        arguments: &[
            "build",
            "--quiet",
            "--package",
            "lbd",
            "--package",
            "lbd-tests",
            "--bins",
        ],
    };
    for step in STYLE.iter().chain([&programs]).chain(&TESTS) {
        println!("\n== {}: cargo {}", step.title, step.arguments.join(" "));
        let failed_before = outcome.failed();
        let status = process::run(cargo(step), Duration::MAX, |stream, line| {
            process::echo(stream, line);
            outcome.take(step.title, line);
        })?;
        // A program that died, or did not compile, reports nothing.
        if !status.success() && outcome.failed() == failed_before {
            process::echo(
                Stream::Err,
                &format!("{} failed: {}", step.title, process::ending(status)),
            );
            outcome.fail();
        }
    }
    if is_root() {
        println!("\n== {}: cargo xtask kernel", kernel::TITLE);
        kernel::step(outcome)?;
    }
    Ok(())
}

fn cargo(step: &Step) -> Command {
    let mut command = Command::new("cargo");
    command.args(step.arguments);
    command.env("PATH", setup::path_with_unpacked());
    // A fixed seed: a run that fails is the same for whoever looks into it, and one change of the
    // tree is judged like the next. `PROPTEST_RNG_SEED=$RANDOM cargo test` looks elsewhere.
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        command.env("PROPTEST_RNG_SEED", "9568");
    }
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}
