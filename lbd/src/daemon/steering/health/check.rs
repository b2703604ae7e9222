//! One check: a connection, and the dialogue on it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::tls;
use super::{Probe, Target};
use crate::smtp::{Action, Dialogue, NoConnection, Reason, Settings, Verdict};

/// A stack that lives answers a SYN in less, through any network of a cluster.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// How far a check has come that has no verdict yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stack {
    /// Its stack has not answered the SYN within [`ANSWERS_WITHIN`].
    Silent,
    /// Its stack has answered, by a connection or a refusal.
    Answered,
}

/// Checks once, and tells `heard` how its stack does. Takes at most the target's timeout, and a second
/// to leave.
pub(super) async fn check(target: &Target, mut heard: impl FnMut(Stack)) -> Verdict {
    if target.probe == Probe::Off {
        return Verdict::Up;
    }
    let deadline = Instant::now() + target.timeout;
    let mut connect = std::pin::pin!(TcpStream::connect(target.address));
    let soon = ANSWERS_WITHIN.min(target.timeout);
    let connected = if let Ok(connected) = timeout(soon, &mut connect).await {
        Ok(connected)
    } else {
        heard(Stack::Silent);
        timeout_at(deadline, connect).await
    };
    let where_to = |said: String| format!("{}: {said}", target.address);
    let stream = match connected {
        Ok(Ok(stream)) => {
            heard(Stack::Answered);
            stream
        }
        Ok(Err(error)) => {
            let verdict = no_connection(&error, where_to(error.to_string()));
            match &verdict {
                Verdict::Dead(NoConnection::Refused(_)) => heard(Stack::Answered),
                Verdict::Dead(NoConnection::Silent(_)) => heard(Stack::Silent),
                _ => {}
            }
            return verdict;
        }
        Err(_) => {
            let waited = format!("none within {} s", target.timeout.as_secs_f64());
            return Verdict::Dead(NoConnection::Silent(where_to(waited)));
        }
    };
    match &target.probe {
        Probe::Smtp(settings) => talk(stream, settings.clone(), deadline).await,
        Probe::Tcp | Probe::Off => Verdict::Up,
    }
}

/// Whether the stack at an address answers soon: with a connection, or (`Some(None)`) a refusal.
pub(super) async fn ask(address: SocketAddr) -> Option<Option<TcpStream>> {
    // A connection that takes longer must be retried: the kernel repeats its SYN after a second, and
    // then ever more rarely.
    match timeout(ANSWERS_WITHIN, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Some(Some(stream)),
        Ok(Err(error)) => {
            let verdict = no_connection(&error, String::new());
            matches!(verdict, Verdict::Dead(NoConnection::Refused(_))).then_some(None)
        }
        Err(_) => None,
    }
}

/// Leaves a connection as a check does.
pub(super) async fn visit(stream: TcpStream, settings: Settings, within: Duration) {
    talk(stream, settings, Instant::now() + within).await;
}

/// What the operating system's error says of the backend; many say something of this box only.
fn no_connection(error: &io::Error, said: String) -> Verdict {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    match error.kind() {
        ConnectionRefused | ConnectionReset => Verdict::Dead(NoConnection::Refused(said)),
        HostUnreachable | NetworkUnreachable | TimedOut => {
            Verdict::Dead(NoConnection::Silent(said))
        }
        _ => Verdict::NotServing(Reason::NotTried(said)),
    }
}

/// A connection, in clear or in TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Does what the dialogue says until it is over.
async fn talk(stream: TcpStream, settings: Settings, deadline: Instant) -> Verdict {
    let quit = settings.timeouts.quit;
    let peer = stream.peer_addr().ok();
    let mut stream: Box<dyn Stream> = Box::new(stream);
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
            Action::Handshake { within } => {
                asked = Instant::now();
                let end = deadline.min(asked + within);
                let clear = std::mem::replace(&mut stream, Box::new(tokio::io::empty()));
                let handshake = async {
                    let peer = peer.ok_or(io::ErrorKind::NotConnected)?;
                    tls::handshake(clear, peer.ip()).await
                };
                match timeout_at(end, handshake).await {
                    Ok(Ok(secured)) => {
                        stream = Box::new(secured);
                        asked = Instant::now();
                        dialogue.secured();
                    }
                    Ok(Err(error)) => dialogue.tls_failed(&error.to_string()),
                    Err(_) => dialogue.timed_out(),
                }
            }
            Action::Done(verdict) => {
                // Within TLS an end without a word is an error of the other side's log.
                let _ = timeout_at(Instant::now() + quit, stream.shutdown()).await;
                return verdict;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_this_box_is_no_death_of_the_other() {
        let verdict = |code| {
            let error = io::Error::from_raw_os_error(code);
            no_connection(&error, error.to_string())
        };
        for (code, kind) in [
            (libc::ECONNREFUSED, "refused"),
            (libc::ECONNRESET, "refused"),
            (libc::EHOSTUNREACH, "silent"),
            (libc::ENETUNREACH, "silent"),
            (libc::ETIMEDOUT, "silent"),
            // Too many open files, a packet filter of this box, no port left.
            (libc::EMFILE, "not tried"),
            (libc::EPERM, "not tried"),
            (libc::EADDRNOTAVAIL, "not tried"),
        ] {
            let found = match verdict(code) {
                Verdict::Dead(NoConnection::Refused(_)) => "refused",
                Verdict::Dead(NoConnection::Silent(_)) => "silent",
                Verdict::NotServing(Reason::NotTried(_)) => "not tried",
                other => panic!("{other:?}"),
            };
            assert_eq!(found, kind, "{code}");
        }
    }
}
