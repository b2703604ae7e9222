//! Benchmarks: lbd compared with what people use today, in one run.
//!
//! Single times on a shared machine mean little, so contestants take turns, rounds are repeated, and
//! what counts is the ratio of medians from one run.
mod balance;
mod box_death;
mod control;
mod failover;
mod live;
mod machine;
mod memory;
mod packet;
mod report;
mod rig;
mod rivals;
mod sessions;
mod soak;
mod sockets;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use lbd_tests::duration;

use report::Section;

/// lbd compared with what people use today, in one run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
struct Args {
    /// Which benchmarks: all but those marked "by name only" when none is named. `failover` is also
    /// `failover-boxes`.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// One short round of each: whether it works, and no figures to keep.
    #[arg(long)]
    quick: bool,
    /// How long `soak` lasts: 10m, 8h.
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, default_value = "1h")]
    length: Duration,
    /// Another build of the XDP program for `packet` to compare with, as `cargo xtask build-ebpf`
    /// prints its path in a checkout of another commit.
    #[arg(long, value_name = "OBJECT")]
    against: Option<PathBuf>,
    /// Of `failover`, `failover-boxes` and `packet` only the contestants in whose name this is. The report
    /// stays as it is.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Of `packet`, only the columns in whose heading this is. Likewise.
    #[arg(long, value_name = "TEXT")]
    column: Option<String>,
    /// Also write the figures here, for programs.
    #[arg(long, value_name = "F")]
    json: Option<PathBuf>,
    /// The report that is brought up to date.
    #[arg(long, value_name = "F", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/BENCH.md"))]
    report: PathBuf,
}

/// A benchmark by name.
struct Bench {
    name: &'static str,
    about: &'static str,
    by_name_only: bool,
    run: fn(&Options) -> Result<Section>,
}

/// How to measure.
#[derive(Debug)]
struct Options {
    pace: Pace,
    /// Of a benchmark without an end of its own.
    length: Duration,
    /// Another build of the XDP program.
    against: Option<Vec<u8>>,
    /// Contestants with this in their name, where some can be left out.
    only: Option<String>,
    /// Columns with this in their heading, likewise.
    column: Option<String>,
}

impl Options {
    /// Whether a contestant takes part.
    fn takes(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// Whether a column does.
    fn takes_column(&self, heading: &str) -> bool {
        let column = self.column.as_deref();
        column.is_none_or(|column| heading.contains(column))
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pace {
    /// Enough rounds for figures.
    Full,
    /// One round, to see that it works.
    Quick,
}

impl Pace {
    /// How many rounds, of so many.
    fn rounds(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => 1,
        }
    }
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "packet",
        about: "nanoseconds a packet, compared with the least that XDP can do",
        by_name_only: false,
        run: packet::run,
    },
    Bench {
        name: "sockets",
        about: "the kernel's word on the box's own sessions, told and not told",
        by_name_only: false,
        run: |options| sockets::run(options.pace),
    },
    Bench {
        name: "live",
        about: "frames through a real interface on one core, compared with nftables",
        by_name_only: false,
        run: |options| live::run(options.pace),
    },
    Bench {
        name: "sessions",
        about: "whole SMTP sessions, compared with nftables and HAProxy",
        by_name_only: false,
        run: |options| sessions::run(options.pace),
    },
    Bench {
        name: "failover",
        about: "the master is cut off and comes back, compared with keepalived and nftables",
        by_name_only: false,
        run: failover::run,
    },
    Bench {
        name: "failover-boxes",
        about: "a box that is director and mail server dies, beside keepalived with nftables",
        by_name_only: false,
        run: box_death::run,
    },
    Bench {
        name: "balance",
        about: "one mail server of three in trouble, compared with HAProxy and nftables",
        by_name_only: false,
        run: |options| balance::run(options.pace),
    },
    Bench {
        name: "control",
        about: "what the daemon does, and how it grows",
        by_name_only: false,
        run: |options| control::run(options.pace),
    },
    Bench {
        name: "memory",
        about: "bytes a flow, a backend and a list entry",
        by_name_only: false,
        run: |_| memory::run(),
    },
    Bench {
        name: "soak",
        about: "mixed sessions through kills, restarts, reloads and drains",
        by_name_only: true,
        run: soak::run,
    },
];

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lbd-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut sections = Vec::new();
    let options = Options {
        pace: if args.quick { Pace::Quick } else { Pace::Full },
        length: args.length,
        against: args.against.as_deref().map(object).transpose()?,
        only: args.only.clone(),
        column: args.column.clone(),
    };
    let is_whole = options.only.is_none() && options.column.is_none();
    for bench in chosen(&args.names)? {
        eprintln!("{}: {}", bench.name, bench.about);
        let section = alone(|| (bench.run)(&options)).context(bench.name)?;
        println!("{}", section.text());
        // At once: what was measured is there also when a later one is interrupted.
        if options.pace == Pace::Full && is_whole {
            report::write(&args.report, std::slice::from_ref(&section))?;
        }
        sections.push(section);
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&sections)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn object(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Runs a benchmark on a thread of its own. Some bind theirs to one CPU, and what is started from it
/// would inherit that: whole clusters of the next benchmark.
fn alone(run: impl FnOnce() -> Result<Section> + Send) -> Result<Section> {
    let ended = thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|_| bail!("it panicked"))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Bench>> {
    // A part of a benchmark, `failover-boxes`, is meant by the whole's name too.
    let is_named = |bench: &Bench, name: &str| {
        let rest = bench.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    for name in names {
        if !BENCHES.iter().any(|bench| is_named(bench, name)) {
            let known: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
            bail!(
                "no benchmark is called {name}; there are {}",
                known.join(", ")
            );
        }
    }
    Ok(BENCHES
        .iter()
        .filter(|bench| {
            if names.is_empty() {
                !bench.by_name_only
            } else {
                names.iter().any(|name| is_named(bench, name))
            }
        })
        .collect())
}
