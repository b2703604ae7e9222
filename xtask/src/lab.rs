//! `cargo xtask run` and `lab`: builds everything and hands over to `lbd-lab` or `lbd`.
use std::{env, ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result, bail};

use xtask::programs::Set;

use crate::{interrupt, is_root, setup};

/// The CPU time of a first build for the show, everything in it.
const FIRST_BUILD_CORE_MINUTES: usize = 6;

/// `cargo xtask run`: the lab on this machine, or with `--config F` lbd itself on this host.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let arguments = match arguments {
        [dashes, rest @ ..] if dashes == "--" => rest,
        all => all,
    };
    let on_this_host = arguments.iter().any(|argument| {
        let text = argument.to_string_lossy();
        text == "--config" || text.starts_with("--config=")
    });
    if on_this_host {
        need_root("loading an XDP program")?;
        build(Set::Build, "lbd", &["--package", "lbd", "--bin", "lbd"])?;
        return hand_over("lbd", "run", arguments);
    }
    lab("run", arguments)
}

/// Any command of `lbd-lab`.
pub(crate) fn lab(command: &str, arguments: &[OsString]) -> Result<()> {
    need_root("a lab of network namespaces")?;
    // No more than the show needs: the benchmarks and the tests have programs of their own.
    let programs = [
        "--package",
        "lbd",
        "--package",
        "lbd-tests",
        "--bin",
        "lbd",
        "--bin",
        "lbd-lab",
    ];
    build(Set::Lab, "lbd-lab", &programs)?;
    hand_over("lbd-lab", command, arguments)
}

/// `cargo xtask bench`: `lbd-bench`, built for release.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    need_root("loading XDP programs and making network namespaces")?;
    let programs = [
        "--release",
        "--package",
        "lbd",
        "--package",
        "lbd-tests",
        "--bins",
    ];
    build(Set::Bench, "../release/lbd-bench", &programs)?;
    // This program is in `debug`; what it has built is next to it.
    let path = of_this_build("../release/lbd-bench")?;
    let error = Command::new(&path).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", path.display()))
}

fn need_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("{what} needs root; run `sudo -E env PATH=\"$PATH\" cargo xtask ...`")
}

/// Installs what `set` lacks and builds `packages`; `program` is the last thing that comes of it.
fn build(set: Set, program: &str, packages: &[&str]) -> Result<()> {
    // Else what is being installed would outlive us.
    interrupt::watch();
    let coming = setup::begin(set)?;
    if !of_this_build(program)?.exists() {
        eprintln!("{}", first_build());
    }
    // Without --quiet: a first build takes minutes, and a person wants to see that it moves.
    let status = Command::new("cargo").arg("build").args(packages).status();
    let installed = coming.wait();
    interrupt::check()?;
    installed?;
    if !status.context("cannot run cargo")?.success() {
        bail!("the build failed; cargo said why above");
    }
    Ok(())
}

/// What a first build is, and about how long it takes here.
fn first_build() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let minutes = FIRST_BUILD_CORE_MINUTES.div_ceil(cores).max(1);
    format!(
        "Compiling lbd, its XDP program and the lab for the first time, with some 200 crates: \
         about {minutes} min on {cores} cores. After that it takes seconds."
    )
}

/// The path of a program of this build.
fn of_this_build(program: &str) -> Result<std::path::PathBuf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    Ok(own.with_file_name(program))
}

/// Becomes a program of this build, so that signals and the exit code are its own.
fn hand_over(program: &str, command: &str, arguments: &[OsString]) -> Result<()> {
    let path = of_this_build(program)?;
    let error = Command::new(&path).arg(command).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", path.display()))
}
