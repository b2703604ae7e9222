//! `cargo xtask setup`: finds what the other commands need and installs what is missing.
mod apt;
mod aside;
mod linker;
mod needs;
mod rust;

use std::{env, path::PathBuf, thread::JoinHandle};

use anyhow::{Context, Result, bail};
pub(crate) use apt::mirror;
pub(crate) use aside::path as path_with_unpacked;
use needs::{Found, Missing, packages};
use xtask::{
    programs::{self, Program, Set},
    toolchain,
};

use crate::{is_root, process};

/// What is still being installed, while the rest is built.
#[derive(Debug)]
pub(crate) struct Coming(Option<JoinHandle<Result<()>>>);

impl Coming {
    /// Waits for it. The eBPF build does so by itself: this is for the error, and to leave nothing
    /// half done.
    pub(crate) fn wait(self) -> Result<()> {
        match self.0.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

/// Installs what `set` lacks, a line for each thing; silent when it lacks nothing.
///
/// What only a part of it wants stops nothing: it is left out, with a line that says so.
pub(crate) fn ensure(set: Set) -> Result<()> {
    begin(set)?.wait()
}

/// The same, except that the linker of the eBPF programs may still be coming: a build that is begun
/// now waits for it where it needs it.
pub(crate) fn begin(set: Set) -> Result<Coming> {
    let missing = needs::missing(set, &look(set));
    install(&missing)?;
    let still = needs::missing(set, &look(set));
    let (linker, still) = (
        still.linker,
        Missing {
            linker: false,
            ..still
        },
    );
    if !still.nothing_essential() {
        bail!(
            "after the installation there is still no {}",
            named(&still).join(", ")
        )
    }
    Ok(Coming(if linker { Some(linker::begin()?) } else { None }))
}

fn look(set: Set) -> Found {
    let names = programs::of(set).map(|program| program.name);
    Found {
        programs: names.filter(|name| find(name).is_some()).collect(),
        core_source: toolchain::find_compiler().is_some(),
        linker: toolchain::find_linker().is_some(),
    }
}

/// A program on PATH, where Debian keeps those that a user's PATH leaves out, in a folder of LLVM's, or
/// among the unpacked ones.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let llvm = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let llvm = llvm
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"llvm-"))
        .map(|entry| entry.path().join("bin"));
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/lib/frr".into()])
        .chain(aside::programs())
        .chain(llvm)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn install(missing: &Missing) -> Result<()> {
    for program in missing.essential.iter().chain(&missing.wanted) {
        say(&format!(
            "{} is missing: {} ({})",
            program.name,
            program.purpose,
            program.package().map_or_else(
                || "not Debian's".to_owned(),
                |name| format!("package {name}")
            )
        ));
    }
    essential(&missing.essential)?;
    wanted(&missing.wanted);
    for component in &missing.rust_components {
        say(&format!("adding {component} to rustup's toolchain"));
        process::quietly("rustup", &["component", "add", component], &[])
            .with_context(|| format!("install {component} for the Rust toolchain in use"))?;
    }
    if missing.core_source {
        rust::core_source()?;
    }
    Ok(())
}

/// Installs what the job cannot do without, or unpacks it where installing it would remove something.
fn essential(programs: &[Program]) -> Result<()> {
    let packages = packages(programs);
    if packages.is_empty() {
        return Ok(());
    }
    let Err(error) = apt::install(&packages) else {
        return Ok(());
    };
    let all: Result<()> = programs.iter().try_for_each(aside::unpack);
    all.map_err(|_| error)
}

/// Installs what it can without removing anything, unpacks the rest, and says what that does not serve.
fn wanted(programs: &[Program]) {
    let installed: Vec<Program> = programs
        .iter()
        .filter(|program| matches!(program.source, programs::Source::Package(_)))
        .copied()
        .collect();
    let mut packages = packages(&installed);
    if !packages.is_empty() && is_root() {
        apt::refresh(&packages);
        // A package that conflicts with another is no reason to leave the rest out.
        packages.retain(|package| match apt::possible(&[package]) {
            Ok(()) => true,
            Err(error) => {
                say(&format!("{package} is not installed: {error:#}"));
                false
            }
        });
        if !packages.is_empty()
            && let Err(error) = apt::install(&packages)
        {
            say(&format!("{error:#}"));
        }
    }
    for program in programs
        .iter()
        .filter(|program| find(program.name).is_none())
    {
        if let Err(error) = aside::unpack(program) {
            say(&format!(
                "{} cannot be had here ({error:#}); what needs it is skipped",
                program.name
            ));
        }
    }
}

/// What is missing, in words.
fn named(missing: &Missing) -> Vec<String> {
    let programs = missing
        .essential
        .iter()
        .map(|program| program.name.to_owned());
    let components = missing
        .rust_components
        .iter()
        .map(|name| (*name).to_owned());
    let source = missing
        .core_source
        .then(|| "source of Rust's core".to_owned());
    programs.chain(components).chain(source).collect()
}

fn say(line: &str) {
    eprintln!("setup: {line}");
}
