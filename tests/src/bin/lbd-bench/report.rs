//! Tables of figures: on the terminal, as Markdown and as JSON.
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::machine;

/// Samples of one quantity.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without a sample.
    pub(crate) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Self {
            median: *samples.get(samples.len() / 2)?,
            min: *samples.first()?,
            max: *samples.last()?,
        })
    }
}

/// What one benchmark found.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// How it was measured.
    pub(crate) method: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) goals: Vec<Goal>,
}

/// Lines of contestants, columns of quantities.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) lines: Vec<Line>,
    /// The line that the others are divided by, when ratios are printed.
    pub(crate) reference: Option<usize>,
}

/// A contestant.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// `None` where it does not take part.
    pub(crate) cells: Vec<Option<Spread>>,
}

/// A ratio that lbd is measured by.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) ratio: f64,
    pub(crate) bound: Bound,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn text(&self) -> String {
        let (met, bound) = match self.bound {
            Bound::AtMost(most) => (self.ratio <= most, format!("at most {most}")),
            Bound::AtLeast(least) => (self.ratio >= least, format!("at least {least}")),
        };
        let met = if met { "met" } else { "NOT met" };
        format!("{}: {:.2} ({bound}: {met})", self.what, self.ratio)
    }
}

impl Table {
    /// A figure by the names of its line and column.
    pub(crate) fn median(&self, line: &str, column: &str) -> Option<f64> {
        Some(self.spread(line, column)?.median)
    }

    /// The highest of a line and column, by their names.
    pub(crate) fn worst(&self, line: &str, column: &str) -> Option<f64> {
        Some(self.spread(line, column)?.max)
    }

    fn spread(&self, line: &str, column: &str) -> Option<Spread> {
        let column = self.columns.iter().position(|name| name == column)?;
        let line = self.lines.iter().find(|found| found.name == line)?;
        *line.cells.get(column)?
    }

    fn cell(&self, line: usize, column: usize) -> String {
        let Some(spread) = self.lines[line].cells.get(column).copied().flatten() else {
            return "-".to_owned();
        };
        let ratio = self
            .reference
            .filter(|reference| *reference != line)
            .and_then(|reference| self.lines[reference].cells.get(column).copied().flatten())
            .filter(|reference| reference.median > 0.0)
            .map(|reference| format!(" = {:.2}x", spread.median / reference.median))
            .unwrap_or_default();
        format!(
            "{} ({}-{}){ratio}",
            short(spread.median),
            short(spread.min),
            short(spread.max)
        )
    }

    fn text(&self, separator: &str, edge: &str) -> String {
        let mut grid = vec![vec![self.title.clone()]];
        grid[0].extend(self.columns.iter().cloned());
        for (index, line) in self.lines.iter().enumerate() {
            let mut row = vec![line.name.clone()];
            row.extend((0..self.columns.len()).map(|column| self.cell(index, column)));
            grid.push(row);
        }
        let width = |column: usize| grid.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();
        let mut text = String::new();
        for (index, row) in grid.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            let _ = writeln!(text, "{edge}{}{edge}", cells.join(separator));
            if index == 0 && !edge.is_empty() {
                let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                let _ = writeln!(text, "{edge}{}{edge}", rule.join(separator));
            }
        }
        text
    }
}

/// Three significant digits.
fn short(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

impl Section {
    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        self.write("  ", "")
    }

    fn markdown(&self) -> String {
        self.write(" | ", "|")
    }

    fn write(&self, separator: &str, edge: &str) -> String {
        let mut text = format!("## {}\n\n{}\n", self.name, self.method);
        for table in &self.tables {
            let _ = write!(text, "\n{}", table.text(separator, edge));
        }
        if !self.goals.is_empty() {
            text.push('\n');
        }
        for goal in &self.goals {
            let _ = writeln!(text, "- {}", goal.text());
        }
        text
    }
}

const HEAD: &str = "# Benchmarks\n\nWritten by `cargo xtask bench`. A cell is the median (lowest-highest), \
and how many times lbd's own figure it is.\nA time says much about this machine and little about \
another; a ratio from one run says more.\n";

/// Brings the sections of a report up to date and leaves the others.
pub(crate) fn write(path: &Path, sections: &[Section]) -> Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    for part in old.split("\n## ").skip(1) {
        let name = part.lines().next().unwrap_or_default().to_owned();
        parts.insert(name, format!("## {}\n", part.trim_end()));
    }
    for section in sections {
        let text = section.markdown();
        let measured = format!("\nMeasured on {}.\n", machine::describe());
        parts.insert(section.name.to_owned(), text + &measured);
    }
    let mut text = HEAD.to_owned();
    for name in order(&parts) {
        let _ = write!(text, "\n{}", parts[&name]);
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The order of the benchmarks, then names that are none any more.
fn order(parts: &BTreeMap<String, String>) -> Vec<String> {
    let rank = |name: &String| {
        crate::BENCHES
            .iter()
            .position(|bench| bench.name == name)
            .unwrap_or(usize::MAX)
    };
    let mut names: Vec<String> = parts.keys().cloned().collect();
    names.sort_by_key(rank);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let line = |name: &str, value| Line {
            name: name.to_owned(),
            cells: vec![Spread::of(vec![value, value * 2.0, value / 2.0]), None],
        };
        Table {
            title: "ns".to_owned(),
            columns: vec!["open".to_owned(), "new".to_owned()],
            lines: vec![line("floor", 50.0), line("lbd", 100.0)],
            reference: Some(1),
        }
    }

    #[test]
    fn a_cell_has_the_median_the_spread_and_the_ratio_to_lbd() {
        let table = table();
        assert_eq!(table.cell(0, 0), "50.0 (25.0-100) = 0.50x");
        assert_eq!(table.cell(1, 0), "100 (50.0-200)");
        assert_eq!(table.cell(0, 1), "-");
        assert_eq!(table.median("lbd", "open"), Some(100.0));
        assert_eq!(table.worst("lbd", "open"), Some(200.0));
        assert_eq!(table.median("lbd", "new"), None);
    }

    #[test]
    fn a_report_keeps_what_was_not_measured_again() -> Result<()> {
        let path = tempfile::NamedTempFile::new()?.into_temp_path();
        let section = |name, ratio| Section {
            name,
            method: "By hand.".to_owned(),
            tables: vec![table()],
            goals: vec![Goal {
                what: "ours / theirs".to_owned(),
                ratio,
                bound: Bound::AtMost(1.0),
            }],
        };
        write(&path, &[section("packet", 0.5), section("gone", 0.25)])?;
        write(&path, &[section("packet", 1.5)])?;
        let text = fs::read_to_string(&path)?;
        assert!(text.contains("1.50 (at most 1: NOT met)"), "{text}");
        assert!(!text.contains("0.50 (at most 1: met)"), "{text}");
        assert!(text.contains("0.25 (at most 1: met)"), "{text}");
        assert!(text.find("## packet") < text.find("## gone"), "{text}");
        Ok(())
    }
}
