//! The `lbd` command.
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    lbd::commands::run(lbd::commands::Cli::parse())
}
