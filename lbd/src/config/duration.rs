//! Lengths of time as the file writes them: `10s`, `100ms`, `0.5s`, `1h30m`.
use std::{fmt, time::Duration};

use serde::Serializer;

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a length of time; `None` when it is none, or no whole number of milliseconds.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    // Largest unit first, each at most once: `1h30m`, never `30m1h`.
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(scaled(number, *unit_ms)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total_ms))
}

/// A decimal number times a unit, exactly.
fn scaled(number: &str, unit_ms: u64) -> Option<u64> {
    let Some((whole, fraction)) = number.split_once('.') else {
        return number.parse::<u64>().ok()?.checked_mul(unit_ms);
    };
    let denominator = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let numerator = whole.parse::<u64>().ok()?.checked_mul(denominator)?;
    let product = numerator
        .checked_add(fraction.parse().ok()?)?
        .checked_mul(unit_ms)?;
    product
        .is_multiple_of(denominator)
        .then_some(product / denominator)
}

/// Prints a length of time as [`parse`] reads it; what is below a millisecond is cut.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest_ms = self.0.as_millis();
        if rest_ms == 0 {
            return f.write_str("0s");
        }
        for (name, unit_ms) in UNITS {
            let unit_ms = u128::from(unit_ms);
            let count = rest_ms / unit_ms;
            if count == 0 {
                continue;
            }
            rest_ms %= unit_ms;
            if name == "s" && rest_ms > 0 {
                let decimals = format!("{rest_ms:03}");
                return write!(f, "{count}.{}s", decimals.trim_end_matches('0'));
            }
            write!(f, "{count}{name}")?;
        }
        Ok(())
    }
}

pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Shown(*value))
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
pub(super) fn serialize_option<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serialize(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_of_time_has_its_unit() {
        for (text, ms) in [
            ("10s", 10_000),
            ("100ms", 100),
            ("40.95s", 40_950),
            ("0.5h", 1_800_000),
            ("1h30m", 5_400_000),
            ("1m0.25s", 60_250),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "10",
            "s",
            "ms",
            "10 s",
            " 10s",
            "-1s",
            "+1s",
            "1S",
            "1us",
            "30m1h",
            "1s1s",
            "0.0001s",
            "1.s",
            ".5s",
            "1..5s",
            "1.5.5s",
            "1e3s",
            "99999999999999999999s",
            "213503982335d",
            "١s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(ms in 0..u64::MAX / 2) {
            let value = Duration::from_millis(ms);
            prop_assert_eq!(parse(&Shown(value).to_string()), Some(value));
        }

        #[test]
        fn any_text_is_a_length_or_none(text in "[0-9.]{0,30}(d|h|m|s|ms|\\PC)?[0-9]*\\PC*") {
            let _ = parse(&text);
        }
    }
}
