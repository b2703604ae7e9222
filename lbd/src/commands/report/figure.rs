//! Figures as people read them, and what of a report they should read first.
use crate::{
    commands::table::{Tone, age},
    report::{Day, Report},
};

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12.3 GB`, of 1000 each.
pub(super) fn bytes(bytes: u64) -> String {
    let mut unit = 1;
    for name in ["B", "KB", "MB", "GB", "TB"] {
        if bytes < unit * 1000 || name == "TB" {
            return if unit == 1 || bytes >= unit * 100 {
                format!("{} {name}", bytes / unit)
            } else {
                format!("{}.{} {name}", bytes / unit, bytes * 10 / unit % 10)
            };
        }
        unit *= 1000;
    }
    String::new()
}

/// `23 h 59 min`, and shorter spans in the largest unit.
pub(super) fn span(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, _) => age(seconds),
        (_, 0) => format!("{hours} h"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// `1 failover`, `2 failovers`.
pub(super) fn times(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {what}{s}", count(number as u64))
}

/// What an operator should know of the day, the worst first. Empty on a quiet day.
pub(super) fn notices(report: &Report, day: &Day) -> Vec<(Tone, String)> {
    let total = &report.total;
    let mut notices = Vec::new();
    for two in &report.two_masters {
        let said = format!(
            "{} and {} were master at once from {} to {}: adverts did not pass between them",
            two.node,
            two.other,
            day.clock_s(two.from_unix_s),
            day.clock_s(two.to_unix_s)
        );
        notices.push((Tone::Bad, said));
    }
    if total.turned_away > 0 {
        let said = format!(
            "{} new sessions were turned away: no backend could take them",
            count(total.turned_away)
        );
        notices.push((Tone::Bad, said));
    }
    if total.reset > 0 {
        let said = format!(
            "{} open sessions were reset: their backend died",
            count(total.reset)
        );
        notices.push((Tone::Bad, said));
    }
    let gap_s: u64 = report
        .gaps
        .iter()
        .map(|gap| gap.to_unix_s.saturating_sub(gap.from_unix_s))
        .sum();
    if gap_s > 0 {
        let said = format!(
            "no figures for {} of the day: no master, or lbd was not running",
            span(gap_s)
        );
        notices.push((Tone::Warning, said));
    }
    let moved = report.failovers.iter().filter(|one| one.from != one.to);
    let moved = moved.count();
    if moved > 0 {
        notices.push((
            Tone::Warning,
            format!("mastership moved: {}", times(moved, "failover")),
        ));
    }
    for last in report.shut_offs.iter().filter(|one| one.lasts) {
        let said = format!(
            "{} has taken no new sessions since {}: {}",
            last.backend,
            day.clock(last.from_unix_s),
            last.reason
        );
        notices.push((Tone::Warning, said));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_grouped() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_250), "1.2 KB");
        assert_eq!(bytes(123_456_789), "123 MB");
        assert_eq!(bytes(2_340_000_000_000_000), "2340 TB");
        assert_eq!(span(86_400), "24 h");
        assert_eq!(span(86_399), "23 h 59 min");
        assert_eq!(span(59), "59 s");
        assert_eq!(times(1, "failover"), "1 failover");
        assert_eq!(times(2, "failover"), "2 failovers");
    }
}
