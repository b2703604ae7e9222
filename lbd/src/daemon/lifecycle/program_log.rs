//! What a debug build of the XDP program says goes into the log.
use std::io;

use tokio::io::{Interest, unix::AsyncFd};
use tracing::{Level, debug, error, info, trace, warn};

use crate::dataplane::{ProgramLine, ProgramLog};

/// Logs each line as it comes.
pub(in crate::daemon) async fn follow(log: ProgramLog) -> io::Result<()> {
    // SAFETY: the reader owns its descriptor, gives the same one each time and keeps it open until it is
    // dropped, after the registration.
    let mut log = unsafe { AsyncFd::register_with_interest(log, Interest::READABLE) }?;
    loop {
        for line in log.get_mut().lines() {
            tell(&line);
        }
        log.readable().await?.clear_ready();
    }
}

fn tell(ProgramLine { level, text }: &ProgramLine) {
    match *level {
        Level::ERROR => error!("XDP program: {text}"),
        Level::WARN => warn!("XDP program: {text}"),
        Level::INFO => info!("XDP program: {text}"),
        Level::DEBUG => debug!("XDP program: {text}"),
        Level::TRACE => trace!("XDP program: {text}"),
    }
}
