//! `lbd simulate`.
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::policy::Settings;
use crate::simulate::scenario::{NodeSpec, Scenario, Traffic};
use crate::simulate::scenarios::{self, Purpose};
use crate::simulate::{Options, Strategy, Trace, plot, render, run};

/// Flags of `lbd simulate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A scenario, more than once for several; default: the seed's story and all that the policy
    /// is judged by
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// The scenarios that the policy's numbers were chosen with, instead
    #[arg(long, conflicts_with = "scenarios")]
    tuning: bool,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// Traffic from a CSV of `seconds,messages_per_second`, on ordinary boxes
    #[arg(long, value_name = "CSV", conflicts_with_all = ["scenarios", "tuning"])]
    trace: Option<PathBuf>,
    /// Boxes for `--trace`
    #[arg(long, value_name = "N", default_value_t = 8, requires = "trace",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    boxes: u16,
    /// A balancer, more than once for several; default: all
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
            (Purpose::Tuning, "what its numbers were chosen with"),
        ] {
            println!("{title}:");
            for scenario in scenarios::all(purpose) {
                println!("  {:<22} {}", scenario.name, scenario.about);
            }
        }
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

fn chosen(args: &Args) -> anyhow::Result<Vec<Scenario>> {
    if let Some(path) = &args.trace {
        let csv = std::fs::read_to_string(path)
            .with_context(|| format!("the trace {} could not be read", path.display()))?;
        let trace = Trace::parse(&csv).with_context(|| path.display().to_string())?;
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
    if args.tuning {
        return Ok(scenarios::all(Purpose::Tuning));
    }
    if args.scenarios.is_empty() {
        let mut scenarios = scenarios::all(Purpose::Story);
        scenarios.extend(scenarios::all(Purpose::Evaluation));
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
