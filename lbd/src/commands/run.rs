//! `lbd run`.
use std::{
    io::{self, Write},
    path::Path,
};

use tracing_subscriber::EnvFilter;

use crate::{
    daemon::{self, cluster::push::Store},
    dataplane, plain,
};

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    // First of all: whatever else an unprivileged daemon stumbles over, a key file that it may not
    // read or a socket that it may not make, would only hide the cause.
    dataplane::check_privileges()?;
    log_to_stderr();
    // Before the file is read: a push that a daemon died in may have to be put in place first.
    let store = Store::of_config(path);
    let config = super::config_file::load_for_this_box(path)?;
    daemon::run(path, config, store)
}

/// `LBD_LOG` chooses what is logged, `info` by default. Under systemd the journal adds the time.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("LBD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(|| Plain(io::stderr()));
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}

/// Writes lines in which no text from outside changes what is shown around it.
struct Plain<W>(W);

impl<W: Write> Write for Plain<W> {
    /// An event comes as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = plain::lines(String::from_utf8_lossy(event).into_owned());
        self.0.write_all(text.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_not_turned_round() {
        let mut log = Vec::new();
        let event = "WARN mx1 says \u{202e}down\u{2028}\u{9b}2J\n";
        Plain(&mut log).write_all(event.as_bytes()).unwrap();
        assert_eq!(log, b"WARN mx1 says down2J\n");
    }
}
