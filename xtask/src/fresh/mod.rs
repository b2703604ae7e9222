//! `cargo xtask fresh`: both commands of the README on a Debian that has nothing.
//!
//! A machine that has run them before has what they need, and so proves nothing. This makes a minimal
//! Debian with a C compiler and a copy of the Rust toolchain in a folder, copies the tracked files in,
//! and runs the commands there, word for word, against the real kernel.
//!
//! Processes, mounts and network are its own. The commands download packages and crates while they run:
//! their network has no way out but a port of its loopback, behind which this process passes connections
//! on ([`gate`]). So the commands are tried as they are, not cut in a half with the network of this
//! machine and one without; and nothing that they do to interfaces, routes or rules is seen outside.
mod gate;
mod root;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use xtask::programs::Set;

use crate::{
    interrupt,
    process::{self, Stream},
    setup,
};

/// A release that is tried, by its number.
const RELEASES: [(u8, &str); 2] = [(12, "bookworm"), (13, "trixie")];
/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_hours(3);
/// The first line of the show.
const SHOW: &str = "Building 3 mail gateways";
/// The first process there: `$1` is the folder that becomes `/`, the rest is the command.
const ENTER: &str = r#"
set -e
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mkdir -p old
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
pivot_root . old
umount -l /old
rmdir /old
cd /root/lbd
"$@"
"#;

/// What is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Which {
    /// `cargo xtask run --for 30s`, twice.
    Run,
    /// `cargo xtask test`.
    Test,
}

/// Tries the commands on one release, or on both. True when all ended well.
pub(crate) fn run(debian: Option<u8>, only: Option<Which>) -> Result<bool> {
    if !crate::is_root() {
        bail!("making a Debian in namespaces of its own needs root");
    }
    interrupt::watch();
    setup::ensure(Set::Fresh)?;
    let folder = folder()?;
    root::remove_stale(&folder);
    let mut lines = Vec::new();
    let mut well = true;
    for (number, suite) in RELEASES {
        if debian.is_some_and(|asked| asked != number) {
            continue;
        }
        let machine = Machine::new(&folder, suite, number)?;
        if only != Some(Which::Test) {
            for what in ["from nothing", "again"] {
                let trial = machine.try_command(&["run", "--for", "30s"], what)?;
                well &= trial.well;
                lines.push(trial.line);
                if !trial.well {
                    break;
                }
            }
        }
        if only != Some(Which::Run) {
            let trial = machine.try_command(&["test"], "")?;
            well &= trial.well;
            lines.push(trial.line);
        }
    }
    if lines.is_empty() {
        bail!("Debian {debian:?} is not tried; 12 and 13 are");
    }
    println!("\n{}", lines.join("\n"));
    Ok(well)
}

/// Next to the target folder's builds.
fn folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(xtask::ebpf::target_dir_above(&own).with_file_name("fresh"))
}

struct Trial {
    well: bool,
    line: String,
}

/// A Debian of its own. All of it goes when it is dropped.
struct Machine {
    root: PathBuf,
    name: String,
    number: u8,
    /// What its programs are told of the network.
    environment: Vec<(String, String)>,
}

impl Machine {
    fn new(folder: &Path, suite: &str, number: u8) -> Result<Self> {
        let name = format!("lbd-fresh-{}-{suite}", std::process::id());
        let machine = Self {
            root: folder.join(&name),
            environment: root::environment(),
            name,
            number,
        };
        let begun = Instant::now();
        println!(
            "fresh: making a minimal Debian {number} in {}",
            machine.root.display()
        );
        root::make(&machine.root, suite)?;
        println!("fresh: made in {} s", begun.elapsed().as_secs());
        process::quietly("ip", &["netns", "add", &machine.name], &[])?;
        process::quietly("ip", &["-n", &machine.name, "link", "set", "lo", "up"], &[])?;
        gate::open(&machine.namespace()).context("cannot open a way out for downloads")?;
        Ok(machine)
    }

    fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs `cargo xtask ...` there, showing what it prints, and tells what it took.
    fn try_command(&self, arguments: &[&str], what: &str) -> Result<Trial> {
        let text = format!("cargo xtask {}", arguments.join(" "));
        println!("\n== Debian {}: {text}", self.number);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace().display()))
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork"])
            .args(["--kill-child", "sh", "-c", ENTER, "enter"])
            .arg(&self.root)
            .args(["cargo", "xtask"])
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let (begun, cpu) = (Instant::now(), cpu_of_children());
        let mut show = None;
        let mut last = String::new();
        let status = process::run(command, PATIENCE, |stream, line| {
            process::echo(stream, line);
            if line.starts_with(SHOW) {
                show = Some(begun.elapsed());
            }
            if stream == Stream::Out && !line.is_empty() {
                line.clone_into(&mut last);
            }
        })?;
        let mut line = format!(
            "Debian {}, {text}{}{what}: {}, after {} s, {} s of CPU time, load {}",
            self.number,
            if what.is_empty() { "" } else { ", " },
            if status.success() {
                "ended well".to_owned()
            } else {
                process::ending(status)
            },
            begun.elapsed().as_secs(),
            (cpu_of_children().saturating_sub(cpu)).as_secs(),
            load(),
        );
        if let Some(show) = show {
            let _ = write!(line, "; the show began after {} s", show.as_secs());
        }
        let _ = write!(line, "; last line: {last}");
        Ok(Trial {
            well: status.success(),
            line,
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its processes have ended: the first of them takes all with it.
        let _ = process::always("ip", &["netns", "del", &self.name]);
        root::remove(&self.root);
        // The last of them takes the folder that held them: one that holds another stays.
        let _ = self.root.parent().map(fs::remove_dir);
    }
}

/// User and system time of every process that we have waited for.
fn cpu_of_children() -> Duration {
    // SAFETY: a rusage of zeroes is valid, and getrusage writes it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| Duration::from_secs(time.tv_sec.cast_unsigned());
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The load of the last minute, which shows how far the figures next to it can be trusted.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}
