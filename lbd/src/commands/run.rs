//! `lbd run`.
use std::path::Path;

use tracing_subscriber::EnvFilter;

use crate::{
    daemon::{self, push::Store},
    dataplane,
};

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    // First of all: whatever else an unprivileged daemon stumbles over, a key file that it may not
    // read or a socket that it may not make, would only hide the cause.
    dataplane::check_privileges()?;
    log_to_stderr();
    // Before the file is read: a push that a daemon died in may have to be put in place first.
    let store = Store::of_config(path);
    let config = super::load_for_this_box(path)?;
    daemon::run(path, config, store)
}

/// `LBD_LOG` chooses what is logged, `info` by default. Under systemd the journal adds the time.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("LBD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}
