//! What the test runners report, summed.
use std::fmt;

/// Counts of tests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// As the runners count: with those that returned because they cannot run here.
    ok: u64,
    failed: u64,
    returned_early: u64,
    skipped: Vec<Skipped>,
}

/// Tests of one step that were skipped for one reason.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Skipped {
    step: String,
    reason: String,
    count: u64,
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
                    "ignored" => self.skip(step, "is only run by name", count),
                    _ => {}
                }
            }
        } else if let Some((_, needs)) = line
            .strip_prefix("skipped: ")
            .and_then(|rest| rest.split_once(" needs "))
        {
            let reason = needs.split(',').next().unwrap_or(needs).trim();
            self.returned_early += 1;
            self.skip(step, &format!("needs {reason}"), 1);
        }
    }

    /// A step failed that reports no tests.
    pub(crate) fn fail(&mut self) {
        self.failed += 1;
    }

    /// A whole step cannot run here, for want of something.
    pub(crate) fn skip_step(&mut self, step: &str, needs: &str) {
        self.skip(step, &format!("needs {needs}"), 1);
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

    fn skip(&mut self, step: &str, reason: &str, count: u64) {
        let same = |known: &&mut Skipped| known.step == step && known.reason == reason;
        if let Some(known) = self.skipped.iter_mut().find(same) {
            known.count += count;
        } else if count > 0 {
            self.skipped.push(Skipped {
                step: step.to_owned(),
                reason: reason.to_owned(),
                count,
            });
        }
    }

    /// Which tests were skipped, and why, a sentence a line; `None` when none was.
    pub(crate) fn why_skipped(&self) -> Option<String> {
        let sentence = |skipped: &Skipped| {
            let Skipped {
                step,
                reason,
                count,
            } = skipped;
            let (were, each) = if *count == 1 {
                ("was", "it")
            } else {
                ("were", "each")
            };
            format!("{count} of the {step} {were} skipped: {each} {reason}.")
        };
        let sentences: Vec<String> = self.skipped.iter().map(sentence).collect();
        (!sentences.is_empty()).then(|| sentences.join("\n"))
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
            "2 of the tests were skipped: each needs root.\n1 of the tests was skipped: it needs haproxy."
        );
        assert_eq!(outcome.to_string(), "2 passed, 0 failed, 3 skipped");
    }

    #[test]
    fn other_lines_change_nothing() {
        let lines =
            "test a ... ok\n\ntest result\ntest result: \nskipped: \nskipped: x\n12 passed\n";
        assert_eq!(of(lines), Outcome::default());
    }
}
