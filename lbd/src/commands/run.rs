//! `lbd run`.
use std::{path::Path, thread, time::Duration};

use sd_notify::NotifyState;
use tracing::warn;

use super::log::{self, LogFormat};
use crate::{
    config::{self, Config},
    daemon::{self, cluster::push::Store},
    dataplane, host,
};

/// How often it is looked for what is missing at the start.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments of `lbd run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to log.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: LogFormat,
}

pub(super) fn run(path: &Path, args: &Args) -> anyhow::Result<()> {
    // First of all: an unprivileged daemon may lack more, but a key file that it may not
    // read or a socket that it may not make, would only hide the cause.
    dataplane::check_privileges()?;
    log::start(args.log_format)?;
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
