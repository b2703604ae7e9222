//! The report as a table.
use std::fmt::Write;

use super::report::{Report, Row};
use super::scenario::Scenario;
use super::statistics::{Estimate, Ratio};

/// A table a scenario, with a sentence of what it is.
#[must_use]
pub fn table(report: &Report, scenarios: &[Scenario]) -> String {
    let mut text = String::new();
    for scenario in scenarios {
        let rows = report
            .rows
            .iter()
            .filter(|row| row.scenario == scenario.name);
        let _ = writeln!(text, "{}: {}", scenario.name, scenario.about);
        let _ = writeln!(
            text,
            "  {:<19} {:>7} {:>15} {:>20} {:>20} {:>14} {:>6} {:>15} {:>8} {:>9} {:>6}",
            "",
            "p50",
            "p99 slowdown",
            "p99 to seed's",
            "to queue-aware's",
            "most sessions",
            "idle",
            "longest queue",
            "retried",
            "shut off",
            "flaps"
        );
        for row in rows {
            line(&mut text, row);
        }
        text.push('\n');
    }
    let last = report
        .first_seed
        .saturating_add(report.seeds)
        .saturating_sub(1);
    let _ = writeln!(
        text,
        "Seeds {} to {last}; mean and 95 % confidence interval over seeds.\n\
         slowdown: time until delivery over the time on an idle ordinary box.\n\
         p99 to seed's: p99 over that of the seed's rule over round robin, same mail, geometric mean.\n\
         to queue-aware's: the same over lbd's default.\n\
         queue term: queues count in the choice itself; not in lbd's program yet.\n\
         oracle: no balancer; it knows every queue at the moment, and not who fails sessions.\n\
         idle: boxes below a tenth of the busiest, while that holds more than 200 connections.\n\
         flaps: a box shut off again within 2 minutes after its return, all seeds together.",
        report.first_seed
    );
    text
}

fn line(text: &mut String, row: &Row) {
    let _ = writeln!(
        text,
        "  {:<19} {:>7.2} {:>15} {:>20} {:>20} {:>14} {:>5.0}% {:>15} {:>7.1}‰ {:>9} {:>6}",
        row.strategy.name(),
        row.slowdown_p50.mean,
        plus_minus(row.slowdown_p99, 2),
        ratio(row.p99_to_seed),
        ratio(row.p99_to_queue_aware),
        plus_minus(row.busiest_sessions, 0),
        100.0 * row.idle_part.mean,
        plus_minus(row.longest_queue, 0),
        row.retried_permille.mean,
        row.shut_offs,
        row.flaps,
    );
}

fn plus_minus(estimate: Estimate, digits: usize) -> String {
    format!(
        "{:.digits$} ± {:.digits$}",
        estimate.mean, estimate.half_width
    )
}

fn ratio(ratio: Option<Ratio>) -> String {
    match ratio {
        Some(ratio) => format!("{:.3} ({:.3}-{:.3})", ratio.mean, ratio.low, ratio.high),
        None => "-".to_owned(),
    }
}
