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
mod init;
mod log;
mod push;
mod report;
mod run;
mod shell;
pub mod simulate;
mod status;
mod table;
mod time;
mod top;
mod trace;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use config_file::InvalidConfig;

/// The command failed.
const FAILED: u8 = 1;
/// The configuration file has errors; each was printed.
const INVALID_CONFIG: u8 = 3;

/// A load balancer for SMTP: steers sessions in XDP, by live load and mail queues.
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
    Run(run::Args),
    /// Write a first configuration and key from what this box has; never over an existing one.
    Init(init::Args),
    /// Check the configuration, one line per error, and change nothing.
    Check(check::Args),
    /// Serve this box's queue and session figures to balancers elsewhere; read-only.
    Agent(agent::Args),
    /// Show what this node does right now: role, backends, sessions, weights and why.
    Status(status::Args),
    /// Show the state live, full screen; one key drains or undrains.
    Top(top::Args),
    /// Explain each backend's weight, with the figures behind it.
    Explain(explain::Args),
    /// Give a backend no new sessions; the open ones stay.
    Drain(drain::Args),
    /// Undo a drain or a weight override.
    Undrain(drain::Undrain),
    /// Override a backend's weight; the policy's weight is ignored until `lbd undrain`.
    Weight(drain::SetWeight),
    /// List the sessions in the flow table.
    Flows(flows::Args),
    /// Tell live why frames go where they go: each stage's word, a line a frame; ARP and ND are not told.
    Trace(trace::Args),
    /// Show who may open sessions: the lists, the rate limit, and the denials by hand.
    Access(access::Args),
    /// Deny an address or a network at once; its open sessions end.
    Deny(access::Deny),
    /// Undo a denial.
    Undeny(access::Undeny),
    /// Report on a day: sessions, balance, shut-offs, failovers, denied sources.
    Report(report::Args),
    /// Push the cluster part of the configuration, and its lists, to every node; or roll back.
    Push(push::Args),
    /// Simulate a cluster's mail under each policy, with the code that runs here.
    Simulate(simulate::Args),
    /// Stop the daemon and leave everything in place for the next daemon on this box.
    Handover(handover::Args),
    /// Detach XDP, unpin the maps and remove the VIP: leave the box as lbd found it.
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
    end_quietly_when_the_output_is_closed();
    let config = cli.config.as_path();
    let result = match cli.command {
        Command::Run(args) => run::run(config, &args),
        Command::Init(args) => init::run(config, &args),
        Command::Check(args) => check::run(config, &args),
        Command::Agent(args) => agent::run(config, &args),
        Command::Status(args) => status::run(config, &args),
        Command::Top(args) => top::run(config, &args),
        Command::Explain(args) => explain::run(config, &args),
        Command::Drain(args) => drain::drain(config, &args),
        Command::Undrain(args) => drain::undrain(config, &args),
        Command::Weight(args) => drain::weight(config, &args),
        Command::Flows(args) => flows::run(config, &args),
        Command::Trace(args) => trace::run(config, &args),
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

/// `lbd flows | head -1`: what is printed after the reader has gone is useless. Only the
/// standard output counts; a broken connection stays an error.
fn end_quietly_when_the_output_is_closed() {
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
