//! `cargo xtask run` and `lab`: builds everything and hands over to `lbd-lab` or `lbd`.
use std::{env, ffi::OsString, os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{is_root, setup};

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
        setup::ensure(setup::Set::Build)?;
        build(&["--package", "lbd", "--bin", "lbd"])?;
        return hand_over("lbd", "run", arguments);
    }
    lab("run", arguments)
}

/// Any command of `lbd-lab`.
pub(crate) fn lab(command: &str, arguments: &[OsString]) -> Result<()> {
    need_root("a lab of network namespaces")?;
    setup::ensure(setup::Set::Lab)?;
    build(&["--package", "lbd", "--package", "lbd-tests", "--bins"])?;
    hand_over("lbd-lab", command, arguments)
}

/// `cargo xtask bench`: `lbd-bench`, built for release.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    need_root("loading XDP programs and making network namespaces")?;
    setup::ensure(setup::Set::Bench)?;
    build(&[
        "--release",
        "--package",
        "lbd",
        "--package",
        "lbd-tests",
        "--bins",
    ])?;
    let own = env::current_exe().context("cannot tell where this program is")?;
    // This program is in `debug`; what it has built is beside that.
    let release = own
        .parent()
        .and_then(Path::parent)
        .map(|dir| dir.join("release"));
    let path = release
        .context("this program is in no target folder")?
        .join("lbd-bench");
    let error = Command::new(&path).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", path.display()))
}

fn need_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("{what} needs root; run `sudo -E env PATH=\"$PATH\" cargo xtask ...`")
}

fn build(packages: &[&str]) -> Result<()> {
    // Without --quiet: a first build takes minutes, and a person wants to see that it moves.
    let status = Command::new("cargo").arg("build").args(packages).status();
    if !status.context("cannot run cargo")?.success() {
        bail!("the build failed; cargo said why above");
    }
    Ok(())
}

/// Becomes a program of this build, so that signals and the exit code are its own.
fn hand_over(program: &str, command: &str, arguments: &[OsString]) -> Result<()> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    let path = own.with_file_name(program);
    let error = Command::new(&path).arg(command).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", path.display()))
}
