//! The report in 80 columns.
use super::figure::{bytes, count, notices, span, times};
use crate::{
    commands::table::{Column, Paint, Side, Tone, age, row, titles, wrapped},
    report::{Day, Report},
};

/// Rows of a list that a terminal is shown; the JSON has all.
const SHOWN: usize = 20;
/// The longest bar of the hours.
const BAR: u64 = 22;

pub(super) fn render(report: &Report, day: &Day, paint: Paint) -> String {
    let mut text = String::new();
    head(&mut text, report, day, paint);
    backends(&mut text, report);
    hours(&mut text, report, day);
    masters(&mut text, report, day);
    shut_offs(&mut text, report, day);
    denied(&mut text, report, day);
    worst(&mut text, report, day);
    events(&mut text, report, day);
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn title(text: &mut String, title: &str) {
    text.push('\n');
    line(text, title);
}

fn more(text: &mut String, all: usize) {
    if all > SHOWN {
        line(text, &format!("... and {} more, in --json", all - SHOWN));
    }
}

fn head(text: &mut String, report: &Report, day: &Day, paint: Paint) {
    let total = &report.total;
    let made = format!(
        "lbd report for {} ({}), made on {} at {}",
        report.day,
        report.time_zone,
        report.made_on,
        day.moment(report.made_unix_s)
    );
    text.push_str(&wrapped(&made, 0));
    let notices = notices(report, day);
    if notices.is_empty() {
        line(
            text,
            &paint.tone(Tone::Good, "a quiet day: nothing to look at"),
        );
    }
    for (tone, said) in notices {
        text.push_str(&paint.tone(tone, &wrapped(&format!("! {said}"), 0)));
    }
    text.push('\n');
    let most_open = if total.most_open > 0 {
        format!(
            "{} at {}",
            count(total.most_open),
            day.clock(total.most_open_unix_s)
        )
    } else {
        "0".to_owned()
    };
    for (name, value) in [
        ("sessions", count(total.sessions)),
        ("volume", format!("{} from clients", bytes(total.bytes))),
        ("most open", most_open),
        ("longest queue", count(total.longest_queue)),
        ("turned away", count(total.turned_away)),
        ("reset", format!("{} of dead backends", count(total.reset))),
        (
            "denied",
            format!(
                "{} frames of listed sources, {} above the rate",
                count(total.denied),
                count(total.rate_limited)
            ),
        ),
        ("figures of", span(report.covered_s)),
    ] {
        line(text, &format!("{name:<14} {value}"));
    }
}

fn backends(text: &mut String, report: &Report) {
    const COLUMNS: [Column; 9] = [
        ("BACKEND", 14, Side::Left),
        ("SESSIONS", 10, Side::Right),
        ("SHARE", 6, Side::Right),
        ("WEIGHT", 6, Side::Right),
        ("VOLUME", 8, Side::Right),
        ("MEAN", 6, Side::Right),
        ("MOST", 6, Side::Right),
        ("QUEUE", 7, Side::Right),
        ("OUT FOR", 8, Side::Right),
    ];
    text.push('\n');
    line(text, &titles(&COLUMNS));
    for backend in &report.backends {
        let queue = backend
            .longest_queue
            .map_or_else(|| "-".to_owned(), |queue| queue.to_string());
        let out = if backend.off_s == 0 {
            "-".to_owned()
        } else {
            age(backend.off_s)
        };
        let cells = [
            &backend.name,
            &count(backend.sessions),
            &format!("{:.1}%", backend.sessions_percent),
            &format!("{:.1}%", backend.weight_percent),
            &bytes(backend.bytes),
            &format!("{:.0}", backend.mean_open),
            &backend.most_open.to_string(),
            &queue,
            &out,
        ];
        line(text, &row(&COLUMNS, cells.map(String::as_str)));
    }
}

fn hours(text: &mut String, report: &Report, day: &Day) {
    const COLUMNS: [Column; 6] = [
        ("HOUR", 10, Side::Left),
        ("SESSIONS", 10, Side::Right),
        ("", 22, Side::Left),
        ("VOLUME", 8, Side::Right),
        ("QUEUE", 7, Side::Right),
        ("BUSIEST OF SHARE", 18, Side::Left),
    ];
    let most = report.hours.iter().map(|hour| hour.sessions).max();
    text.push('\n');
    line(text, &titles(&COLUMNS));
    for hour in report.hours.iter().filter(|hour| hour.sessions > 0) {
        let length = hour.sessions * BAR / most.unwrap_or(1).max(1);
        let bar: String = (0..length).map(|_| '#').collect();
        let busiest = match (&hour.busiest, hour.busiest_percent) {
            (Some(name), Some(percent)) => format!("{percent:.0}% {name}"),
            _ => String::new(),
        };
        let cells = [
            &day.clock(hour.begin_unix_s),
            &count(hour.sessions),
            &bar,
            &bytes(hour.bytes),
            &count(hour.longest_queue),
            &busiest,
        ];
        line(text, &row(&COLUMNS, cells.map(String::as_str)));
    }
}

fn masters(text: &mut String, report: &Report, day: &Day) {
    title(text, "MASTERS");
    for reign in &report.masters {
        let said = format!(
            "{} to {}  {}: {} sessions, {}",
            day.clock_s(reign.from_unix_s),
            day.clock_s(reign.to_unix_s),
            reign.node,
            count(reign.sessions),
            bytes(reign.bytes)
        );
        text.push_str(&wrapped(&said, 0));
    }
    for two in &report.two_masters {
        let said = format!(
            "two masters from {} to {}: {} and {}",
            day.clock_s(two.from_unix_s),
            day.clock_s(two.to_unix_s),
            two.node,
            two.other
        );
        text.push_str(&wrapped(&said, 0));
    }
    for failover in &report.failovers {
        let what = if failover.from == failover.to {
            format!("{} restarted", failover.to)
        } else {
            format!("{} after {}", failover.to, failover.from)
        };
        let without = match failover.without_s_at_most {
            0 => "never without a master".to_owned(),
            seconds => format!("without a master for at most {seconds} s"),
        };
        let why = if failover.why.is_empty() {
            String::new()
        } else {
            format!(": {}", failover.why)
        };
        let said = format!("{}  {what}, {without}{why}", day.clock_s(failover.unix_s));
        text.push_str(&wrapped(&said, 0));
    }
}

fn shut_offs(text: &mut String, report: &Report, day: &Day) {
    if report.shut_offs.is_empty() {
        return;
    }
    title(text, "OUT OF SERVICE");
    for one in report.shut_offs.iter().take(SHOWN) {
        let until = if one.lasts {
            "not back".to_owned()
        } else {
            format!("to {}", day.clock_s(one.to_unix_s))
        };
        let said = format!(
            "{} {until}  {} for {}: {}",
            day.clock_s(one.from_unix_s),
            one.backend,
            age(one.off_s),
            one.reason
        );
        text.push_str(&wrapped(&said, 0));
    }
    more(text, report.shut_offs.len());
}

fn denied(text: &mut String, report: &Report, day: &Day) {
    const COLUMNS: [Column; 5] = [
        ("DENIED SOURCE", 39, Side::Left),
        ("FRAMES", 12, Side::Right),
        ("WHY", 6, Side::Left),
        ("MINUTES", 7, Side::Right),
        ("LAST", 10, Side::Right),
    ];
    if report.denied.is_empty() {
        return;
    }
    text.push('\n');
    line(text, &titles(&COLUMNS));
    for source in report.denied.iter().take(SHOWN) {
        let cells = [
            &source.source.to_string(),
            &count(source.frames),
            &source.why,
            &source.minutes.to_string(),
            &day.clock(source.last_unix_s),
        ];
        line(text, &row(&COLUMNS, cells.map(String::as_str)));
    }
}

fn worst(text: &mut String, report: &Report, day: &Day) {
    const COLUMNS: [Column; 6] = [
        ("WORST MINUTE", 12, Side::Left),
        ("LOST", 7, Side::Right),
        ("QUEUE", 8, Side::Right),
        ("SESSIONS", 9, Side::Right),
        ("OPEN", 8, Side::Right),
        ("OUT OF SERVICE", 31, Side::Left),
    ];
    if report.worst_minutes.is_empty() {
        return;
    }
    text.push('\n');
    line(text, &titles(&COLUMNS));
    for minute in &report.worst_minutes {
        let cells = [
            &day.clock(minute.begin_unix_s),
            &count(minute.turned_away + minute.reset),
            &count(minute.queued),
            &count(minute.sessions),
            &count(minute.most_open),
            &minute.out_of_service.join(", "),
        ];
        line(text, &row(&COLUMNS, cells.map(String::as_str)));
    }
}

fn events(text: &mut String, report: &Report, day: &Day) {
    if report.events.is_empty() {
        return;
    }
    title(text, "EVENTS");
    for event in report.events.iter().take(SHOWN) {
        let said = format!(
            "{}  {}: {}",
            day.clock_s(event.unix_s),
            event.node,
            event.text
        );
        text.push_str(&wrapped(&said, 0));
    }
    let all = report.events.len() as u64 + report.events_left_out;
    let all = usize::try_from(all).unwrap_or(usize::MAX);
    if all > SHOWN {
        line(
            text,
            &format!("... and {}", times(all - SHOWN, "more event")),
        );
    }
}
