//! The report as one HTML page that needs nothing else: no script, no font, no other file.
use std::fmt::Write as _;

use super::{
    figure::{bytes, count, notices, span, times},
    plot::{self, Layer, Mark},
};
use crate::{
    commands::table::{Tone, age},
    markup::{CSS, escape},
    report::{Day, Report},
};

/// Backends that the table shows at once; the others are folded away.
const UNFOLDED: usize = 12;
/// Rows of a list.
const SHOWN: usize = 50;

pub(super) fn page(report: &Report, day: &Day) -> String {
    let mut body = String::new();
    head(&mut body, report, day);
    plots(&mut body, report, day);
    backends(&mut body, report);
    availability(&mut body, report, day);
    lists(&mut body, report, day);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>lbd {}</title>\n\
         <style>\n{CSS}{}</style>\n</head>\n<body>\n<main>\n{body}\
         <footer class=\"faint\">Made on {} at {}; <code>lbd report --day {} --json</code> has every \
         figure. Open sessions and queues are the most of ten minutes each, sessions are those that \
         began in them.</footer>\n</main>\n</body>\n</html>\n",
        report.day,
        include_str!("page.css"),
        escape(&report.made_on),
        day.moment(report.made_unix_s),
        report.day
    )
}

fn head(body: &mut String, report: &Report, day: &Day) {
    let total = &report.total;
    let weekday = day.date.strftime("%A");
    let _ = writeln!(
        body,
        "<h1>lbd, {weekday} {}</h1>\n<p class=\"faint\">{}; figures of {}</p>",
        report.day,
        escape(&report.time_zone),
        span(report.covered_s)
    );
    body.push_str("<ul class=\"notices\">\n");
    let notices = notices(report, day);
    if notices.is_empty() {
        body.push_str("<li>A quiet day: nothing to look at.</li>\n");
    }
    for (tone, said) in notices {
        let class = if tone == Tone::Bad { "bad" } else { "warn" };
        let _ = writeln!(body, "<li class=\"{class}\">{}</li>", escape(&said));
    }
    body.push_str("</ul>\n<dl class=\"tiles\">\n");
    let failovers = report.failovers.iter().filter(|one| one.from != one.to);
    let lost = total.turned_away + total.reset;
    let most_at = if total.most_open > 0 {
        format!("at {}", day.clock(total.most_open_unix_s))
    } else {
        String::new()
    };
    for (name, value, more) in [
        ("Sessions", count(total.sessions), String::new()),
        ("Volume", bytes(total.bytes), "from clients".to_owned()),
        ("Most open at once", count(total.most_open), most_at),
        (
            "Longest queue",
            count(total.longest_queue),
            "messages, all backends".to_owned(),
        ),
        (
            "Lost sessions",
            count(lost),
            format!(
                "{} turned away, {} reset",
                count(total.turned_away),
                count(total.reset)
            ),
        ),
        ("Failovers", count(failovers.count() as u64), String::new()),
        (
            "Shut-offs",
            count(report.shut_offs.len() as u64),
            String::new(),
        ),
        (
            "Denied frames",
            count(total.denied + total.rate_limited),
            format!("{} above the rate", count(total.rate_limited)),
        ),
    ] {
        let _ = writeln!(
            body,
            "<div><dt>{name}</dt><dd>{value}<small>{}</small></dd></div>",
            escape(&more)
        );
    }
    body.push_str("</dl>\n");
}

/// Every sixth hour below a plot.
fn axis(body: &mut String, day: &Day) {
    body.push_str("<div class=\"axis\">");
    for quarter in 0..=4 {
        let at = day.begin_unix_s + (day.end_unix_s - day.begin_unix_s) * quarter / 4;
        let _ = write!(body, "<span>{}</span>", day.clock(at));
    }
    body.push_str("</div>");
}

fn legend(body: &mut String, layers: &[Layer], report: &Report) {
    body.push_str("<ul class=\"legend\">");
    for (index, layer) in layers.iter().enumerate() {
        let _ = write!(
            body,
            "<li><i class=\"c{index}\"></i>{}</li>",
            escape(&layer.name)
        );
    }
    if report.failovers.iter().any(|one| one.from != one.to) {
        body.push_str("<li><i class=\"dash\"></i>mastership moved</li>");
    }
    if !report.gaps.is_empty() {
        body.push_str("<li><i class=\"gap\"></i>no figures</li>");
    }
    body.push_str("</ul>");
}

fn figure(body: &mut String, day: &Day, title: &str, figure: &str, svg: &str) {
    let _ = write!(
        body,
        "<figure class=\"card\"><figcaption><b>{title}</b><span>{}</span></figcaption>{svg}",
        escape(figure)
    );
    axis(body, day);
}

fn plots(body: &mut String, report: &Report, day: &Day) {
    body.push_str("<h2>The day</h2>\n");
    let sessions = plot::layers(report, |backend| &backend.sessions);
    let open = plot::layers(report, |backend| &backend.open);
    let queued = plot::layers(report, |backend| &backend.queued);
    for (title, layers, unit) in [
        ("New sessions, by backend", &sessions, "in ten minutes"),
        ("Open sessions, by backend", &open, "at once"),
        ("Queued messages, by backend", &queued, "waiting"),
    ] {
        let highest = format!("top: {} {unit}", count(plot::top(layers)));
        let svg = plot::stack(report, day, layers, &format!("{title}; {highest}"));
        figure(body, day, title, &highest, &svg);
        legend(body, layers, report);
        body.push_str("</figure>\n");
    }
    let worst = report.hours.iter().filter_map(|hour| hour.busiest_percent);
    let worst = worst.fold(0.0, f64::max);
    figure(
        body,
        day,
        "Balance: the hour's busiest backend, in percent of its weight's share",
        &format!("highest {worst:.0} %; the line is 100 %"),
        &plot::balance(report),
    );
    body.push_str("</figure>\n");
}

fn backends(body: &mut String, report: &Report) {
    body.push_str("<h2>Backends</h2>\n");
    let head = "<div class=\"card scroll\"><table><thead><tr><th class=\"l\">backend</th>\
        <th class=\"l\">open over the day</th><th>sessions</th><th>share</th><th>of weight</th>\
        <th>volume</th><th>mean open</th><th>most</th><th>sources</th><th>queue</th><th>out for</th>\
        <th>times</th></tr></thead><tbody>\n";
    let rows = report.backends.iter().zip(&report.series.backends);
    let row = |(backend, series): (&crate::report::BackendDay, &crate::report::BackendSeries)| {
        let label = format!("Open sessions of {}", backend.name);
        let queue = backend.longest_queue.map_or("–".to_owned(), count);
        let out = if backend.off_s > 0 {
            age(backend.off_s)
        } else {
            "–".to_owned()
        };
        format!(
            "<tr><td class=\"l\">{}</td><td class=\"l\">{}</td><td>{}</td><td>{:.1} %</td><td>{:.1} %</td>\
             <td>{}</td><td>{:.1}</td><td>{}</td><td>{}</td><td>{queue}</td><td>{out}</td><td>{}</td></tr>\n",
            escape(&backend.name),
            plot::spark(&series.open, &series.off_s, &label),
            count(backend.sessions),
            backend.sessions_percent,
            backend.weight_percent,
            bytes(backend.bytes),
            backend.mean_open,
            count(backend.most_open),
            count(backend.most_sources),
            backend.shut_offs
        )
    };
    let rows: Vec<String> = rows.map(row).collect();
    let shown = rows.len().min(UNFOLDED);
    let _ = writeln!(
        body,
        "{head}{}</tbody></table></div>",
        rows[..shown].concat()
    );
    if shown < rows.len() {
        let _ = writeln!(
            body,
            "<details><summary>{}</summary>{head}{}</tbody></table></div></details>",
            times(rows.len() - shown, "more backend"),
            rows[shown..].concat()
        );
    }
}

/// Who was master, and which backends were out, on one scale of time.
fn availability(body: &mut String, report: &Report, day: &Day) {
    body.push_str("<h2>Masters and shut-offs</h2>\n<div class=\"card\"><div class=\"strips\">\n");
    let mut nodes: Vec<&str> = report.masters.iter().map(|one| &*one.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        let reigns = report.masters.iter().filter(|one| one.node == node);
        let marks: Vec<Mark> = reigns
            .map(|one| Mark {
                from_unix_s: one.from_unix_s,
                to_unix_s: one.to_unix_s,
                class: "good".to_owned(),
                title: format!(
                    "{} was master from {} to {}",
                    one.node,
                    day.clock_s(one.from_unix_s),
                    day.clock_s(one.to_unix_s)
                ),
            })
            .collect();
        let label = format!("{node} was master {} times", marks.len());
        let _ = writeln!(
            body,
            "<span>{} master</span>{}",
            escape(node),
            plot::strip(day, &marks, &label)
        );
    }
    let off = report.backends.iter().filter(|one| one.off_s > 0);
    for backend in off.take(UNFOLDED) {
        let own = report
            .shut_offs
            .iter()
            .filter(|one| one.backend == backend.name);
        let marks: Vec<Mark> = own
            .map(|one| Mark {
                from_unix_s: one.from_unix_s,
                to_unix_s: one.to_unix_s,
                class: "bad".to_owned(),
                title: format!("from {}: {}", day.clock_s(one.from_unix_s), one.reason),
            })
            .collect();
        let label = format!("{} was out of service {} times", backend.name, marks.len());
        let _ = writeln!(
            body,
            "<span>{} out</span>{}",
            escape(&backend.name),
            plot::strip(day, &marks, &label)
        );
    }
    body.push_str("<span></span><div>");
    axis(body, day);
    body.push_str("</div></div></div>\n");
}

/// A table of texts; the last column may be long.
fn table(body: &mut String, title: &str, titles: &[&str], left: usize, rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let class = |index: usize, last: usize| match index {
        _ if index < left => " class=\"l\"",
        _ if index == last => " class=\"l w\"",
        _ => "",
    };
    let last = titles.len() - 1;
    let _ = write!(
        body,
        "<h2>{title}</h2>\n<div class=\"card scroll\"><table><thead><tr>"
    );
    for (index, title) in titles.iter().enumerate() {
        let _ = write!(body, "<th{}>{title}</th>", class(index, last));
    }
    body.push_str("</tr></thead><tbody>\n");
    for row in rows.iter().take(SHOWN) {
        body.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let _ = write!(body, "<td{}>{}</td>", class(index, last), escape(cell));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n");
    if rows.len() > SHOWN {
        let _ = writeln!(
            body,
            "<p class=\"faint\">{} besides</p>",
            times(rows.len() - SHOWN, "row")
        );
    }
}

fn lists(body: &mut String, report: &Report, day: &Day) {
    mastership(body, report, day);
    denied_and_worst(body, report, day);
    events(body, report, day);
}

fn mastership(body: &mut String, report: &Report, day: &Day) {
    let rows = report.shut_offs.iter().map(|one| {
        let until = if one.lasts {
            "not back".to_owned()
        } else {
            day.clock_s(one.to_unix_s)
        };
        vec![
            day.clock_s(one.from_unix_s),
            until,
            one.backend.clone(),
            age(one.off_s),
            one.reason.clone(),
        ]
    });
    let titles = ["from", "to", "backend", "out for", "why"];
    table(
        body,
        "Out of service",
        &titles,
        3,
        &rows.collect::<Vec<_>>(),
    );

    let rows = report.masters.iter().map(|one| {
        vec![
            day.clock_s(one.from_unix_s),
            day.clock_s(one.to_unix_s),
            one.node.clone(),
            count(one.sessions),
            bytes(one.bytes),
            String::new(),
        ]
    });
    let titles = ["from", "to", "master", "sessions", "volume", ""];
    table(body, "Masters", &titles, 3, &rows.collect::<Vec<_>>());

    let rows = report.failovers.iter().map(|one| {
        let what = if one.from == one.to {
            format!("{} restarted", one.to)
        } else {
            format!("{} after {}", one.to, one.from)
        };
        vec![
            day.clock_s(one.unix_s),
            what,
            match one.without_s_at_most {
                0 => "never".to_owned(),
                seconds => format!("≤ {seconds} s"),
            },
            one.why.clone(),
        ]
    });
    let titles = ["at", "master", "without one", "why"];
    table(body, "Failovers", &titles, 2, &rows.collect::<Vec<_>>());
}

fn denied_and_worst(body: &mut String, report: &Report, day: &Day) {
    let rows = report.worst_minutes.iter().map(|one| {
        vec![
            day.clock(one.begin_unix_s),
            count(one.turned_away),
            count(one.reset),
            count(one.queued),
            count(one.sessions),
            count(one.most_open),
            one.out_of_service.join(", "),
        ]
    });
    let titles = [
        "minute",
        "turned away",
        "reset",
        "queue",
        "sessions",
        "open",
        "out of service",
    ];
    table(
        body,
        "The worst minutes",
        &titles,
        1,
        &rows.collect::<Vec<_>>(),
    );

    let rows = report.denied.iter().map(|one| {
        vec![
            one.source.to_string(),
            count(one.frames),
            one.minutes.to_string(),
            day.clock(one.first_unix_s),
            day.clock(one.last_unix_s),
            match one.why.as_str() {
                "rate" => "opened sessions too fast".to_owned(),
                _ => "on a list, or denied by an operator".to_owned(),
            },
        ]
    });
    let titles = ["source", "frames", "minutes", "first", "last", "why"];
    table(
        body,
        "Denied sources",
        &titles,
        1,
        &rows.collect::<Vec<_>>(),
    );
}

fn events(body: &mut String, report: &Report, day: &Day) {
    let rows = report.events.iter().map(|one| {
        vec![
            day.clock_s(one.unix_s),
            one.node.clone(),
            one.kind.clone(),
            one.text.clone(),
        ]
    });
    let titles = ["at", "node", "about", "what happened"];
    table(body, "Events", &titles, 3, &rows.collect::<Vec<_>>());
    if report.events_left_out > 0 {
        let _ = writeln!(
            body,
            "<p class=\"faint\">{} more are not in the report</p>",
            count(report.events_left_out)
        );
    }
}
