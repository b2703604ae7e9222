//! A program's output: started without a shell, in a process group of its own, with a bounded
//! output, and gone with all its children when time is up.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::PollError;
use crate::stats::{MAX_ANSWER_BYTES, SampleError};

/// Runs a program and gives its standard output. The caller limits the time: dropping this kills
/// the program's process group.
pub(super) async fn run(words: &[String]) -> Result<Vec<u8>, PollError> {
    let (program, arguments) = words.split_first().ok_or_else(|| failed("", "is empty"))?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(program, &format!("cannot be started: {error}")))?;
    let mut group = Group(child);

    let limit = MAX_ANSWER_BYTES;
    let mut output = Vec::new();
    if let Some(stdout) = group.0.stdout.take() {
        let read = stdout.take(limit as u64 + 1).read_to_end(&mut output).await;
        read.map_err(|error| failed(program, &format!("breaks off: {error}")))?;
    }
    if output.len() > limit {
        return Err(SampleError::TooLong { limit }.into());
    }
    let status = group.0.wait().await;
    let status = status.map_err(|error| failed(program, &error.to_string()))?;
    if !status.success() {
        return Err(failed(program, &format!("fails: {status}")));
    }
    Ok(output)
}

fn failed(program: &str, what: &str) -> PollError {
    PollError::Command {
        program: program.to_owned(),
        what: what.to_owned(),
    }
}

/// Kills the whole group when dropped, unless the program has ended and been waited for.
#[derive(Debug)]
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        // SAFETY: kill takes no pointer. The child was not waited for, so its id still names it and
        // the group that it leads.
        let _ = unsafe { libc::kill(-id, libc::SIGKILL) };
    }
}
