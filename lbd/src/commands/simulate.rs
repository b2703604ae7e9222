//! `lbd simulate`.
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::policy::Settings;
use crate::simulate::replay::Replay;
use crate::simulate::scenario::{NodeSpec, Retry, Scenario, Traffic};
use crate::simulate::scenarios::{self, Purpose};
use crate::simulate::{Options, Strategy, Trace, plot, postfix_log, render, run};

/// Flags of `lbd simulate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A scenario; repeat for several. Default: the seed's story and all that the policy is judged by
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// The scenarios that the policy's numbers were chosen with, instead
    #[arg(long, conflicts_with = "scenarios")]
    tuning: bool,
    /// List the scenarios and exit
    #[arg(long)]
    list: bool,
    /// Traffic from a CSV of `seconds,messages_per_second`, on ordinary boxes
    #[arg(long, value_name = "CSV", conflicts_with_all = ["scenarios", "tuning"])]
    trace: Option<PathBuf>,
    /// Recorded sessions from a CSV of `start,duration,bytes,rejected`, on ordinary boxes
    #[arg(long, value_name = "CSV", conflicts_with_all = ["scenarios", "tuning", "trace"])]
    sessions: Option<PathBuf>,
    /// Recorded sessions from Postfix's log, on ordinary boxes; `-` is standard input
    #[arg(long, value_name = "LOG",
        conflicts_with_all = ["scenarios", "tuning", "trace", "sessions"])]
    postfix_log: Option<PathBuf>,
    /// Write the sessions of `--postfix-log` as a CSV for `--sessions`, and exit
    #[arg(long, value_name = "CSV", requires = "postfix_log")]
    write_sessions: Option<PathBuf>,
    /// Boxes for `--trace`, `--sessions` and `--postfix-log`
    #[arg(long, value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    boxes: u16,
    /// A balancer; repeat for several. Default: all
    #[arg(long = "balancer", value_name = "NAME", value_enum)]
    strategies: Vec<Strategy>,
    /// How many seeds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Write a plot
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the simulator and prints its report.
pub fn command(args: &Args) -> anyhow::Result<ExitCode> {
    if args.list {
        for (purpose, title) in [
            (Purpose::Story, "why the seed's rule was written"),
            (Purpose::Evaluation, "what the policy is judged by"),
            (
                Purpose::Complaint,
                "and by what operators complain of, on real mail",
            ),
            (Purpose::Tuning, "what its numbers were chosen with"),
        ] {
            println!("{title}:");
            for scenario in scenarios::all(purpose) {
                println!("  {:<22} {}", scenario.name, scenario.about);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(from), Some(to)) = (&args.postfix_log, &args.write_sessions) {
        let replay =
            postfix_log::parse(&read(from)?).with_context(|| from.display().to_string())?;
        std::fs::write(to, replay.csv())
            .with_context(|| format!("the sessions could not be written to {}", to.display()))?;
        println!("{} sessions in {}", replay.sessions().len(), to.display());
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        scenarios: chosen(args)?,
        strategies: if args.strategies.is_empty() {
            Strategy::ALL.to_vec()
        } else {
            args.strategies.clone()
        },
        first_seed: args.first_seed,
        seeds: args.seeds,
        settings: Settings::default(),
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let report = run(&options);
    if let Some(path) = &args.svg {
        std::fs::write(path, plot::svg(&report, &options.scenarios))
            .with_context(|| format!("the plot could not be written to {}", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", render::table(&report, &options.scenarios));
    }
    Ok(ExitCode::SUCCESS)
}

/// A file, or standard input. A log has any bytes in it: what is no text is replaced.
fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.with_context(|| format!("{} could not be read", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn replayed(boxes: u16, path: &Path, replay: Replay) -> Scenario {
    Scenario {
        name: "sessions".to_owned(),
        about: format!(
            "{boxes} ordinary boxes, {} sessions of {}",
            replay.sessions().len(),
            path.display()
        ),
        duration_s: replay.end_s() + 60.0,
        nodes: vec![NodeSpec::ORDINARY; usize::from(boxes)],
        traffic: Traffic {
            retry: Retry::POSTFIX,
            replay: Some(replay),
            ..Traffic::ordinary(0.0)
        },
        events: Vec::new(),
    }
}

fn chosen(args: &Args) -> anyhow::Result<Vec<Scenario>> {
    if let Some(path) = &args.trace {
        let trace = Trace::parse(&read(path)?).with_context(|| path.display().to_string())?;
        return Ok(vec![Scenario {
            name: "trace".to_owned(),
            about: format!("{} ordinary boxes, rates of {}", args.boxes, path.display()),
            duration_s: (trace.end_s() + 60.0).max(300.0),
            nodes: vec![NodeSpec::ORDINARY; usize::from(args.boxes)],
            traffic: Traffic {
                trace: Some(trace),
                ..Traffic::ordinary(0.0)
            },
            events: Vec::new(),
        }]);
    }
    if let Some(path) = &args.sessions {
        let replay = Replay::parse(&read(path)?).with_context(|| path.display().to_string())?;
        return Ok(vec![replayed(args.boxes, path, replay)]);
    }
    if let Some(path) = &args.postfix_log {
        let replay =
            postfix_log::parse(&read(path)?).with_context(|| path.display().to_string())?;
        return Ok(vec![replayed(args.boxes, path, replay)]);
    }
    if args.tuning {
        return Ok(scenarios::all(Purpose::Tuning));
    }
    if args.scenarios.is_empty() {
        let mut scenarios = scenarios::all(Purpose::Story);
        scenarios.extend(scenarios::all(Purpose::Evaluation));
        scenarios.extend(scenarios::all(Purpose::Complaint));
        return Ok(scenarios);
    }
    let named = |name: &String| {
        let Some(scenario) = scenarios::named(name) else {
            bail!("no scenario is called \"{name}\"; `lbd simulate --list` names them");
        };
        Ok(scenario)
    };
    args.scenarios.iter().map(named).collect()
}
