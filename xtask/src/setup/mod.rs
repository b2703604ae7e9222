//! `cargo xtask setup`: finds what the other commands need and installs what is missing.
mod apt;
mod ebpf;
mod needs;

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};
use xtask::toolchain;

pub(crate) use needs::Set;
use needs::{Found, Missing};

use crate::process;

/// Installs what `set` lacks, a line for each thing; silent when it lacks nothing.
pub(crate) fn ensure(set: Set) -> Result<()> {
    let missing = needs::missing(set, &look(set));
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    let still = needs::missing(set, &look(set));
    if still.is_empty() {
        return Ok(());
    }
    bail!(
        "after the installation there is still no {}",
        named(&still).join(", ")
    )
}

fn look(set: Set) -> Found {
    let components = set.rust_components().iter().map(|(name, _)| *name);
    let names = set.programs().into_iter().map(|p| p.name).chain(components);
    Found {
        programs: names.filter(|name| find(name).is_some()).collect(),
        core_source: toolchain::find_compiler().is_some(),
        linker: toolchain::find_linker().is_some(),
    }
}

/// A program on PATH, or where Debian keeps those that a user's PATH leaves out.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn install(missing: &Missing) -> Result<()> {
    for program in &missing.programs {
        say(&format!(
            "{} is missing: {} (package {})",
            program.name, program.purpose, program.package
        ));
    }
    let packages = missing.packages();
    if !packages.is_empty() {
        apt::install(&packages)?;
    }
    for component in &missing.rust_components {
        say(&format!("adding {component} to rustup's toolchain"));
        process::quietly("rustup", &["component", "add", component], &[])
            .with_context(|| format!("install {component} for the Rust toolchain in use"))?;
    }
    if missing.core_source {
        ebpf::core_source()?;
    }
    if missing.linker {
        ebpf::linker()?;
    }
    Ok(())
}

/// What is missing, in words.
fn named(missing: &Missing) -> Vec<String> {
    let programs = missing.programs.iter().map(|p| p.name.to_owned());
    let components = missing.rust_components.iter().map(|c| (*c).to_owned());
    let source = missing
        .core_source
        .then(|| "source of Rust's core".to_owned());
    let linker = missing.linker.then(|| "bpf-linker".to_owned());
    programs
        .chain(components)
        .chain(source)
        .chain(linker)
        .collect()
}

fn say(line: &str) {
    eprintln!("setup: {line}");
}
