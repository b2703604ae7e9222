//! Which day, and when it is, in a time zone.
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use thiserror::Error;

/// A day of a time zone: 24 hours, or 23 or 25 when clocks are changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Day {
    /// Its date.
    pub date: Date,
    /// Its begin, in seconds since 1970.
    pub begin_unix_s: u64,
    /// The next day's begin.
    pub end_unix_s: u64,
    /// The time zone.
    pub zone: TimeZone,
}

/// Why a text names no day.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("\"{0}\" is not a day: give `yesterday`, `today` or a date like 2026-01-31")]
pub struct NoDay(String);

fn unix_s(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_second()).unwrap_or(0)
}

impl Day {
    /// Reads `today`, `yesterday` or a date.
    pub fn parse(text: &str, now_unix_s: u64, zone: &TimeZone) -> Result<Self, NoDay> {
        let no_day = || NoDay(text.to_owned());
        let seconds = i64::try_from(now_unix_s).map_err(|_| no_day())?;
        let now = Timestamp::from_second(seconds).map_err(|_| no_day())?;
        let today = now.to_zoned(zone.clone()).date();
        let date = match text {
            "today" => today,
            "yesterday" => today.yesterday().map_err(|_| no_day())?,
            // Of a time or a zone in it nothing would be heeded.
            _ if text.len() == 10 => text.parse().map_err(|_| no_day())?,
            _ => return Err(no_day()),
        };
        Self::of(date, zone).ok_or_else(no_day)
    }

    /// A date's day; `None` beyond what a time zone knows.
    #[must_use]
    pub fn of(date: Date, zone: &TimeZone) -> Option<Self> {
        // Where the first hour does not exist the day begins with the first that does.
        let begin = |date: Date| date.to_zoned(zone.clone()).ok()?.start_of_day().ok();
        let next = date.checked_add(1.day()).ok()?;
        Some(Self {
            date,
            begin_unix_s: unix_s(begin(date)?.timestamp()),
            end_unix_s: unix_s(begin(next)?.timestamp()),
            zone: zone.clone(),
        })
    }

    /// Whether a moment is in it.
    #[must_use]
    pub fn has(&self, unix_s: u64) -> bool {
        (self.begin_unix_s..self.end_unix_s).contains(&unix_s)
    }

    /// The zone by its name, and its distance from UTC as the day begins.
    #[must_use]
    pub fn zone_name(&self) -> String {
        let begin = timestamp(self.begin_unix_s);
        let offset = begin
            .to_zoned(self.zone.clone())
            .strftime("UTC%:z")
            .to_string();
        match self.zone.iana_name() {
            Some("UTC") => "UTC".to_owned(),
            Some(name) => format!("{name}, {offset}"),
            None => offset,
        }
    }

    /// A moment as the clock on the wall has it: `23:59`. On a day that is no 24 hours the zone's
    /// abbreviation is with it, since there are two of some hours.
    #[must_use]
    pub fn clock(&self, unix_s: u64) -> String {
        self.wall(unix_s, "%H:%M")
    }

    /// Likewise with seconds.
    #[must_use]
    pub fn clock_s(&self, unix_s: u64) -> String {
        self.wall(unix_s, "%H:%M:%S")
    }

    /// A moment with its date.
    #[must_use]
    pub fn moment(&self, unix_s: u64) -> String {
        let zoned = timestamp(unix_s).to_zoned(self.zone.clone());
        zoned.strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// RFC 5322's form, for a mail's head.
    #[must_use]
    pub fn mail_date(&self, unix_s: u64) -> String {
        let zoned = timestamp(unix_s).to_zoned(self.zone.clone());
        zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
    }

    fn wall(&self, unix_s: u64, format: &str) -> String {
        if unix_s == self.end_unix_s {
            return format
                .replace("%H", "24")
                .replace("%M", "00")
                .replace("%S", "00");
        }
        let zoned = timestamp(unix_s).to_zoned(self.zone.clone());
        let time = zoned.strftime(format).to_string();
        if self.end_unix_s - self.begin_unix_s == 86_400 {
            time
        } else {
            format!("{time} {}", zoned.strftime("%Z"))
        }
    }
}

fn timestamp(unix_s: u64) -> Timestamp {
    let seconds = i64::try_from(unix_s).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central Europe's rules, which need no file of the box.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// 2026-11-22 00:30 in Berlin.
    const NOW: u64 = 1_795_303_800;

    #[test]
    fn days_are_named_by_date_or_from_now() {
        let day = |text| Day::parse(text, NOW, &berlin()).unwrap();
        let today = day("today");
        assert_eq!(today.date.to_string(), "2026-11-22");
        assert_eq!(
            (today.begin_unix_s, today.end_unix_s),
            (NOW - 1800, NOW - 1800 + 86_400)
        );
        assert_eq!(day("yesterday").end_unix_s, today.begin_unix_s);
        assert_eq!(day("2026-11-22"), today);
        // In UTC it is still the day before.
        let utc = Day::parse("today", NOW, &TimeZone::UTC).unwrap();
        assert_eq!(utc.date.to_string(), "2026-11-21");
        assert_eq!(utc.zone_name(), "UTC");
        assert_eq!(today.zone_name(), "UTC+01:00");
        for text in [
            "",
            "tomorrow",
            "2026-02-29",
            "2026-13-01",
            "22.11.2026",
            "2026-11-22T10:00",
        ] {
            let error = Day::parse(text, NOW, &berlin()).unwrap_err().to_string();
            assert!(error.contains("is not a day"), "{error}");
        }
    }

    #[test]
    fn days_on_which_clocks_change_have_23_and_25_hours() {
        for (date, hours) in [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)] {
            let day = Day::parse(date, NOW, &berlin()).unwrap();
            assert_eq!(day.end_unix_s - day.begin_unix_s, hours * 3600, "{date}");
        }
        let day = Day::parse("2026-10-25", NOW, &berlin()).unwrap();
        let half_past_two = day.begin_unix_s + 9000;
        assert_eq!(day.clock(half_past_two), "02:30 CEST");
        assert_eq!(day.clock(half_past_two + 3600), "02:30 CET");
        let day = Day::parse("2026-10-26", NOW, &berlin()).unwrap();
        assert_eq!(day.clock(day.begin_unix_s + 61), "00:01");
        assert_eq!(day.clock_s(day.begin_unix_s + 61), "00:01:01");
        assert_eq!(day.clock(day.end_unix_s), "24:00");
        assert_eq!(day.moment(day.begin_unix_s + 61), "2026-10-26 00:01");
        assert_eq!(
            day.mail_date(day.begin_unix_s),
            "Mon, 26 Oct 2026 00:00:00 +0100"
        );
    }

    #[test]
    fn a_day_without_its_first_hour_begins_with_the_second() {
        // Clocks go from 0:00 to 1:00 on the second Sunday of March.
        let zone = TimeZone::posix("CST5CDT,M3.2.0/0,M11.1.0/1").unwrap();
        let day = Day::parse("2026-03-08", NOW, &zone).unwrap();
        assert_eq!(day.end_unix_s - day.begin_unix_s, 23 * 3600);
        assert!(day.clock(day.begin_unix_s).starts_with("01:00"));
    }
}
