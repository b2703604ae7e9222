//! The report as an SVG picture.
use std::fmt::Write;

use super::report::{Report, Row};
use super::scenario::Scenario;
use crate::markup::escape;

const LABEL_WIDTH: f64 = 150.0;
const BAR_WIDTH: f64 = 430.0;
const BAR_HEIGHT: f64 = 18.0;
const WIDTH: f64 = 720.0;
const COLOURS: [&str; 6] = [
    "#9aa5b1", "#7b8794", "#8fb8de", "#e0a458", "#c9752d", "#2f855a",
];

/// Bars of the p99 slowdown with their confidence intervals, a group each scenario, on a
/// logarithmic scale that all groups share.
#[must_use]
pub fn svg(report: &Report, scenarios: &[Scenario]) -> String {
    let mut bars = String::new();
    let mut y = 50.0;
    let most = report
        .rows
        .iter()
        .map(|row| row.slowdown_p99.mean + row.slowdown_p99.half_width);
    let scale = Scale {
        decades: most.fold(10.0, f64::max).log10(),
    };
    for scenario in scenarios {
        let _ = writeln!(
            bars,
            "<text x=\"10\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
            y + 12.0,
            escape(&scenario.name)
        );
        let _ = writeln!(
            bars,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#52606d\" font-size=\"10\">{}</text>",
            LABEL_WIDTH + 10.0,
            y + 12.0,
            escape(&scenario.about)
        );
        y += 20.0;
        let rows = report
            .rows
            .iter()
            .filter(|row| row.scenario == scenario.name);
        for (i, row) in rows.enumerate() {
            bar(&mut bars, row, y, COLOURS[i % COLOURS.len()], &scale);
            y += BAR_HEIGHT + 3.0;
        }
        y += 14.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y:.0}\" \
         viewBox=\"0 0 {WIDTH} {y:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">99th percentile of a message's slowdown</text>\n\
         <text x=\"10\" y=\"38\" fill=\"#52606d\" font-size=\"10\">time until delivery over the time \
         on an idle ordinary box; logarithmic; mean and 95 % interval of {} seeds</text>\n{}{bars}</svg>\n",
        report.seeds,
        scale.grid(y)
    )
}

struct Scale {
    /// Powers of ten from the left end, which is 1, to the right end.
    decades: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LABEL_WIDTH + BAR_WIDTH * (value.max(1.0).log10() / self.decades).min(1.0)
    }

    fn grid(&self, height: f64) -> String {
        let mut lines = String::new();
        let mut value = 1.0_f64;
        while value.log10() <= self.decades {
            let x = self.x(value);
            let _ = writeln!(
                lines,
                "<line x1=\"{x:.1}\" y1=\"45\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#e4e7eb\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" fill=\"#9aa5b1\" font-size=\"9\" \
                 text-anchor=\"middle\">{value:.0}</text>",
                height - 12.0,
                height - 3.0
            );
            value *= 10.0;
        }
        lines
    }
}

fn bar(bars: &mut String, row: &Row, y: f64, colour: &str, scale: &Scale) {
    let estimate = row.slowdown_p99;
    let middle = y + BAR_HEIGHT / 2.0;
    let end = scale.x(estimate.mean);
    let low = scale.x(estimate.mean - estimate.half_width);
    let high = scale.x(estimate.mean + estimate.half_width);
    let flaps = match row.flaps {
        0 => String::new(),
        1 => ", 1 flap".to_owned(),
        flaps => format!(", {flaps} flaps"),
    };
    let _ = writeln!(
        bars,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LABEL_WIDTH}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>\
         <line x1=\"{low:.1}\" y1=\"{middle:.1}\" x2=\"{high:.1}\" y2=\"{middle:.1}\" stroke=\"#1f2933\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{:.2}{flaps}</text>",
        LABEL_WIDTH - 6.0,
        middle + 4.0,
        row.strategy.name(),
        (end - LABEL_WIDTH).max(1.0),
        high + 6.0,
        middle + 4.0,
        estimate.mean,
    );
}
