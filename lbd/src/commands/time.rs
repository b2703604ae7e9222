//! Moments as people read them.

/// `2026-01-31 23:59:59`, in UTC: the logs of several boxes are read side by side.
pub(super) fn utc(unix_s: u64) -> String {
    let (year, month, day) = date(unix_s / 86_400);
    let second = unix_s % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The Gregorian date of a day since 1970-01-01.
///
/// Years begin in March here, so that the leap day is the last one of its year; then the days before
/// a month are a straight line: 153 days in five months.
fn date(days: u64) -> (u64, u64, u64) {
    /// From 0000-03-01 to 1970-01-01, and the days of 400, 100, 4 years and 1 year.
    const TO_1970: u64 = 719_468;
    const IN_400: u64 = 146_097;
    let days = days + TO_1970;
    let (era, day_of_era) = (days / IN_400, days % IN_400);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_and_times() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(unix_s), expected);
        }
    }

    #[test]
    fn days_follow_one_another_for_400_years() {
        let mut last = date(0);
        for day in 1..146_097 * 2 {
            let next = date(day);
            let (year, month, _) = last;
            let follows = [
                (year, month, last.2 + 1),
                (year, month + 1, 1),
                (year + 1, 1, 1),
            ];
            assert!(follows.contains(&next), "{last:?} {next:?}");
            assert!(next.1 <= 12 && next.2 <= 31, "{next:?}");
            last = next;
        }
    }
}
