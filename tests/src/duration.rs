//! Durations on the command line: `30s`, `2m`, `1h`.
use std::time::Duration;

/// Reads a duration; a bare number is seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("{unit:?} is no unit; write 30s, 2m or 1h")),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("{digits:?} is no number; write 30s, 2m or 1h"))?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_seconds_minutes_and_hours() {
        for (text, seconds) in [("30s", 30), ("30", 30), ("2m", 120), ("1h", 3600)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "-1s", "3x", "1e400s"] {
            parse(text).unwrap_err();
        }
    }
}
