//! Plots as inline SVG. They have shapes only and are stretched to the page's width; all text is HTML
//! next to them, so that it is read on a phone as on a desk.
use std::fmt::Write as _;

use crate::{
    markup::escape,
    report::{Day, Failover, Report},
};

/// Backends with a colour of their own; the others are one more.
pub(super) const COLOURS: usize = 7;
/// Of a plot's drawing; how large it is shown is the page's.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// A layer of a stack: its name, and a value for each step; nothing where nothing is known.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) values: Vec<Option<u64>>,
}

/// The backends with most sessions, each a layer, and one for the rest.
pub(super) fn layers(
    report: &Report,
    pick: impl Fn(&crate::report::BackendSeries) -> &Vec<Option<u64>>,
) -> Vec<Layer> {
    let all = &report.series.backends;
    let own = if all.len() > COLOURS + 1 {
        COLOURS
    } else {
        all.len()
    };
    let mut layers: Vec<Layer> = all[..own]
        .iter()
        .map(|backend| Layer {
            name: backend.name.clone(),
            values: pick(backend).clone(),
        })
        .collect();
    if own < all.len() {
        let sum = |step: usize| {
            let known = all[own..].iter().filter_map(|backend| pick(backend)[step]);
            known.fold(None, |sum: Option<u64>, value| {
                Some(sum.unwrap_or(0) + value)
            })
        };
        layers.push(Layer {
            name: format!("{} others", all.len() - own),
            values: (0..report.series.times_unix_s.len()).map(sum).collect(),
        });
    }
    layers
}

/// The highest a stack gets.
pub(super) fn top(layers: &[Layer]) -> u64 {
    let steps = layers.first().map_or(0, |layer| layer.values.len());
    (0..steps)
        .map(|step| layers.iter().filter_map(|layer| layer.values[step]).sum())
        .max()
        .unwrap_or(0)
}

fn float(number: u64) -> f64 {
    // Beyond 32 bits a plot needs no exact figure.
    u32::try_from(number).map_or_else(|_| f64::from(u32::MAX), f64::from)
}

fn x_of(unix_s: u64, day: &Day) -> f64 {
    let passed = unix_s.clamp(day.begin_unix_s, day.end_unix_s) - day.begin_unix_s;
    WIDTH * float(passed) / float((day.end_unix_s - day.begin_unix_s).max(1))
}

fn open(svg: &mut String, class: &str, height: f64, label: &str) {
    let _ = write!(
        svg,
        "<svg class=\"{class}\" viewBox=\"0 0 {WIDTH} {height}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{}\">",
        escape(label)
    );
}

/// Layers upon each other as steps, with the moments when mastership moved and the spans without
/// figures.
pub(super) fn stack(report: &Report, day: &Day, layers: &[Layer], label: &str) -> String {
    let mut svg = String::new();
    open(&mut svg, "plot", HEIGHT, label);
    for gap in &report.gaps {
        let (from, to) = (x_of(gap.from_unix_s, day), x_of(gap.to_unix_s, day));
        let _ = write!(
            svg,
            "<rect class=\"gap\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{HEIGHT}\"/>",
            to - from
        );
    }
    for quarter in 1..4 {
        let y = HEIGHT * f64::from(quarter) / 4.0;
        let _ = write!(svg, "<path class=\"grid\" d=\"M0 {y}H{WIDTH}\"/>");
    }
    let top = top(layers).max(1);
    let steps = report.series.times_unix_s.len();
    let step_width =
        WIDTH * float(report.series.step_s) / float((day.end_unix_s - day.begin_unix_s).max(1));
    // In whole steps and thousandths of the height, which take the fewest characters.
    let _ = write!(svg, "<g transform=\"scale({step_width:.4},.1)\">");
    let mut below = vec![0_u64; steps];
    for (index, layer) in layers.iter().enumerate() {
        let path = band(&layer.values, &mut below, top);
        if !path.is_empty() {
            let _ = write!(svg, "<path class=\"c{index}\" d=\"{path}\"/>");
        }
    }
    svg.push_str("</g>");
    for (first, more) in moves(report) {
        let x = x_of(first.unix_s, day);
        let more = match more {
            0 => String::new(),
            more => format!(", and {more} more in ten minutes"),
        };
        let _ = write!(
            svg,
            "<path class=\"moved\" d=\"M{x:.1} 0V{HEIGHT}\"><title>{} after {}, {}{more}</title></path>",
            escape(&first.to),
            escape(&first.from),
            day.clock_s(first.unix_s)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A layer's outline: its heads from left to right and its feet back, for each run of steps in which
/// there is something of it. `below` grows by it.
fn band(values: &[Option<u64>], below: &mut [u64], top: u64) -> String {
    const FOOT: u64 = 1000;
    let down = |sum: u64| {
        let up = u128::from(sum) * u128::from(FOOT) / u128::from(top);
        FOOT.saturating_sub(u64::try_from(up).unwrap_or(FOOT))
    };
    let mut path = String::new();
    let mut step = 0;
    for run in values.chunk_by(|a, b| (a.unwrap_or(0) > 0) == (b.unwrap_or(0) > 0)) {
        let begin = step;
        step += run.len();
        if run[0].unwrap_or(0) == 0 {
            continue;
        }
        let feet = &mut below[begin..step];
        let mut back: Vec<u64> = feet.iter().map(|sum| down(*sum)).collect();
        let heads = feet.iter_mut().zip(run).map(|(sum, value)| {
            *sum += value.unwrap_or(0);
            down(*sum)
        });
        let heads: Vec<u64> = heads.collect();
        let _ = write!(path, "M{begin} {}", back[0]);
        stairs(&mut path, &heads, "");
        back.reverse();
        stairs(&mut path, &back, "-");
        path.push('z');
    }
    path
}

/// A line at these heights, each a step wide, to the right or (`-`) to the left.
fn stairs(path: &mut String, heights: &[u64], sign: &str) {
    for level in heights.chunk_by(|a, b| a == b) {
        let _ = write!(path, "V{}h{sign}{}", level[0], level.len());
    }
}

/// The moments when mastership moved, and how often it did so again within a step after each: lines
/// next to each other would hide the plot.
fn moves(report: &Report) -> Vec<(&Failover, usize)> {
    let mut moves: Vec<(&Failover, usize)> = Vec::new();
    for failover in report.failovers.iter().filter(|one| one.from != one.to) {
        match moves.last_mut() {
            Some((first, more)) if failover.unix_s < first.unix_s + report.series.step_s => {
                *more += 1;
            }
            _ => moves.push((failover, 0)),
        }
    }
    moves
}

/// One backend's sessions over the day, small.
pub(super) fn spark(values: &[Option<u64>], off_s: &[Option<u64>], label: &str) -> String {
    /// Half a pixel each, as large as it is shown.
    const HEIGHT: u64 = 40;
    let mut svg = format!(
        "<svg class=\"spark\" viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{}\">",
        values.len().max(1),
        escape(label)
    );
    let mut shut = String::new();
    let mut step = 0;
    for run in off_s.chunk_by(|a, b| (a.unwrap_or(0) > 0) == (b.unwrap_or(0) > 0)) {
        if run[0].unwrap_or(0) > 0 {
            let _ = write!(shut, "M{step} 0h{0}v{HEIGHT}h-{0}z", run.len());
        }
        step += run.len();
    }
    if !shut.is_empty() {
        let _ = write!(svg, "<path class=\"shut\" d=\"{shut}\"/>");
    }
    // Something is never as low as nothing.
    let top = values.iter().flatten().copied().max().unwrap_or(0).max(1);
    let down = |value: &Option<u64>| match value.unwrap_or(0) {
        0 => HEIGHT,
        value => {
            let up = u128::from(value) * u128::from(HEIGHT - 2) / u128::from(top);
            HEIGHT - u64::try_from(up).unwrap_or(HEIGHT).clamp(1, HEIGHT)
        }
    };
    let heights: Vec<u64> = values.iter().map(down).collect();
    if heights.iter().any(|height| *height < HEIGHT) {
        let mut path = format!("M0 {HEIGHT}");
        stairs(&mut path, &heights, "");
        let _ = write!(svg, "<path class=\"c0\" d=\"{path}V{HEIGHT}z\"/>");
    }
    svg.push_str("</svg>");
    svg
}

/// A span on a strip.
pub(super) struct Mark {
    pub(super) from_unix_s: u64,
    pub(super) to_unix_s: u64,
    pub(super) class: String,
    pub(super) title: String,
}

/// The day as a strip with marks on it.
pub(super) fn strip(day: &Day, marks: &[Mark], label: &str) -> String {
    let mut svg = String::new();
    open(&mut svg, "strip", 10.0, label);
    let _ = write!(
        svg,
        "<rect class=\"empty\" x=\"0\" y=\"0\" width=\"{WIDTH}\" height=\"10\"/>"
    );
    for mark in marks {
        let (from, to) = (x_of(mark.from_unix_s, day), x_of(mark.to_unix_s, day));
        // A minute would be less than a pixel on a phone.
        let width = (to - from).max(2.5);
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{:.1}\" y=\"0\" width=\"{width:.1}\" height=\"10\"><title>{}</title></rect>",
            mark.class,
            from.min(WIDTH - width),
            escape(&mark.title)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The busiest backend of each hour against its share: 100 is balance and the middle line.
pub(super) fn balance(report: &Report) -> String {
    const MOST: f64 = 200.0;
    let mut svg = String::new();
    let worst = report.hours.iter().filter_map(|hour| hour.busiest_percent);
    let worst = worst.fold(0.0, f64::max);
    let label =
        format!("Sessions of the busiest backend in percent of its share; highest {worst:.0}");
    open(&mut svg, "plot low", HEIGHT, &label);
    let width = WIDTH / float(report.hours.len().max(1) as u64);
    for (index, hour) in report.hours.iter().enumerate() {
        let Some(percent) = hour.busiest_percent else {
            continue;
        };
        let height = HEIGHT * percent.min(MOST) / MOST;
        let class = match percent {
            0.0..=110.0 => "good",
            110.0..=150.0 => "warn",
            _ => "bad",
        };
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
             <title>{percent:.0} % {}</title></rect>",
            width * float(index as u64) + width * 0.1,
            HEIGHT - height,
            width * 0.8,
            escape(hour.busiest.as_deref().unwrap_or_default())
        );
    }
    let _ = write!(
        svg,
        "<path class=\"even\" d=\"M0 {0}H{WIDTH}\"/></svg>",
        HEIGHT / 2.0
    );
    svg
}
