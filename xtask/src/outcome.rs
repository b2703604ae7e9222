//! What the test runners report, summed.
use std::fmt;

/// Counts of tests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// As the runners count: with those that returned because they cannot run here.
    ok: u64,
    failed: u64,
    returned_early: u64,
    /// Why tests were skipped, each reason with its count.
    reasons: Vec<(String, u64)>,
}

impl Outcome {
    /// Takes in a line that a runner printed.
    ///
    /// libtest closes each program with `test result: ok. 3 passed; 0 failed; 1 ignored; ...`. A
    /// test that finds out while it runs that it cannot run here prints `skipped: NAME needs WHAT`
    /// and returns; libtest counts it as passed, so it is taken from those. What stands behind a
    /// comma in WHAT explains it.
    pub(crate) fn take(&mut self, line: &str) {
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
                    "ignored" => self.skip("is only run by name", count),
                    _ => {}
                }
            }
        } else if let Some((_, needs)) = line
            .strip_prefix("skipped: ")
            .and_then(|rest| rest.split_once(" needs "))
        {
            let reason = needs.split(',').next().unwrap_or(needs).trim();
            self.returned_early += 1;
            self.skip(&format!("needs {reason}"), 1);
        }
    }

    /// A step failed that reports no tests.
    pub(crate) fn fail(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    fn passed(&self) -> u64 {
        self.ok.saturating_sub(self.returned_early)
    }

    fn skipped(&self) -> u64 {
        self.reasons.iter().map(|(_, count)| count).sum()
    }

    fn skip(&mut self, reason: &str, count: u64) {
        if count == 0 {
            return;
        }
        match self.reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.reasons.push((reason.to_owned(), count)),
        }
    }

    /// Which tests were skipped, and why; `None` when none was.
    pub(crate) fn why_skipped(&self) -> Option<String> {
        let reason = |(reason, count): &(String, u64)| match count {
            1 => format!("1 test was skipped: it {reason}"),
            _ => format!("{count} tests were skipped: each {reason}"),
        };
        let reasons: Vec<String> = self.reasons.iter().map(reason).collect();
        (!reasons.is_empty()).then(|| reasons.join("\n"))
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
        lines.lines().for_each(|line| outcome.take(line));
        outcome
    }

    #[test]
    fn the_results_of_all_programs_are_summed() {
        let outcome = of("running 3 tests\n\
             test result: ok. 37 passed; 0 failed; 0 ignored; 0 measured; 57 filtered out; finished in 1.77s\n\
             test result: FAILED. 1 passed; 2 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s\n");
        assert_eq!(outcome.to_string(), "38 passed, 2 failed, 3 skipped");
        let why = outcome.why_skipped().unwrap();
        assert_eq!(why, "3 tests were skipped: each is only run by name");
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
            "2 tests were skipped: each needs root\n1 test was skipped: it needs haproxy"
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
