//! One check: a connection, and the dialogue on it.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{Probe, Target};
use crate::smtp::{Action, Dialogue, Reason, Settings, Verdict};

/// Checks once. Takes at most the target's timeout, and a second to leave.
pub(super) async fn check(target: &Target) -> Verdict {
    if target.probe == Probe::Off {
        return Verdict::Up;
    }
    let deadline = Instant::now() + target.timeout;
    let connect = timeout_at(deadline, TcpStream::connect(target.address)).await;
    let refused = |error: String| {
        let error = format!("{}: {error}", target.address);
        Verdict::Down(Reason::Connect(error))
    };
    let stream = match connect {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refused(error.to_string()),
        Err(_) => return refused(format!("none within {} s", target.timeout.as_secs_f64())),
    };
    match &target.probe {
        Probe::Smtp(settings) => talk(stream, settings.clone(), deadline).await,
        Probe::Tcp | Probe::Off => Verdict::Up,
    }
}

/// Does what the dialogue says until it is over.
async fn talk(mut stream: TcpStream, settings: Settings, deadline: Instant) -> Verdict {
    let quit = settings.timeouts.quit;
    let mut dialogue = Dialogue::new(settings);
    let mut asked = Instant::now();
    loop {
        match dialogue.next_action() {
            Action::Send(bytes) => {
                asked = Instant::now();
                // A write that does not get through within the time for leaving never will: a
                // command is smaller than any socket buffer.
                match timeout_at(asked + quit, stream.write_all(&bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => dialogue.failed(&error.to_string()),
                    Err(_) => dialogue.closed(),
                }
            }
            Action::Read { within } => {
                // The time for leaving comes on top of the check's own.
                let end = if within <= quit {
                    asked + within
                } else {
                    deadline.min(asked + within)
                };
                let mut buffer = [0; 1024];
                match timeout_at(end, stream.read(&mut buffer)).await {
                    Ok(Ok(0)) => dialogue.closed(),
                    Ok(Ok(length)) => dialogue.feed(&buffer[..length]),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    // A reset is a way to close, too.
                    Ok(Err(_)) => dialogue.closed(),
                    Err(_) => dialogue.timed_out(),
                }
            }
            Action::Done(verdict) => return verdict,
        }
    }
}
