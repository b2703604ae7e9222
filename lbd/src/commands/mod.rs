//! The command line.
//!
//! Exit codes: 0 fine, 1 failed, 2 usage (clap's own), 3 invalid config.

mod access;
pub mod agent;
mod check;
mod cleanup;
mod client;
mod config_file;
mod drain;
mod explain;
mod flows;
mod handover;
mod push;
mod report;
mod run;
mod shell;
pub mod simulate;
mod status;
mod table;
mod time;
mod top;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use config_file::InvalidConfig;

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
    /// The state as it changes, full screen; drains and undrains by a key.
    Top(top::Args),
    /// Why each backend has the weight it has, with the figures behind it.
    Explain(explain::Args),
    /// Give a backend no new sessions; the open ones stay.
    Drain(drain::Args),
    /// Take back a drain or an operator's weight.
    Undrain(drain::Undrain),
    /// Set a backend's weight by hand, above what the policy says.
    Weight(drain::SetWeight),
    /// Which sessions are in the flow table.
    Flows(flows::Args),
    /// Who may open sessions: the lists, the rate, and the denials by hand.
    Access(access::Args),
    /// Take no session of an address or a network, at once; the open ones end.
    Deny(access::Deny),
    /// Take back a denial.
    Undeny(access::Undeny),
    /// What happened on a day: sessions, balance, shut-offs, failovers, denied sources.
    Report(report::Args),
    /// Hand the cluster part of the configuration, and its lists, to every node; or go back.
    Push(push::Args),
    /// Simulate a cluster's mail under each rule, by the very code that runs here.
    Simulate(simulate::Args),
    /// End the daemon and leave all it does in place, for the daemon that follows on this box.
    Handover(handover::Args),
    /// Detach XDP, unpin the maps, remove the VIP: leave the box as lbd found it.
    Cleanup,
    /// Print the completions for a shell.
    Completions(shell::Completions),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Manuals(shell::Into),
    /// Write the JSON Schemas of what `--json` prints into a folder.
    #[command(hide = true)]
    Schemas(shell::Into),
}

/// Runs what the command line asked for and turns any error into its sentence and exit code.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    end_quietly_when_nobody_reads();
    let config = cli.config.as_path();
    let result = match cli.command {
        Command::Run => run::run(config),
        Command::Check(args) => check::run(config, &args),
        Command::Agent(args) => agent::run(config, &args),
        Command::Status(args) => status::run(config, &args),
        Command::Top(args) => top::run(config, &args),
        Command::Explain(args) => explain::run(config, &args),
        Command::Drain(args) => drain::drain(config, &args),
        Command::Undrain(args) => drain::undrain(config, &args),
        Command::Weight(args) => drain::weight(config, &args),
        Command::Flows(args) => flows::run(config, &args),
        Command::Access(args) => access::run(config, &args),
        Command::Deny(args) => access::deny(config, &args),
        Command::Undeny(args) => access::undeny(config, &args),
        Command::Report(args) => report::run(config, &args),
        Command::Push(args) => push::run(config, &args),
        Command::Completions(args) => {
            shell::completions(&args, &mut Cli::command());
            Ok(())
        }
        Command::Manuals(args) => shell::manuals(&args, Cli::command()),
        Command::Schemas(args) => shell::schemas(&args),
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

/// `lbd flows | head -1`: what is printed after the reader has gone is of no use to anybody. Only the
/// standard output counts; a broken connection stays an error.
fn end_quietly_when_nobody_reads() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        // As `print!` (std's `print_to`) and clap_complete's `generate` say it.
        let is_output = [
            "failed printing to stdout",
            "failed to write completion file",
        ]
        .iter()
        .any(|start| message.starts_with(start));
        if is_output && message.contains("Broken pipe") {
            std::process::exit(0);
        }
        before(panic);
    }));
}
