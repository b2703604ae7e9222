//! Reports of a made-up day in which everything happens, of a quiet one, and of one that was recorded.
use std::net::IpAddr;

use jiff::{civil::date, tz::TimeZone};

use super::{Day, Report, build};
use crate::history::{
    Denied, Happened, Refusal, Reigned, Row, RowStore, Sample, begin_of, minute_of,
};

/// Saturday 2026-11-21 in Central Europe.
fn saturday() -> Day {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    Day::of(date(2026, 11, 21), &zone).unwrap()
}

/// A day's rows that need no recording: 3 backends of weights 100, 50, 50.
struct Story {
    day: Day,
    rows: Vec<Row>,
    /// Whether mx2 is shut off for 20 minutes.
    has_shut_off: bool,
}

impl Story {
    fn at(&self, hour: u64, minute: u64) -> u64 {
        self.day.begin_unix_s + hour * 3600 + minute * 60
    }

    fn reign(&mut self, node: &str, from: u64, to: u64) {
        for minute in minute_of(from)..=minute_of(to - 1) {
            let begin = begin_of(minute);
            let seconds = (begin + 60).min(to) - begin.max(from);
            let hour = (begin + 86_400 - self.day.begin_unix_s) / 3600 % 24;
            self.rows.push(Row::Reigned(Reigned {
                node: node.to_owned(),
                since_unix_s: from,
                minute,
                seconds: u8::try_from(seconds).unwrap(),
                denied: u64::from(hour == 3) * 40,
                ..Reigned::default()
            }));
            // Busy in the morning and after noon.
            let busy = 20 + 180 * u64::from((8..18).contains(&hour)) + 7 * (u64::from(minute) % 5);
            for (index, (name, weight)) in [("mx1", 100), ("mx2", 50), ("mx3", 50)]
                .into_iter()
                .enumerate()
            {
                let is_off = self.has_shut_off
                    && name == "mx2"
                    && (self.at(10, 30)..self.at(10, 50)).contains(&begin);
                let opened = if is_off {
                    0
                } else {
                    busy * weight * seconds / 6000
                };
                let queued = if name == "mx2" && hour == 10 {
                    4000
                } else {
                    12
                };
                self.rows.push(Row::Sample(Sample {
                    node: node.to_owned(),
                    since_unix_s: from,
                    minute,
                    backend: name.to_owned(),
                    seconds: u8::try_from(seconds).unwrap(),
                    opened,
                    bytes: opened * 48_000,
                    sessions: u32::try_from(opened / 6).unwrap(),
                    sessions_max: u32::try_from(opened / 4).unwrap(),
                    sources: u32::try_from(opened / 5).unwrap(),
                    queued: (index < 2).then_some(queued),
                    weight_permille: if is_off {
                        0
                    } else {
                        u32::try_from(weight).unwrap() * 1000
                    },
                    off_s: if is_off {
                        u8::try_from(seconds).unwrap()
                    } else {
                        0
                    },
                    reason: if is_off {
                        "shut_off_above_average"
                    } else {
                        "normal"
                    }
                    .to_owned(),
                }));
            }
        }
    }

    fn happened(&mut self, node: &str, unix_s: u64, kind: &str, subject: &str, text: &str) {
        self.rows.push(Row::Happened(Happened {
            node: node.to_owned(),
            unix_s,
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            as_master: true,
        }));
    }
}

/// Everything happens.
pub(crate) fn made_up() -> (Report, Day) {
    let (rows, day) = made_up_rows();
    let made = day.end_unix_s + 600;
    (build(RowStore::of(&rows), &day, "mx2", made).unwrap(), day)
}

fn made_up_rows() -> (Vec<Row>, Day) {
    let day = saturday();
    let begin = day.begin_unix_s;
    let mut story = Story {
        day: day.clone(),
        rows: Vec::new(),
        has_shut_off: true,
    };
    // From the day before until a `kill -9` in the afternoon; then mx2; both, for a while, at night.
    let killed = story.at(14, 2) + 7;
    story.reign("mx1", begin - 3600, killed);
    story.reign("mx2", killed + 11, story.at(22, 0));
    let back = story.at(21, 58);
    story.reign("mx1", back, day.end_unix_s + 120);
    let off = story.at(10, 30);
    story.happened(
        "mx1",
        off,
        "shut-off",
        "mx2",
        "mx2 takes no new sessions: shut off: 92 unique sources, the site's average is 31 and 50 more \
         are allowed; 2 of 3 servers stay active",
    );
    story.happened(
        "mx1",
        off + 1195,
        "return",
        "mx2",
        "mx2 takes sessions: full weight",
    );
    story.happened(
        "mx2",
        killed + 11,
        "role",
        "",
        "master: mx1 is silent, and its box does not answer",
    );
    story.happened("mx1", back, "role", "", "master: no better master is heard");
    story.happened(
        "mx1",
        story.at(3, 5),
        "operator",
        "",
        "198.51.100.0/24 is denied for 1h; 3 of its open sessions end",
    );
    for (last, frames) in [(7, 31), (9, 9)] {
        for minute in 5..65 {
            let minute = minute_of(story.at(3, minute));
            story.rows.push(Row::Denied(Denied {
                node: "mx1".to_owned(),
                minute,
                source: IpAddr::from([198, 51, 100, last]),
                refusal: Refusal::Listed,
                frames,
            }));
        }
    }
    let turned = minute_of(story.at(10, 31));
    for row in &mut story.rows {
        if let Row::Reigned(row) = row
            && row.minute == turned
        {
            (row.turned_away, row.reset) = (3, 2);
        }
    }
    (story.rows, day)
}

/// What a node of the lab had kept of the first fifteen minutes of `cargo xtask bench soak` on 2026-11-22:
/// mixed sessions through three nodes, whose daemons are killed, restarted, reloaded and drained.
/// `commands::report::tests` says how it was recorded.
pub(crate) fn recorded() -> (Report, Day) {
    let (rows, day) = (recorded_rows(), Day::of(date(2026, 11, 22), &TimeZone::UTC));
    let (day, last) = (day.unwrap(), rows.iter().map(Row::minute).max().unwrap());
    let made = begin_of(last + 1);
    (build(RowStore::of(&rows), &day, "mx1", made).unwrap(), day)
}

fn recorded_rows() -> Vec<Row> {
    let lines = include_str!("fixtures/recorded/rows.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// One master, nothing to say.
pub(crate) fn quiet() -> (Report, Day) {
    let day = saturday();
    let mut story = Story {
        day: day.clone(),
        rows: Vec::new(),
        has_shut_off: false,
    };
    story.reign("mx1", day.begin_unix_s - 60, day.end_unix_s + 60);
    let made = day.end_unix_s + 600;
    (
        build(RowStore::of(&story.rows), &day, "mx1", made).unwrap(),
        day,
    )
}

#[test]
fn sums_are_those_of_the_days_rows_in_any_order_and_number() {
    let (mut rows, day) = made_up_rows();
    let report = made_up().0;
    let of_day = |row: &&Row| day.has(begin_of(row.minute()));
    let mut sessions = 0;
    for row in rows.iter().filter(of_day) {
        if let Row::Sample(sample) = row {
            sessions += sample.opened;
        }
    }
    assert_eq!(report.total.sessions, sessions);
    let by_backend: u64 = report.backends.iter().map(|one| one.sessions).sum();
    let by_master: u64 = report.masters.iter().map(|one| one.sessions).sum();
    let by_hour: u64 = report.hours.iter().map(|one| one.sessions).sum();
    let plotted = report.series.backends.iter().flat_map(|one| &one.sessions);
    let plotted: u64 = plotted.flatten().sum();
    assert_eq!([by_backend, by_master, by_hour, plotted], [sessions; 4]);
    rows.reverse();
    let again = build(RowStore::of(&rows), &day, "mx2", day.end_unix_s + 600).unwrap();
    assert_eq!(again, report);
}

#[test]
fn a_recorded_day_adds_up_whoever_asks() {
    let (rows, (report, day)) = (recorded_rows(), recorded());
    let samples = || {
        rows.iter().filter_map(|row| match row {
            Row::Sample(sample) => Some(sample),
            _ => None,
        })
    };
    // Nothing is told of twice, though three nodes were master in turn, and each row of theirs counts.
    let opened: u64 = samples().map(|sample| sample.opened).sum();
    assert!(opened > 10_000, "{opened}");
    let by_backend: u64 = report.backends.iter().map(|one| one.sessions).sum();
    let by_master: u64 = report.masters.iter().map(|one| one.sessions).sum();
    let by_hour: u64 = report.hours.iter().map(|one| one.sessions).sum();
    assert_eq!(
        [report.total.sessions, by_backend, by_master, by_hour],
        [opened; 4]
    );
    let nodes: std::collections::BTreeSet<&str> =
        report.masters.iter().map(|one| &*one.node).collect();
    assert!(nodes.len() > 1 && !report.failovers.is_empty(), "{nodes:?}");
    for failover in &report.failovers {
        assert!(nodes.contains(&*failover.to) && nodes.contains(&*failover.from));
        assert!(day.has(failover.unix_s));
    }
    assert!(!report.shut_offs.is_empty());
    let of_day = report.made_unix_s - report.masters[0].from_unix_s;
    assert!(
        report.covered_s <= of_day,
        "{} of {of_day}",
        report.covered_s
    );
    let mut reversed = rows;
    reversed.reverse();
    let again = build(RowStore::of(&reversed), &day, "mx1", report.made_unix_s);
    assert!(again.unwrap() == report, "it depends on the rows' order");
}

#[test]
fn a_shut_off_has_its_seconds_and_its_sentence() {
    let (report, day) = made_up();
    let [one] = &report.shut_offs[..] else {
        panic!("{:?}", report.shut_offs)
    };
    assert_eq!(one.backend, "mx2");
    assert_eq!(one.from_unix_s, day.begin_unix_s + 10 * 3600 + 30 * 60);
    assert_eq!(one.to_unix_s, one.from_unix_s + 1195);
    assert_eq!((one.off_s, one.lasts), (1200, false));
    assert!(one.reason.starts_with("shut off: 92 unique sources"));
    assert_eq!(one.reason_kind, "shut_off_above_average");
}

#[test]
fn failovers_and_two_masters_are_told_apart() {
    let (report, day) = made_up();
    let nodes: Vec<&str> = report.masters.iter().map(|one| &*one.node).collect();
    assert_eq!(nodes, ["mx1", "mx2", "mx1"]);
    assert_eq!(report.masters[0].from_unix_s, day.begin_unix_s);
    assert_eq!(report.masters[2].to_unix_s, day.end_unix_s);
    let [first, second] = &report.failovers[..] else {
        panic!("{:?}", report.failovers)
    };
    assert_eq!((first.from.as_str(), first.to.as_str()), ("mx1", "mx2"));
    assert_eq!(first.without_s_at_most, 11);
    assert_eq!(first.why, "mx1 is silent, and its box does not answer");
    assert_eq!((second.to.as_str(), second.without_s_at_most), ("mx1", 0));
    let [two] = &report.two_masters[..] else {
        panic!("{:?}", report.two_masters)
    };
    assert_eq!(two.to_unix_s - two.from_unix_s, 120);
    assert!(report.masters.iter().all(|one| one.sessions > 0));
}

#[test]
fn the_worst_minute_is_the_one_that_cost_sessions() {
    let (report, day) = made_up();
    let worst = &report.worst_minutes[0];
    assert_eq!(worst.begin_unix_s, day.begin_unix_s + 10 * 3600 + 31 * 60);
    assert_eq!((worst.turned_away, worst.reset), (3, 2));
    assert_eq!(worst.out_of_service, ["mx2"]);
    let (next, rest) = (&report.worst_minutes[1], &report.worst_minutes[1..]);
    assert_eq!((next.turned_away, next.queued), (0, 4012));
    assert!(rest.iter().all(|one| one.out_of_service == ["mx2"]));
}

#[test]
fn balance_is_measured_by_weight() {
    let (report, _) = quiet();
    // 100 to 50 to 50, as the weights are.
    let first = &report.backends[0];
    assert!((50.0..51.0).contains(&first.sessions_percent) && first.name == "mx1");
    assert!((49.9..=50.0).contains(&first.weight_percent));
    let percents = report.hours.iter().filter_map(|hour| hour.busiest_percent);
    assert!(percents.clone().count() == 24 && percents.clone().all(|percent| percent < 105.0));
}

#[test]
fn denied_sources_add_up_the_worst_first() {
    let (report, _) = made_up();
    let [first, second] = &report.denied[..] else {
        panic!("{:?}", report.denied)
    };
    assert_eq!(first.source, IpAddr::from([198, 51, 100, 7]));
    assert_eq!(
        (first.frames, first.minutes, second.frames),
        (60 * 31, 60, 60 * 9)
    );
    assert_eq!(report.total.denied, 60 * 40);
}

#[test]
fn time_without_a_row_is_a_gap_and_a_day_that_lasts_ends_now() {
    let day = saturday();
    let mut story = Story {
        day: day.clone(),
        rows: Vec::new(),
        has_shut_off: true,
    };
    let (from, to) = (story.at(6, 0), story.at(9, 0));
    story.reign("mx1", from, to);
    let report = build(RowStore::of(&story.rows), &day, "mx1", to + 3600).unwrap();
    let gaps: Vec<(u64, u64)> = report
        .gaps
        .iter()
        .map(|gap| {
            (
                gap.from_unix_s - day.begin_unix_s,
                gap.to_unix_s - day.begin_unix_s,
            )
        })
        .collect();
    assert_eq!(gaps, [(0, 6 * 3600), (9 * 3600, 10 * 3600)]);
    assert_eq!(report.covered_s, 3 * 3600);
    assert_eq!(build(RowStore::of(&[]), &day, "mx1", to), None);
}

#[test]
fn a_day_of_25_hours_has_25_and_loses_nothing() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let day = Day::of(date(2026, 10, 25), &zone).unwrap();
    let mut story = Story {
        day: day.clone(),
        rows: Vec::new(),
        has_shut_off: true,
    };
    story.reign("mx1", day.begin_unix_s, day.end_unix_s);
    let report = build(RowStore::of(&story.rows), &day, "mx1", day.end_unix_s).unwrap();
    assert_eq!(report.hours.len(), 25);
    assert_eq!(report.covered_s, 25 * 3600);
    assert_eq!(report.series.times_unix_s.len(), 150);
    let by_hour: u64 = report.hours.iter().map(|hour| hour.sessions).sum();
    assert_eq!(by_hour, report.total.sessions);
}
