//! Child processes, each in a process group of its own, so that all of a group can be stopped.
use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::interrupt;

/// Between two looks at a child and at what was asked of us.
const LOOK: Duration = Duration::from_millis(50);
/// Between the request to end and SIGKILL.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which stream a line was printed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Runs a program without its output, which is shown only when it fails.
pub(crate) fn quietly(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<()> {
    quietly_within(Duration::MAX, program, arguments, environment)
}

/// The same with a limit, after which it is stopped.
pub(crate) fn quietly_within(
    limit: Duration,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied());
    let mut lines = Vec::new();
    let status = run(command, limit, |_, line| lines.push(line.to_owned()))?;
    if status.success() {
        return Ok(());
    }
    let last = lines.len().saturating_sub(15);
    bail!(
        "`{program} {}` failed: {status}\n{}",
        arguments.first().unwrap_or(&""),
        lines[last..].join("\n")
    )
}

/// Runs a program that cleans up: a signal that asks us to end does not stop it.
pub(crate) fn always(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .process_group(0)
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program}` failed: {}: {}", output.status, said.trim());
    }
    Ok(())
}

/// Runs a command, hands each line that it prints to `each`, and returns its status. A signal that
/// asks us to end stops it with everything it started, and is the error; so is the limit.
pub(crate) fn run(
    mut command: Command,
    limit: Duration,
    mut each: impl FnMut(Stream, &str),
) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run `{name}`"))?;
    let (sender, lines) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        read_lines(out, Stream::Out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        read_lines(err, Stream::Err, sender);
    }
    let started = Instant::now();
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(LOOK) {
            Ok((stream, line)) => each(stream, &line),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Both streams are closed.
            Err(mpsc::RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
        }
        if let Err(error) = interrupt::check() {
            stop(&mut child);
            return Err(error);
        }
        if started.elapsed() > limit {
            stop(&mut child);
            bail!("`{name}` was stopped after {} s", limit.as_secs());
        }
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        // What it started may hold its output open: wait a moment for the last lines only.
        if let Some((status, at)) = ended
            && (at.elapsed() > Duration::from_secs(1) || drained(&lines, &mut each))
        {
            stop(&mut child);
            return Ok(status);
        }
    }
}

/// Hands over what is there; whether both streams are closed.
fn drained(lines: &mpsc::Receiver<(Stream, String)>, each: &mut impl FnMut(Stream, &str)) -> bool {
    loop {
        match lines.try_recv() {
            Ok((stream, line)) => each(stream, &line),
            Err(mpsc::TryRecvError::Empty) => return false,
            Err(mpsc::TryRecvError::Disconnected) => return true,
        }
    }
}

fn read_lines(
    from: impl Read + Send + 'static,
    stream: Stream,
    to: mpsc::Sender<(Stream, String)>,
) {
    thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = Vec::new();
        while reader
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|count| count > 0)
        {
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches('\n')
                .to_owned();
            if to.send((stream, line)).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

/// Ends a child's whole group: in order first, then by force.
fn stop(child: &mut Child) {
    let Ok(group) = i32::try_from(child.id()) else {
        return;
    };
    if !signal_group(group, libc::SIGTERM) {
        return;
    }
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        let _ = child.try_wait();
        if !signal_group(group, 0) {
            return;
        }
        thread::sleep(LOOK);
    }
    signal_group(group, libc::SIGKILL);
    let _ = child.wait();
}

/// Sends a signal to every process of a group; false when there is none.
fn signal_group(group: i32, signal: i32) -> bool {
    // SAFETY: no memory is passed. The group is one that we made; the kernel keeps its number while
    // it has a member, and gives numbers out in turn, so that it is not another's already.
    unsafe { libc::kill(-group, signal) == 0 }
}

/// Prints a line where a child printed it.
pub(crate) fn echo(stream: Stream, line: &str) {
    // A reader that went away is no reason to stop.
    let _ = match stream {
        Stream::Out => writeln!(std::io::stdout(), "{line}"),
        Stream::Err => writeln!(std::io::stderr(), "{line}"),
    };
}

/// How a child ended, in words for a closing line.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn every_line_of_both_streams_arrives() {
        let mut lines = Vec::new();
        let script = "for i in $(seq 200); do echo out$i; done; echo err >&2; printf last";
        let status = run(sh(script), Duration::MAX, |stream, line| {
            lines.push((stream, line.to_owned()));
        });
        assert!(status.unwrap().success());
        assert_eq!(lines.len(), 202);
        assert!(lines.contains(&(Stream::Err, "err".to_owned())));
        assert!(lines.contains(&(Stream::Out, "last".to_owned())));
    }

    #[test]
    fn what_a_child_leaves_behind_is_stopped_with_it() {
        let mut pid = String::new();
        let script = "sleep 1000 & echo $!";
        run(sh(script), Duration::MAX, |_, line| pid = line.to_owned()).unwrap();
        assert!(!pid.is_empty());
        // A zombie is as good as gone: who reaps an orphan is the machine's affair.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }

    #[test]
    fn a_child_that_takes_too_long_is_stopped() {
        let error = run(sh("sleep 1000"), Duration::from_millis(1), |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("was stopped"), "{error}");
    }

    #[test]
    fn a_failure_shows_the_last_lines() {
        let error = quietly("sh", &["-c", "echo why; exit 3"], &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("why"),
            "{error}"
        );
        assert!(quietly("no-such-program-at-all", &[], &[]).is_err());
    }
}
