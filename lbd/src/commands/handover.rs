//! `lbd handover`: ends the daemon for another that follows on this box.
use std::{
    io,
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::client;

/// How long the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `lbd handover`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do it only while systemd restarts this unit: for its `ExecStop`, which systemd also runs for a stop
    #[arg(long, value_name = "UNIT")]
    if_restarting: Option<String>,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    if let Some(unit) = &args.if_restarting
        && !is_restarting(unit)
    {
        println!("{unit} is not being restarted: nothing is handed over");
        return Ok(());
    }
    let socket = super::config_file::control_socket(config)?;
    let daemon = client::daemon_pid(&socket)?;
    // SAFETY: kill takes plain numbers; the kernel said that this process holds the socket.
    if unsafe { libc::kill(daemon, libc::SIGUSR2) } != 0 {
        let error = io::Error::last_os_error();
        return Err(error).context(format!("cannot signal the daemon, process {daemon}"));
    }
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(&socket).is_ok() {
        if Instant::now() > deadline {
            bail!("the daemon, process {daemon}, has not ended within {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    println!("handed over: program, maps and addresses stay for the next daemon");
    Ok(())
}

/// Whether systemd's job on the unit is a restart. Without systemd, or without an answer, it is not:
/// a stop that was taken for a restart would leave the program behind.
fn is_restarting(unit: &str) -> bool {
    let asked = Command::new("systemctl")
        .args(["list-jobs", "--plain", "--no-legend", unit])
        .output();
    asked.is_ok_and(|answer| has_restart(&String::from_utf8_lossy(&answer.stdout), unit))
}

/// A line is `1234 lbd.service restart running`.
fn has_restart(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(unit) && words.next().is_some_and(|kind| kind.contains("restart"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_restart_of_this_unit_hands_over() {
        for (jobs, restarts) in [
            ("1234 lbd.service restart running\n", true),
            (" 1234  lbd.service  try-restart  waiting\n", true),
            ("1234 lbd.service stop running\n", false),
            ("1234 other.service restart running\n", false),
            ("No jobs running.\n", false),
            ("", false),
        ] {
            assert_eq!(has_restart(jobs, "lbd.service"), restarts, "{jobs:?}");
        }
    }
}
