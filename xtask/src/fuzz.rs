//! `cargo xtask fuzz`: every fuzz target, built with libFuzzer's counters and run for a while.
//!
//! rustc's own coverage pass is all that libFuzzer needs, so the stable compiler builds it and neither
//! nightly nor cargo-fuzz has to be installed. `cargo fuzz run` works on the same folders.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

/// The crates with targets.
const CRATES: [&str; 2] = ["lbd/fuzz", "lbd-ebpf/fuzz"];

/// `SanitizerCoverage` as cargo-fuzz asks for it.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions \
                     -Ccodegen-units=1";

/// The longest input that is tried.
const MAX_BYTES: u32 = 4096;

/// Whether no target found anything.
pub(crate) fn run(length: &str, only: &[String]) -> Result<bool> {
    let seconds = seconds(length)?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let target_dir = xtask::ebpf::target_dir_above(&own).join("fuzz");
    let host = host()?;
    let mut found = Vec::new();
    let mut run = 0;
    for folder in CRATES {
        let folder = workspace.join(folder);
        let targets = targets(&folder)?;
        let wanted = |name: &&String| only.is_empty() || only.contains(name);
        let targets: Vec<&String> = targets.iter().filter(wanted).collect();
        if targets.is_empty() {
            continue;
        }
        build(&folder, &target_dir, &host, &targets)?;
        for target in targets {
            run += 1;
            let binary = target_dir.join(&host).join("release").join(target);
            if !one(&folder, &binary, target, &target_dir, seconds)? {
                found.push(target.clone());
            }
        }
    }
    ensure!(run > 0, "there is no such target: {}", only.join(", "));
    if found.is_empty() {
        println!("{run} targets, {seconds} s each: nothing found");
    } else {
        println!("found something: {}", found.join(", "));
    }
    Ok(found.is_empty())
}

/// Whole seconds: `60s`, `5m`, or a number of seconds.
fn seconds(length: &str) -> Result<u64> {
    let (number, unit) = match length.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (length.strip_suffix('s').unwrap_or(length), 1),
    };
    match number.parse::<u64>() {
        Ok(number @ 1..) => Ok(number * unit),
        _ => bail!("{length:?} is not a duration: give 60s or 5m"),
    }
}

/// The triple of this machine. Named to cargo, it keeps the flags away from build scripts.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

/// The names of a crate's targets.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let sources = folder.join("fuzz_targets");
    let entries = fs::read_dir(&sources).with_context(|| sources.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "rs")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn build(folder: &Path, target_dir: &Path, host: &str, targets: &[&String]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--target", host, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTFLAGS", FLAGS);
    for target in targets {
        cargo.args(["--bin", target]);
    }
    let status = cargo.status().context("cargo")?;
    ensure!(
        status.success(),
        "{}: the targets do not build",
        folder.display()
    );
    Ok(())
}

/// Runs a target; new inputs go below `target`, not into the committed corpus. Whether it found
/// nothing.
fn one(folder: &Path, binary: &Path, target: &str, below: &Path, seconds: u64) -> Result<bool> {
    let learnt = below.join("corpus").join(target);
    let artifacts = below.join("artifacts").join(target);
    for made in [&learnt, &artifacts] {
        fs::create_dir_all(made).with_context(|| made.display().to_string())?;
    }
    println!("{target} for {seconds} s");
    let mut command = Command::new(binary);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_BYTES}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-verbosity=0", "-timeout=10"])
        .arg(&learnt);
    let committed: PathBuf = folder.join("corpus").join(target);
    if committed.is_dir() {
        command.arg(committed);
    }
    let status = command
        .status()
        .with_context(|| binary.display().to_string())?;
    if !status.success() {
        println!(
            "{target}: found something; the input is in {}",
            artifacts.display()
        );
    }
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_seconds_or_minutes() {
        assert_eq!(seconds("60s").unwrap(), 60);
        assert_eq!(seconds("5m").unwrap(), 300);
        assert_eq!(seconds("7").unwrap(), 7);
        for wrong in ["", "0s", "s", "1h", "-1s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_target_has_a_corpus() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in CRATES {
            let folder = workspace.join(folder);
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            for target in targets(&folder).unwrap() {
                assert!(
                    manifest.contains(&format!("name = \"{target}\"")),
                    "{target}"
                );
                let corpus = folder.join("corpus").join(&target);
                let inputs = fs::read_dir(&corpus).map(Iterator::count);
                assert!(inputs.is_ok_and(|count| count > 0), "{target}");
            }
        }
    }
}
