//! A cluster of mail gateways on this one machine: to watch, or to explore by hand.
mod by_hand;
mod interrupt;
mod run;
mod screen;
mod story;
mod summary;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A lab of hosts from network namespaces on this machine.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a cluster at work: real sessions through the VIP, a queue that builds up, a master
    /// that is killed.
    Run(run::Args),
    /// Build a lab that stays, with a configuration file for each node.
    Up(by_hand::Up),
    /// Remove the lab that `up` built, and what runs in it.
    Down,
    /// Run a command on a host of the lab that `up` built.
    Exec(by_hand::Exec),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Up(args) => by_hand::up(&args).map(|()| ExitCode::SUCCESS),
        Command::Down => {
            lbd_tests::lab::remove_kept();
            Ok(ExitCode::SUCCESS)
        }
        Command::Exec(args) => by_hand::exec(&args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("lbd-lab: {error:#}");
        ExitCode::FAILURE
    })
}
