//! `lbd drain`, `lbd undrain` and `lbd weight`: the operator's word on a backend.
use std::{
    io::{IsTerminal as _, Write as _, stdout},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use hyper::Method;

use super::client;
use crate::{
    config::duration::{Shown, parse},
    daemon::{
        observe::status::{BackendStatus, Status},
        operator::order::{OperatorRequest, Order, Then},
    },
};

/// How often `--wait` looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long after the deadline the daemon may take to reset what is left: it sweeps every second.
const RESET_PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `lbd drain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backend, by its name in the configuration.
    node: String,
    /// Wait until no session is left, and count them down
    #[arg(long)]
    wait: bool,
    /// How long the open sessions may continue: 30s, 10m, 1h30m
    #[arg(long, value_name = "D", value_parser = timeout)]
    timeout: Option<Duration>,
    /// What happens to sessions that are still open when --timeout ends
    #[arg(long, value_enum, default_value_t = Then::Keep, requires = "timeout")]
    then: Then,
}

fn timeout(text: &str) -> Result<Duration, String> {
    parse(text)
        .filter(|timeout| timeout.as_secs() > 0)
        .ok_or_else(|| {
            format!("{text:?} is not a duration of a second or more, such as 30s or 1h30m")
        })
}

/// Arguments of `lbd undrain`.
#[derive(Debug, clap::Args)]
pub(super) struct Undrain {
    /// The backend, by its name in the configuration.
    node: String,
}

/// Arguments of `lbd weight`.
#[derive(Debug, clap::Args)]
pub(super) struct SetWeight {
    /// The backend, by its name in the configuration.
    node: String,
    /// 0 (no new sessions) to 10000.
    #[arg(value_parser = clap::value_parser!(u16).range(0..=10_000))]
    weight: u16,
}

pub(super) fn drain(config: &Path, args: &Args) -> anyhow::Result<()> {
    let drain = Order::Drain {
        timeout_s: args.timeout.map(|timeout| timeout.as_secs()),
        then: args.then,
    };
    order(config, &args.node, drain)?;
    if args.wait {
        wait(config, args)?;
    }
    Ok(())
}

/// Counts the sessions down: in one line on a terminal, else in a line for each change.
fn wait(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::config_file::load(config)?.node.control;
    let (is_terminal, begun) = (stdout().is_terminal(), Instant::now());
    let mut said = String::new();
    loop {
        let status: Status = client::request(&socket, Method::GET, "/status", None)?;
        let backends = status.backends.into_iter();
        let backend = backends
            .into_iter()
            .find(|backend| backend.name == args.node)
            .ok_or_else(|| anyhow!("{} was removed from the configuration", args.node))?;
        if backend.operator.as_deref() != Some("drain") {
            bail!(
                "{} is no longer drained: another operator changed that",
                args.node
            );
        }
        let line = progress(&backend);
        if is_terminal {
            print!("\r\x1b[K{line}");
            stdout().flush()?;
        } else if line != said {
            println!("{line}");
        }
        said = line;
        let is_over = args.timeout.is_some_and(|timeout| match args.then {
            Then::Keep => begun.elapsed() >= timeout,
            Then::Reset => begun.elapsed() >= timeout + RESET_PATIENCE,
        });
        if is_terminal && (backend.sessions == 0 || is_over) {
            println!();
        }
        if backend.sessions == 0 {
            return Ok(());
        }
        if is_over {
            let sessions = backend.sessions;
            bail!("{sessions} sessions are still open and stay until they end");
        }
        thread::sleep(LOOK);
    }
}

fn progress(backend: &BackendStatus) -> String {
    let name = &backend.name;
    let sessions = match backend.sessions {
        0 => return format!("{name}: no session left"),
        1 => "1 session".to_owned(),
        sessions => format!("{sessions} sessions"),
    };
    match backend.drain {
        Some(drain) => {
            let left = Shown(Duration::from_secs(drain.left_s));
            format!("{name}: {sessions}, {left} left")
        }
        None => format!("{name}: {sessions}"),
    }
}

pub(super) fn undrain(config: &Path, args: &Undrain) -> anyhow::Result<()> {
    order(config, &args.node, Order::Release)
}

pub(super) fn weight(config: &Path, args: &SetWeight) -> anyhow::Result<()> {
    order(config, &args.node, Order::Weight(args.weight))
}

fn order(config: &Path, backend: &str, order: Order) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    let request = OperatorRequest {
        backend: backend.to_owned(),
        order,
    };
    let done: String = client::request(
        &socket,
        Method::POST,
        "/operator",
        Some(&serde_json::to_value(request)?),
    )?;
    println!("{done}");
    Ok(())
}
