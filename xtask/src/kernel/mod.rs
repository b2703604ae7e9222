//! `cargo xtask kernel`: the XDP fixtures on an older real kernel, in an emulated machine.
//!
//! The verifier differs from release to release, and so does what it takes to load a program: the
//! only proof that lbd runs on an older kernel is that kernel. The machine is emulated in software
//! (TCG), so that no hardware support is needed; it has no disk and no network.
mod image;
mod initramfs;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use xtask::programs::{self, Set};

use crate::{
    interrupt,
    outcome::Outcome,
    process::{self, Stream},
    setup,
    test::{self, TestProgram},
};

/// The tests that run there: those that need the kernel and nothing else.
const TESTS: [&str; 6] = [
    "xdp_steer",
    "xdp_admit",
    "xdp_icmp",
    "xdp_tunnel",
    "xdp_trace",
    "sock_events",
];
/// What they are called in a report.
pub(crate) const TITLE: &str = "fixtures on an older kernel";
/// The machine gets what the tests that run at the same time leave; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(20);
/// The lowest priority there is.
const IDLE: libc::c_int = 19;

/// The command: the fixtures on `image`, or on Debian's 6.1.
pub(crate) fn run(image: Option<PathBuf>) -> Result<bool> {
    interrupt::watch();
    setup::ensure(Set::Kernel)?;
    let image = image.map_or_else(image::downloaded, Ok)?;
    let mut outcome = Outcome::default();
    let programs = built(&mut outcome)?;
    boot(&image, &programs, &mut outcome, &mut process::echo)?;
    println!("\n{outcome}");
    Ok(outcome.failed() == 0)
}

/// The same as a step of all tests: skipped where the kernel cannot be had. `show` gets its lines.
pub(crate) fn step(
    programs: &[TestProgram],
    outcome: &mut Outcome,
    show: &mut impl FnMut(Stream, &str),
) -> Result<()> {
    let mut needed = programs::of(Set::Kernel);
    if let Some(missing) = needed.find(|program| setup::find(program.name).is_none()) {
        outcome.skip_step(TITLE, missing.name);
        return Ok(());
    }
    match image::downloaded() {
        Ok(image) => boot(&image, programs, outcome, show),
        Err(error) => {
            show(Stream::Out, &format!("{error:#}"));
            outcome.skip_step(TITLE, image::PACKAGE_PATTERN);
            Ok(())
        }
    }
}

fn boot(
    image: &Path,
    programs: &[TestProgram],
    outcome: &mut Outcome,
    show: &mut impl FnMut(Stream, &str),
) -> Result<()> {
    let path = |test: &'static str| {
        let built = programs.iter().find(|program| program.name == test);
        let path = built.map(|program| program.path.clone());
        Ok((test, path.with_context(|| format!("{test} was not built"))?))
    };
    let tests: Vec<_> = TESTS.into_iter().map(path).collect::<Result<_>>()?;
    let folder = image::folder()?;
    let initramfs = initramfs::build(&folder, &tests)?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.env("PATH", setup::path_with_unpacked())
        .args(["-accel", "tcg", "-m", "1536", "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(&initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1"]);
    // SAFETY: between fork and exec the closure makes one system call and touches no memory.
    unsafe {
        qemu.pre_exec(|| {
            libc::setpriority(libc::PRIO_PROCESS, 0, IDLE);
            Ok(())
        });
    }
    let mut ended = false;
    let status = process::run(qemu, PATIENCE, |stream, line| {
        let line = line.trim_end_matches('\r');
        show(stream, line);
        outcome.take(TITLE, line);
        ended |= line == initramfs::ENDED;
    })?;
    // A kernel that panics ends the machine with status 0 too.
    if !status.success() || !ended {
        let what = "the emulated machine ended before its tests did";
        show(Stream::Err, &format!("{what}: {}", process::ending(status)));
        outcome.fail();
    }
    Ok(())
}

/// Builds the tests.
fn built(outcome: &mut Outcome) -> Result<Vec<TestProgram>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--no-run", "--package", "lbd-tests"]);
    for test in TESTS {
        cargo.args(["--test", test]);
    }
    test::build(cargo, outcome)
}
