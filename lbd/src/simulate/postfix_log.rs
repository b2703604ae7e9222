//! Sessions from Postfix's log: `smtpd` says when a client came and went and under which ids it left
//! messages, `qmgr` how large each was.
use std::collections::HashMap;

use super::replay::{Logged, Replay, ReplayError};

const DAY_S: f64 = 86_400.0;
const YEAR_S: f64 = 365.0 * DAY_S;
/// What a client sends besides its messages.
const DIALOGUE_BYTES: u32 = 900;

/// A client that `smtpd` has in front of it, or had.
#[derive(Debug)]
struct Session {
    start_s: f64,
    end_s: f64,
    ids: Vec<String>,
}

/// Reads a log; lines of other programs are skipped, and so are sessions whose beginning or end is in
/// another file.
///
/// A session is rejected where no message of it reached the queue. Times in whole seconds are spread over
/// their second, or all of a second's sessions would come at once.
pub fn parse(log: &str) -> Result<Replay, ReplayError> {
    let mut open: HashMap<&str, Session> = HashMap::new();
    let mut ended = Vec::new();
    let mut sizes: HashMap<&str, u32> = HashMap::new();
    let mut clock = Clock::default();
    for (number, line) in log.lines().enumerate() {
        let Some((time, line)) = Line::parse(line) else {
            continue;
        };
        let at_s = clock.seconds(time, number);
        match line.program {
            "smtpd" => {
                if line.text.starts_with("connect from ") {
                    let session = Session {
                        start_s: at_s,
                        end_s: at_s,
                        ids: Vec::new(),
                    };
                    open.insert(line.pid, session);
                } else if line.text.starts_with("disconnect from ") {
                    ended.extend(open.remove(line.pid).map(|session| Session {
                        end_s: at_s,
                        ..session
                    }));
                } else if let Some((id, rest)) = line.text.split_once(": ")
                    && rest.starts_with("client=")
                    && let Some(session) = open.get_mut(line.pid)
                {
                    session.ids.push(id.to_owned());
                }
            }
            "qmgr" => {
                if let Some((id, rest)) = line.text.split_once(": ")
                    && let Some((_, size)) = rest.split_once(", size=")
                {
                    let digits = size.find(|c: char| !c.is_ascii_digit());
                    let size = &size[..digits.unwrap_or(size.len())];
                    sizes.insert(id, size.parse().unwrap_or(0));
                }
            }
            _ => {}
        }
    }
    let logged = |session: &Session| {
        let sizes = || session.ids.iter().filter_map(|id| sizes.get(id.as_str()));
        let bytes = sizes().fold(DIALOGUE_BYTES, |sum, size| sum.saturating_add(*size));
        Logged {
            start_s: session.start_s,
            duration_s: (session.end_s - session.start_s).clamp(0.05, DAY_S),
            bytes,
            rejected: sizes().next().is_none(),
        }
    };
    Replay::new(ended.iter().map(logged).collect())
}

/// A line of syslog, without its time and host.
struct Line<'a> {
    /// Without the instance: `smtpd` of `postfix/smtpd` and of `postfix-in/submission/smtpd`.
    program: &'a str,
    pid: &'a str,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<(Time, Self)> {
        let (time, rest) = Time::parse(line)?;
        let (tag, text) = rest.split_once("]: ")?;
        let (tag, pid) = tag.rsplit_once('[')?;
        let tag = tag.rsplit(' ').next()?;
        let (instance, program) = tag.rsplit_once('/')?;
        instance
            .starts_with("postfix")
            .then_some((time, Self { program, pid, text }))
    }
}

/// When a line was written, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Time {
    /// `Nov 28 18:36:16`: seconds of an ordinary year.
    OfYear(f64),
    /// `2026-11-28T18:36:16.123456+01:00`, in seconds since 1970.
    Whole(f64),
}

impl Time {
    fn parse(line: &str) -> Option<(Self, &str)> {
        const MONTHS: [(&str, u32); 12] = [
            ("Jan", 0),
            ("Feb", 31),
            ("Mar", 59),
            ("Apr", 90),
            ("May", 120),
            ("Jun", 151),
            ("Jul", 181),
            ("Aug", 212),
            ("Sep", 243),
            ("Oct", 273),
            ("Nov", 304),
            ("Dec", 334),
        ];
        let (first, rest) = line.split_once(' ')?;
        if let Some((_, before)) = MONTHS.iter().find(|(month, _)| *month == first) {
            let (day, rest) = rest.trim_start().split_once(' ')?;
            let (clock, rest) = rest.split_once(' ')?;
            let day: u32 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
            let days = f64::from(before + day - 1);
            return Some((Self::OfYear(days * DAY_S + of_day_s(clock)?), rest));
        }
        let (date, clock) = first.split_once('T')?;
        let mut numbers = date.split('-').map(|number| number.parse::<i64>().ok());
        let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let sound =
            (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !sound {
            return None;
        }
        let zone = clock.find(['Z', '+', '-'])?;
        let (clock, zone) = clock.split_at(zone);
        let ahead_s = match zone.strip_prefix(['+', '-']) {
            Some(ahead) => of_day_s(ahead)? * if zone.starts_with('-') { -1.0 } else { 1.0 },
            None => 0.0,
        };
        let whole = f64::from(days_since_1970(year, month, day)) * DAY_S;
        Some((Self::Whole(whole + of_day_s(clock)? - ahead_s), rest))
    }
}

/// `18:36:16.123456` or `01:00`, in seconds.
fn of_day_s(clock: &str) -> Option<f64> {
    let mut numbers = clock.split(':').map(|number| number.parse::<f64>().ok());
    let (hours, minutes) = (numbers.next()??, numbers.next()??);
    let seconds = numbers.next().unwrap_or(Some(0.0))?;
    let sound = (0.0..=24.0).contains(&hours)
        && (0.0..60.0).contains(&minutes)
        && (0.0..62.0).contains(&seconds);
    sound.then_some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// Of the Gregorian calendar, with a year that begins in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i32 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let of_year = (153 * month + 2) / 5 + day - 1;
    i32::try_from(365 * year + leap_days + of_year - 719_468).unwrap_or(0)
}

/// Makes one time of all, also over the turn of a year that no line names.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    last_s: f64,
    years: f64,
}

impl Clock {
    fn seconds(&mut self, time: Time, line: usize) -> f64 {
        match time {
            Time::Whole(at_s) if at_s.fract() > 0.0 => at_s,
            Time::Whole(at_s) => at_s + within_second(line),
            Time::OfYear(of_year_s) => {
                let at_s = of_year_s + self.years;
                if at_s < self.last_s - YEAR_S / 2.0 {
                    self.years += YEAR_S;
                }
                self.last_s = of_year_s + self.years;
                self.last_s + within_second(line)
            }
        }
    }
}

/// Later lines of a second later, as far as 1,000 lines go.
#[expect(clippy::cast_precision_loss, reason = "below 1,000")]
fn within_second(line: usize) -> f64 {
    (line % 1000) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
Nov 28 18:36:16 mx1 postfix/smtpd[101]: connect from mail.example.org[192.0.2.7]
Nov 28 18:36:16 mx1 postfix/smtpd[102]: connect from unknown[198.51.100.9]
Nov 28 18:36:17 mx1 postfix/smtpd[102]: NOQUEUE: reject: RCPT from unknown[198.51.100.9]: 550 5.1.1
Nov 28 18:36:17 mx1 postfix/smtpd[101]: 4F2C11A2B3: client=mail.example.org[192.0.2.7]
Nov 28 18:36:18 mx1 postfix/cleanup[103]: 4F2C11A2B3: message-id=<1@example.org>
Nov 28 18:36:18 mx1 postfix/qmgr[99]: 4F2C11A2B3: from=<a@example.org>, size=18000, nrcpt=1 (queue active)
Nov 28 18:36:18 mx1 postfix/smtpd[102]: disconnect from unknown[198.51.100.9] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4
Nov 28 18:36:20 mx1 postfix/smtpd[101]: disconnect from mail.example.org[192.0.2.7] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
Nov 28 18:36:20 mx1 sshd[7]: disconnect from 203.0.113.5
Nov 28 18:36:21 mx1 postfix/smtpd[101]: connect from later.example.org[192.0.2.8]
";

    #[test]
    fn sessions_are_found_with_their_sizes_and_ends() {
        let replay = parse(LOG).unwrap();
        let [taken, rejected] = replay.sessions() else {
            panic!("{replay:?}");
        };
        assert_eq!((taken.bytes, taken.rejected), (18_900, false));
        assert!((3.0..5.0).contains(&taken.duration_s), "{taken:?}");
        assert_eq!((rejected.bytes, rejected.rejected), (900, true));
        assert!((1.0..3.0).contains(&rejected.duration_s), "{rejected:?}");
    }

    #[test]
    fn both_forms_of_time_are_read_and_a_year_may_turn() {
        let whole = |text| match Time::parse(text) {
            Some((Time::Whole(at_s), "mx1")) => at_s,
            other => panic!("{text}: {other:?}"),
        };
        assert!((whole("1970-01-02T01:00:00.5+01:00 mx1") - 86_400.5).abs() < 1e-6);
        assert!((whole("2024-02-29T00:00:00Z mx1") - 1_709_164_800.0).abs() < 1e-6);
        for none in [
            "Nov 32 18:36:16 mx1",
            "Nov 28 18h36 mx1",
            "2026-13-01T00:00:00Z mx1",
            "",
        ] {
            assert_eq!(Time::parse(none), None, "{none}");
        }
        let mut clock = Clock::default();
        let mut at = |text: &str| clock.seconds(Time::parse(text).unwrap().0, 0);
        let before = at("Dec 31 23:59:59 mx1");
        assert!((at("Jan  1 00:00:01 mx1") - before - 2.0).abs() < 1e-6);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_log(log in "[ -~\n]{0,200}") {
            let _ = parse(&log);
        }
    }
}
