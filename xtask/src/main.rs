//! The project's own commands: `cargo xtask ...`.
mod fresh;
mod fuzz;
mod interrupt;
mod kernel;
mod lab;
mod leftovers;
mod outcome;
mod process;
mod setup;
mod test;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use xtask::programs::Set;

/// Builds, shows and tests lbd. Installs by itself what a command needs.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what the build, the lab and the tests need and this machine lacks.
    Setup,
    /// Compile the XDP program alone and say where it is.
    BuildEbpf {
        /// Its debug build, which says what it does, for `LBD_XDP_OBJECT=FILE lbd run`.
        #[arg(long)]
        log: bool,
    },
    /// Show a cluster at work in network namespaces of this machine, with real SMTP sessions.
    ///
    /// Ends by itself after `--for 30s`; `--json` prints a summary for programs. Other options are
    /// those of `cargo xtask lab run --help`. With `-- --config F` it loads lbd on this host.
    Run(Rest),
    /// Run a command of the lab: run, up, exec, down.
    Lab(Rest),
    /// Compare lbd with what people use today, and update tests/BENCH.md.
    ///
    /// All benchmarks in one run, or those named: see `cargo xtask bench --help`.
    Bench(Rest),
    /// Run every check and test: style, units, XDP, end to end. Without root the last two are skipped.
    Test,
    /// Build the fuzz targets and run each for so long, from its committed corpus on.
    Fuzz {
        /// How long for each.
        #[arg(long = "for", value_name = "TIME", default_value = "60s")]
        length: String,
        /// Only these.
        targets: Vec<String>,
    },
    /// Try both commands of the README on a minimal Debian that has nothing.
    Fresh {
        /// The release to try: 12 or 13. Both unless said.
        #[arg(long)]
        debian: Option<u8>,
        /// One of the commands alone.
        #[arg(long)]
        only: Option<fresh::Which>,
    },
    /// Run the XDP fixtures on Debian's 6.1 kernel in an emulated machine.
    Kernel {
        /// A kernel image (vmlinuz) to take instead.
        #[arg(long)]
        image: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Rest {
    /// Handed on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup => setup::ensure(test::set()).map(|()| true),
        Command::BuildEbpf { log } => build_ebpf(log).map(|()| true),
        Command::Run(rest) => lab::run(&rest.arguments).map(|()| true),
        Command::Lab(rest) => match rest.arguments.split_first() {
            Some((command, rest)) => lab::lab(&command.to_string_lossy(), rest).map(|()| true),
            None => lab::lab("--help", &[]).map(|()| true),
        },
        Command::Bench(rest) => lab::bench(&rest.arguments).map(|()| true),
        Command::Test => test::run(),
        Command::Fuzz { length, targets } => fuzz::run(&length, &targets),
        Command::Fresh { debian, only } => fresh::run(debian, only),
        Command::Kernel { image } => kernel::run(image),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build_ebpf(log: bool) -> Result<()> {
    setup::ensure(Set::Build)?;
    let object = if log {
        xtask::ebpf::build_one("lbd-xdp-log", "log")?
    } else {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target_dir = xtask::ebpf::target_dir_above(&own);
        let packages = [xtask::ebpf::DATA_PLANE];
        xtask::ebpf::build(&workspace, &target_dir, &packages)?.join("lbd-xdp")
    };
    println!("{}", object.display());
    Ok(())
}

/// Whether this process runs as root.
fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
