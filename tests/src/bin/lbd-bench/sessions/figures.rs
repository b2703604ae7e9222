//! Samples by contestant, way of sending and round, and the tables that come of them.
use super::{Sample, Way, contestants::DIRECT};
use crate::report::{Line, Spread, Table};

/// What a session is measured by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quantity {
    Rate,
    Cpu,
}

/// All samples: `of[line][column][round]`.
pub(super) struct Figures {
    names: Vec<String>,
    ways: Vec<&'static str>,
    of: Vec<Vec<Vec<Sample>>>,
}

impl Figures {
    pub(super) fn new(names: &[&str], ways: &[Way]) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ways: ways.iter().map(|way| way.name).collect(),
            of: vec![vec![Vec::new(); ways.len()]; names.len()],
        }
    }

    pub(super) fn add(&mut self, line: usize, column: usize, sample: Sample) {
        self.of[line][column].push(sample);
    }

    fn samples(&self, name: &str, column: usize) -> &[Sample] {
        let line = self.names.iter().position(|found| found == name);
        line.map_or(&[], |line| &self.of[line][column])
    }

    /// A figure of two contestants in each round.
    pub(super) fn paired(
        &self,
        column: usize,
        one: &str,
        other: &str,
        figure: impl Fn(&Sample, &Sample) -> f64,
    ) -> Vec<f64> {
        let pairs = self
            .samples(one, column)
            .iter()
            .zip(self.samples(other, column));
        pairs.map(|(one, other)| figure(one, other)).collect()
    }

    /// A figure of three contestants in each round.
    pub(super) fn paired3(
        &self,
        column: usize,
        one: &str,
        other: &str,
        third: &str,
        figure: impl Fn(&Sample, &Sample, &Sample) -> f64,
    ) -> Vec<f64> {
        let pairs = self
            .samples(one, column)
            .iter()
            .zip(self.samples(other, column));
        pairs
            .zip(self.samples(third, column))
            .map(|((one, other), third)| figure(one, other, third))
            .collect()
    }

    /// The tables; lines are compared to that of `reference`.
    pub(super) fn tables(&self, reference: &str) -> Vec<Table> {
        let reference = self.names.iter().position(|name| name == reference);
        vec![
            self.table("sessions/s", reference, |sample| sample.sessions_per_s),
            self.table("CPU ms a session", reference, |sample| sample.cpu_ms),
            self.relative("sessions/s to no balancer's", |sample| {
                sample.sessions_per_s
            }),
            self.relative("CPU to no balancer's", |sample| sample.cpu_ms),
            self.table("sent again, of 1,000 sessions", None, |sample| {
                sample.resent
            }),
        ]
    }

    fn table(
        &self,
        title: &str,
        reference: Option<usize>,
        quantity: impl Fn(&Sample) -> f64,
    ) -> Table {
        let cell = |samples: &Vec<Sample>| Spread::of(samples.iter().map(&quantity).collect());
        self.with(title, reference, |line, column| {
            cell(&self.of[line][column])
        })
    }

    /// Ratios within each round.
    fn relative(&self, title: &str, quantity: impl Fn(&Sample) -> f64) -> Table {
        self.with(title, None, |line, column| {
            let ratio = |one: &Sample, direct: &Sample| quantity(one) / quantity(direct);
            Spread::of(self.paired(column, &self.names[line], DIRECT, ratio))
        })
    }

    fn with(
        &self,
        title: &str,
        reference: Option<usize>,
        cell: impl Fn(usize, usize) -> Option<Spread>,
    ) -> Table {
        let lines = self.names.iter().enumerate().map(|(line, name)| Line {
            name: name.clone(),
            cells: (0..self.ways.len())
                .map(|column| cell(line, column))
                .collect(),
        });
        Table {
            title: title.to_owned(),
            columns: self.ways.iter().map(|way| (*way).to_owned()).collect(),
            lines: lines.collect(),
            reference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ways = &super::super::WAYS[..1];
        let mut figures = Figures::new(&["lbd", DIRECT], ways);
        for (lbd, direct) in [(50.0, 100.0), (5.0, 10.0), (80.0, 100.0)] {
            for (line, sessions_per_s) in [lbd, direct].into_iter().enumerate() {
                let sample = Sample {
                    sessions_per_s,
                    cpu_ms: 1.0,
                    resent: 0.0,
                };
                figures.add(line, 0, sample);
            }
        }
        let ratio = figures.relative("", |sample| sample.sessions_per_s);
        assert_eq!(ratio.median("lbd", ways[0].name), Some(0.5));
    }
}
