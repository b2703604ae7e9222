//! `lbd check`.
use std::path::Path;

/// Flags of `lbd check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check only the file, not whether this box has what it names.
    #[arg(long)]
    file_only: bool,
    /// Print the configuration as it is understood, with every default.
    #[arg(long)]
    print: bool,
}

pub(super) fn run(path: &Path, args: &Args) -> anyhow::Result<()> {
    let (config, of_this_box) = if args.file_only {
        (super::config_file::load(path)?, Vec::new())
    } else {
        super::config_file::load_for_this_box(path)?
    };
    for warning in config.warnings().iter().chain(&of_this_box) {
        eprintln!("{warning}");
    }
    if args.print {
        print!("{}", config.present());
    } else {
        println!("{} is fine", path.display());
    }
    Ok(())
}
