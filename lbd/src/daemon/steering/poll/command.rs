//! A program's output: started without a shell and without lbd's privileges, with a bounded output,
//! and gone with all that it started when it ends or time is up.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{PollError, supervise::supervised};
use crate::stats::{MAX_ANSWER_BYTES, SampleError};

/// Runs a program and gives its standard output. The caller limits the time: dropping this ends the
/// program and all that it started.
pub(super) async fn run(words: &[String]) -> Result<Vec<u8>, PollError> {
    run_with(words, &[], &[]).await
}

/// The same with more in its environment, and with a standard input.
async fn run_with(
    words: &[String],
    environment: &[(&'static str, String)],
    input: &[u8],
) -> Result<Vec<u8>, PollError> {
    let (program, arguments) = words.split_first().ok_or_else(|| failed("", "is empty"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        // systemd's: not for the program to speak in lbd's name.
        .env_remove("NOTIFY_SOCKET")
        .stdin(if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    supervised(&mut command);
    let child = command
        .spawn()
        .map_err(|error| failed(program, &format!("cannot be started: {error}")))?;
    let mut supervisor = Supervisor(child);

    if let Some(mut stdin) = supervisor.0.stdin.take() {
        // Smaller than a pipe holds, so no program has to read it. One that has ended already needs it not.
        let _ = stdin.write_all(input).await;
    }
    let limit = MAX_ANSWER_BYTES;
    let mut output = Vec::new();
    if let Some(stdout) = supervisor.0.stdout.take() {
        let read = stdout.take(limit as u64 + 1).read_to_end(&mut output).await;
        read.map_err(|error| failed(program, &format!("stopped in mid-answer: {error}")))?;
    }
    if output.len() > limit {
        return Err(SampleError::TooLong { limit }.into());
    }
    let status = supervisor.0.wait().await;
    let status = status.map_err(|error| failed(program, &error.to_string()))?;
    if !status.success() {
        return Err(failed(program, &format!("fails: {status}")));
    }
    Ok(output)
}

/// Runs a program that is told something, without lbd's privileges. What it prints is passed over.
pub(in crate::daemon) async fn hook(
    words: &[String],
    environment: &[(&'static str, String)],
    input: &[u8],
) -> Result<(), PollError> {
    run_with(words, environment, input).await.map(drop)
}

fn failed(program: &str, what: &str) -> PollError {
    PollError::Command {
        program: program.to_owned(),
        what: what.to_owned(),
    }
}

/// Tells the supervisor to end the program when dropped, unless it has ended and been waited for.
#[derive(Debug)]
struct Supervisor(Child);

impl Drop for Supervisor {
    fn drop(&mut self) {
        let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        // SAFETY: kill takes no pointer. The child was not waited for, so its id still names it.
        let _ = unsafe { libc::kill(id, libc::SIGTERM) };
    }
}
