//! What the test runners report, summed.
use std::{
    cmp::Reverse,
    fmt::{self, Write as _},
    time::Duration,
};

use xtask::programs::{self, Program};

/// Programs that are told of as the slowest.
const SLOWEST: usize = 10;
/// Names of tests that are told of one reason.
const MOST_NAMES: usize = 12;

/// Counts of tests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// As the runners count: with those that returned because they cannot run here.
    ok: u64,
    failed: u64,
    returned_early: u64,
    skipped: Vec<Skipped>,
    /// How long each step took, and each program of the longest step.
    steps: Vec<(String, Duration)>,
    programs: Vec<(String, Duration)>,
    /// Programs that failed next to another one and ran again alone.
    again: Vec<String>,
}

/// Tests of one step that were skipped for one reason.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Skipped {
    step: String,
    reason: Reason,
    count: u64,
    /// Their names, where they told them.
    names: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Reason {
    OnlyByName,
    /// For want of that: a program of the table, or something else.
    Needs(String),
}

impl Outcome {
    /// Takes in a line that the runner of a step printed.
    ///
    /// libtest closes each program with `test result: ok. 3 passed; 0 failed; 1 ignored; ...`. A
    /// test that finds out while it runs that it cannot run here prints `skipped: NAME needs WHAT`
    /// and returns; libtest counts it as passed, so it is taken from those. What stands behind a
    /// comma in WHAT explains it.
    pub(crate) fn take(&mut self, step: &str, line: &str) {
        if let Some(counts) = line.trim_start().strip_prefix("test result: ") {
            for part in counts.split(['.', ';']) {
                let mut words = part.split_whitespace();
                let (Some(count), Some(what)) = (words.next(), words.next()) else {
                    continue;
                };
                let count = count.parse().unwrap_or(0);
                match what {
                    "passed" => self.ok += count,
                    "failed" => self.failed += count,
                    "ignored" => self.skip(step, Reason::OnlyByName, count, None),
                    _ => {}
                }
            }
        } else if let Some((name, needs)) = line
            .strip_prefix("skipped: ")
            .and_then(|rest| rest.split_once(" needs "))
        {
            let reason = needs.split(',').next().unwrap_or(needs).trim();
            self.returned_early += 1;
            self.skip(step, Reason::Needs(reason.to_owned()), 1, Some(name));
        }
    }

    /// A step failed that reports no tests.
    pub(crate) fn fail(&mut self) {
        self.failed += 1;
    }

    /// A whole step cannot run here, for want of something.
    pub(crate) fn skip_step(&mut self, step: &str, needs: &str) {
        self.skip(step, Reason::Needs(needs.to_owned()), 1, None);
    }

    /// Takes in what a step counted on its own.
    pub(crate) fn join(&mut self, other: Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.returned_early += other.returned_early;
        self.skipped.extend(other.skipped);
    }

    /// A program of tests took so long.
    pub(crate) fn took(&mut self, program: &str, time: Duration) {
        self.programs.push((program.to_owned(), time));
    }

    /// A program failed next to another one, and runs again alone; only that counts.
    pub(crate) fn again(&mut self, program: &str) {
        self.again.push(program.to_owned());
    }

    /// A step took so long.
    pub(crate) fn step_took(&mut self, step: &str, time: Duration) {
        self.steps.push((step.to_owned(), time));
    }

    /// Where the time went, in two sentences.
    pub(crate) fn times(&self) -> String {
        let list = |times: &[(String, Duration)]| {
            let each = times
                .iter()
                .map(|(name, time)| format!("{name} {:.0} s", time.as_secs_f64()));
            each.collect::<Vec<_>>().join(", ")
        };
        let mut slowest = self.programs.clone();
        slowest.sort_by_key(|(_, time)| Reverse(*time));
        slowest.truncate(SLOWEST);
        let total = self.steps.iter().map(|(_, time)| *time).sum::<Duration>();
        let mut text = format!("{:.0} s: {}.", total.as_secs_f64(), list(&self.steps));
        if !slowest.is_empty() {
            let _ = write!(text, "\nSlowest: {}.", list(&slowest));
        }
        if !self.again.is_empty() {
            let names = self.again.join(", ");
            let _ = write!(
                text,
                "\nFailed next to another program and ran again alone: {names}."
            );
        }
        text
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    fn passed(&self) -> u64 {
        self.ok.saturating_sub(self.returned_early)
    }

    fn skipped(&self) -> u64 {
        self.skipped.iter().map(|skipped| skipped.count).sum()
    }

    fn skip(&mut self, step: &str, reason: Reason, count: u64, name: Option<&str>) {
        let same = |known: &&mut Skipped| known.step == step && known.reason == reason;
        if let Some(known) = self.skipped.iter_mut().find(same) {
            known.count += count;
            known.names.extend(name.map(str::to_owned));
        } else if count > 0 {
            self.skipped.push(Skipped {
                step: step.to_owned(),
                reason,
                count,
                names: name.map(str::to_owned).into_iter().collect(),
            });
        }
    }

    /// Which tests were skipped, why, and the one command that adds what they need, a sentence a line;
    /// `None` when none was.
    pub(crate) fn why_skipped(&self) -> Option<String> {
        let mut lines: Vec<String> = self.skipped.iter().map(Skipped::sentence).collect();
        let needed: Vec<&Program> = self
            .skipped
            .iter()
            .filter_map(|skipped| match &skipped.reason {
                Reason::Needs(what) => programs::named(what),
                Reason::OnlyByName => None,
            })
            .collect();
        let mut packages: Vec<&str> = needed.iter().filter_map(|p| p.package()).collect();
        packages.sort_unstable();
        packages.dedup();
        let mut commands: Vec<String> = needed
            .iter()
            .filter(|program| program.package().is_none())
            .filter_map(|program| program.added_by())
            .collect();
        if !packages.is_empty() {
            let packages = packages.join(" ");
            commands.push(format!(
                "apt-get install --no-install-recommends {packages}"
            ));
        }
        if !commands.is_empty() {
            let commands = commands.join(" && ");
            lines.push(format!("`{commands}` adds what they need."));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl Skipped {
    fn sentence(&self) -> String {
        let (were, each) = if self.count == 1 {
            ("was", "it")
        } else {
            ("were", "each")
        };
        let reason = match &self.reason {
            Reason::OnlyByName => "is only run by name".to_owned(),
            Reason::Needs(what) => format!("needs {what}"),
        };
        // Without root it is nearly all of them.
        let names = if self.names.is_empty() || self.names.len() > MOST_NAMES {
            String::new()
        } else {
            format!(": {}", self.names.join(", "))
        };
        let (count, step) = (self.count, &self.step);
        format!("{count} of the {step} {were} skipped: {each} {reason}{names}.")
    }
}

/// The closing line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed, skipped) = (self.passed(), self.failed, self.skipped());
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Outcome {
        let mut outcome = Outcome::default();
        lines.lines().for_each(|line| outcome.take("tests", line));
        outcome
    }

    #[test]
    fn the_results_of_all_programs_are_summed() {
        let outcome = of("running 3 tests\n\
             test result: ok. 37 passed; 0 failed; 0 ignored; 0 measured; 57 filtered out; finished in 1.77s\n\
             test result: FAILED. 1 passed; 2 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s\n");
        assert_eq!(outcome.to_string(), "38 passed, 2 failed, 3 skipped");
        let why = outcome.why_skipped().unwrap();
        assert_eq!(
            why,
            "3 of the tests were skipped: each is only run by name."
        );
    }

    #[test]
    fn a_step_that_counted_on_its_own_is_part_of_the_sum() {
        let lines = "skipped: a needs root, to load XDP\n\
             test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        let mut outcome = of(lines);
        outcome.join(of(lines));
        assert_eq!(outcome.to_string(), "2 passed, 2 failed, 4 skipped");
    }

    #[test]
    fn a_test_that_cannot_run_here_did_not_pass() {
        let outcome = of(
            "skipped: a needs root, to make network namespaces and load XDP\n\
             skipped: b needs root, to make network namespaces and load XDP\n\
             skipped: c needs haproxy\n\
             test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n",
        );
        let why = outcome.why_skipped().unwrap();
        assert_eq!(
            why,
            "2 of the tests were skipped: each needs root: a, b.\n\
             1 of the tests was skipped: it needs haproxy: c.\n\
             `apt-get install --no-install-recommends haproxy` adds what they need."
        );
        assert_eq!(outcome.to_string(), "2 passed, 0 failed, 3 skipped");
    }

    #[test]
    fn one_command_adds_all_that_is_missing() {
        let mut outcome = of("skipped: a needs smtp-source\nskipped: b needs smtp-sink\n\
                              skipped: c needs cargo-deb\nskipped: d needs chromium\n");
        outcome.skip_step("kernel", "qemu-system-x86_64");
        let why = outcome.why_skipped().unwrap();
        let last = why.lines().last().unwrap();
        assert_eq!(
            last,
            "`cargo install cargo-deb && apt-get install --no-install-recommends chromium postfix qemu-system-x86` adds what they need."
        );
    }

    #[test]
    fn the_slowest_programs_are_told_of() {
        let mut outcome = Outcome::default();
        outcome.step_took("lints", Duration::from_millis(1400));
        assert_eq!(outcome.times(), "1 s: lints 1 s.");
        outcome.step_took("tests", Duration::from_mins(1));
        for seconds in 1..=11 {
            outcome.took(&format!("t{seconds}"), Duration::from_secs(seconds));
        }
        let times = outcome.times();
        let (steps, slowest) = times.split_once('\n').unwrap();
        assert_eq!(steps, "61 s: lints 1 s, tests 60 s.");
        assert!(slowest.starts_with("Slowest: t11 11 s, t10 10 s,"));
        assert!(slowest.ends_with("t2 2 s."), "{slowest}");
        outcome.again("t3");
        let last = outcome.times();
        assert!(
            last.ends_with("\nFailed next to another program and ran again alone: t3."),
            "{last}"
        );
    }

    #[test]
    fn other_lines_change_nothing() {
        let lines =
            "test a ... ok\n\ntest result\ntest result: \nskipped: \nskipped: x\n12 passed\n";
        assert_eq!(of(lines), Outcome::default());
    }
}
