//! Traffic rates over time from a CSV.
use thiserror::Error;

/// Messages a second over time, in steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace(Vec<(f64, f64)>);

/// Why a trace cannot be used; every line number counts from 1.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TraceError {
    /// A line is not `seconds,messages_per_second`.
    #[error("line {line}: \"{text}\" is not `seconds,messages_per_second`, as in `60,12.5`")]
    Line {
        /// Its number.
        line: usize,
        /// What it says.
        text: String,
    },
    /// Time does not go forward.
    #[error("line {line}: time does not go forward; sort the lines by their first column")]
    Order {
        /// The number of the later line.
        line: usize,
    },
    /// There is nothing to simulate.
    #[error("no line with a rate above 0; write lines like `60,12.5`")]
    Empty,
}

impl Trace {
    /// Reads `seconds,messages_per_second` lines; the rate holds until the next line's time.
    ///
    /// A first line that is not a number is taken for a header; empty lines and `#` are skipped.
    pub fn parse(csv: &str) -> Result<Self, TraceError> {
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut seen = false;
        for (number, text) in csv.lines().enumerate() {
            let (line, text) = (number + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let header = !seen && text.starts_with(|c: char| c.is_ascii_alphabetic());
            seen = true;
            if header {
                continue;
            }
            let point = parse_line(text).ok_or_else(|| TraceError::Line {
                line,
                text: text.chars().take(60).collect(),
            })?;
            if points.last().is_some_and(|last| last.0 >= point.0) {
                return Err(TraceError::Order { line });
            }
            points.push(point);
        }
        let any = points.iter().any(|(_, rate)| *rate > 0.0);
        if any {
            Ok(Self(points))
        } else {
            Err(TraceError::Empty)
        }
    }

    /// Messages a second at a time; before the first line it is the first line's.
    #[must_use]
    pub fn rate_at(&self, at_s: f64) -> f64 {
        let after = self.0.partition_point(|(time, _)| *time <= at_s);
        self.0[after.saturating_sub(1)].1
    }

    /// The highest rate.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.0.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
    }

    /// The last line's time in seconds.
    #[must_use]
    pub fn end_s(&self) -> f64 {
        self.0.last().map_or(0.0, |(time, _)| *time)
    }
}

fn parse_line(text: &str) -> Option<(f64, f64)> {
    let (time, rate) = text.split_once(',')?;
    let time: f64 = time.trim().parse().ok()?;
    let rate: f64 = rate.trim().parse().ok()?;
    let sound = |value: f64, most: f64| value.is_finite() && (0.0..=most).contains(&value);
    (sound(time, 1e7) && sound(rate, 1e5)).then_some((time, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_hold_until_the_next_line() {
        let trace = Trace::parse("second,rate\n# night\n0,2\n\n60, 12.5\n120,0\n").expect("good");
        for (at_s, rate) in [(0.0, 2.0), (59.9, 2.0), (60.0, 12.5), (500.0, 0.0)] {
            assert!((trace.rate_at(at_s) - rate).abs() < 1e-9, "{at_s}");
        }
        assert!((trace.peak() - 12.5).abs() < 1e-9);
        assert!((trace.end_s() - 120.0).abs() < 1e-9);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (csv, expected) in [
            ("0,1\n1;2\n", "line 2: \"1;2\" is not"),
            ("0,1\n1,-2\n", "line 2: \"1,-2\" is not"),
            ("0,NaN\n", "line 1: \"0,NaN\" is not"),
            ("0,1\n\n0,2\n", "line 3: time does not go forward"),
            ("time,rate\nmore,words\n", "line 2: \"more,words\" is not"),
            ("", "no line with a rate above 0"),
            ("0,0\n", "no line with a rate above 0"),
        ] {
            let error = Trace::parse(csv).expect_err(csv).to_string();
            assert!(error.starts_with(expected), "{csv:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_trace_or_a_sentence(csv in "[0-9a-z,.\\-#\n ]{0,80}") {
            if let Ok(trace) = Trace::parse(&csv) {
                proptest::prop_assert!(trace.peak() > 0.0);
                proptest::prop_assert!(trace.rate_at(trace.end_s()) <= trace.peak());
            }
        }
    }
}
