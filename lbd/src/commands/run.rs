//! `lbd run`.
use std::{
    io::{self, Write},
    path::Path,
    thread,
    time::Duration,
};

use sd_notify::NotifyState;
use tracing::warn;
use tracing_subscriber::EnvFilter;

use crate::{
    config::{self, Config},
    daemon::{self, cluster::push::Store},
    dataplane, host, plain,
};

/// How often it is looked for what is missing at the start.
const LOOK: Duration = Duration::from_secs(1);

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    // First of all: whatever else an unprivileged daemon lacks, a key file that it may not
    // read or a socket that it may not make, would only hide the cause.
    dataplane::check_privileges()?;
    log_to_stderr();
    // Before the file is read: a push that a daemon died in may have to be put in place first.
    let store = Store::of_config(path);
    let config = load_when_ready(path)?;
    daemon::run(path, config, store)
}

/// The configuration, as soon as this box has what it cannot run without. At boot the network may be late:
/// an address comes by DHCP, an interface with its driver. Nothing was changed so far, so any signal may
/// end the wait.
fn load_when_ready(path: &Path) -> anyhow::Result<Config> {
    let mut said = None;
    loop {
        // Read anew each time: the file may be what is wrong.
        let mut config = super::config_file::load(path)?;
        let facts = host::facts(&config)?;
        config::name_interfaces(&mut config, &facts);
        let missing = config::missing_at_start(&config, &facts);
        if missing.is_empty() {
            return Ok(config);
        }
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let missing = missing.join("\n");
        if said.as_ref() != Some(&missing) {
            warn!("this box lacks what lbd needs, which is looked for each second:\n{missing}");
            let status = format!("waiting: {}", missing.replace('\n', "; "));
            // Ready: the rest of the boot must not wait for an address that may never come.
            let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
            said = Some(missing);
        }
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        thread::sleep(LOOK);
    }
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
