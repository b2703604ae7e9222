//! The command line.
//!
//! Exit codes: 0 fine, 1 failed, 2 usage (clap's own), 3 invalid config.

pub mod agent;
mod check;
mod cleanup;
mod client;
mod drain;
mod explain;
mod handover;
mod run;
pub mod simulate;
mod status;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    config::{self, Config, ConfigError},
    daemon::unbuilt,
    host,
};

/// Something that was asked for could not be done.
const FAILED: u8 = 1;
/// The configuration file has mistakes; each was printed.
const INVALID_CONFIG: u8 = 3;

/// A load balancer for SMTP: steers sessions in XDP, by live load and by the queues.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
pub struct Cli {
    /// The configuration file, which also tells where the control socket is.
    #[arg(
        long,
        global = true,
        value_name = "F",
        default_value = "/etc/lbd/lbd.yaml"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: load the XDP program, elect a master, steer sessions.
    Run,
    /// Check the configuration, one line per mistake, and change nothing.
    Check(check::Args),
    /// Answer balancers elsewhere with this box's queue and sessions; read-only.
    Agent(agent::Args),
    /// What this node does right now: role, backends, sessions, weights and why.
    Status(status::Args),
    /// Why each backend has the weight it has, with the figures behind it.
    Explain(explain::Args),
    /// Give a backend no new sessions; the open ones stay.
    Drain(drain::Args),
    /// Take back a drain or an operator's weight.
    Undrain(drain::Undrain),
    /// Set a backend's weight by hand, above what the policy says.
    Weight(drain::SetWeight),
    /// Simulate a cluster's mail under each rule, by the very code that runs here.
    Simulate(simulate::Args),
    /// End the daemon and leave all it does in place, for the daemon that follows on this box.
    Handover(handover::Args),
    /// Detach XDP, unpin the maps, remove the VIP: leave the box as lbd found it.
    Cleanup,
}

/// Runs what the command line asked for and turns any error into its sentence and exit code.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let config = cli.config.as_path();
    let result = match cli.command {
        Command::Run => run::run(config),
        Command::Check(args) => check::run(config, &args),
        Command::Agent(args) => agent::run(config, &args),
        Command::Status(args) => status::run(config, &args),
        Command::Explain(args) => explain::run(config, &args),
        Command::Drain(args) => drain::drain(config, &args),
        Command::Undrain(args) => drain::undrain(config, &args),
        Command::Weight(args) => drain::weight(config, &args),
        Command::Simulate(args) => {
            return simulate::command(&args).unwrap_or_else(|error| {
                eprintln!("lbd: {error:#}");
                ExitCode::from(FAILED)
            });
        }
        Command::Handover(args) => handover::run(config, &args),
        Command::Cleanup => cleanup::run(config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lbd: {error:#}");
            let invalid = error.downcast_ref::<InvalidConfig>().is_some();
            ExitCode::from(if invalid { INVALID_CONFIG } else { FAILED })
        }
    }
}

/// The mistakes of a configuration file, a line each.
#[derive(Debug)]
struct InvalidConfig(Vec<ConfigError>);

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "the configuration has {count} mistake{s}")?;
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n{mistake}"))
    }
}

impl std::error::Error for InvalidConfig {}

/// Reads and parses a configuration file.
fn load(path: &Path) -> anyhow::Result<Config> {
    Ok(Config::load(path).map_err(InvalidConfig)?)
}

/// The same, and everything it names is on this box and can be done by this build.
fn load_for_this_box(path: &Path) -> anyhow::Result<Config> {
    let config = load(path)?;
    let mut mistakes = config::check_host(&config, &host::facts()?);
    mistakes.extend(unbuilt::refusals(&config));
    if mistakes.is_empty() {
        Ok(config)
    } else {
        Err(InvalidConfig(mistakes).into())
    }
}
