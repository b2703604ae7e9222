//! The renderers, on a made-up day and on a recorded one.
use super::*;
use crate::report::tests::{made_up, quiet, recorded};

fn plain(report: &Report, day: &Day) -> String {
    text::render(report, day, Paint::PLAIN)
}

fn fixtures(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/fixtures");
    folder.join(name)
}

/// `LBD_WRITE=1 cargo test --workspace --lib report` writes them anew.
#[test]
fn the_renderers_say_what_they_said() {
    for (name, (report, day)) in [("made-up", made_up()), ("recorded", recorded())] {
        let folder = fixtures(name);
        let json = serde_json::to_string_pretty(&report).unwrap() + "\n";
        for (name, said) in [
            ("report.txt", plain(&report, &day)),
            ("report.json", json),
            ("report.html", html::page(&report, &day)),
        ] {
            let file = folder.join(name);
            if std::env::var_os("LBD_WRITE").is_some() {
                fs::write(&file, &said).unwrap();
            }
            let expected = fs::read_to_string(&file).unwrap();
            assert!(
                expected == said,
                "{} is not what is said now",
                file.display()
            );
        }
    }
}

/// `LBD_RECORD=FILE LBD_MINUTES=15 cargo test --workspace --lib -- --ignored record_a_day` takes the first
/// minutes of a node's history.db for the recorded day; `recorded` has the day's date.
#[test]
#[ignore = "writes a fixture"]
fn record_a_day() {
    let of = |name| std::env::var(name).unwrap();
    let archive = Archive::open_read_only(Path::new(&of("LBD_RECORD"))).unwrap();
    let (first, _) = archive.span().unwrap().unwrap();
    let minutes: u32 = of("LBD_MINUTES").parse().unwrap();
    let rows = archive.rows(first..first + minutes, None).unwrap();
    let lines = rows
        .iter()
        .map(|row| serde_json::to_string(row).unwrap() + "\n");
    let lines: String = lines.collect();
    fs::write(fixtures("recorded").join("rows.jsonl"), lines).unwrap();
}

#[test]
fn a_terminal_has_80_columns() {
    for (report, day) in [made_up(), quiet(), recorded()] {
        for line in plain(&report, &day).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn the_page_is_in_one_piece_and_runs_nothing() {
    let (mut report, day) = made_up();
    report.shut_offs[0].reason = "<script>alert(1)</script> & \"more\"".to_owned();
    let page = html::page(&report, &day);
    for outside in ["<script", "src=", "href=", "@import", "url(", "http"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp;"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("name=\"viewport\""));
    let (quiet, day) = quiet();
    assert!(html::page(&quiet, &day).contains("A quiet day"));
}

#[test]
fn a_mail_has_both_parts_in_short_lines() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let (report, day) = made_up();
    let message = mail::message(&report, &day, "postmaster@example.com");
    let (head, body) = message.split_once("\n\n").unwrap();
    assert!(head.contains("To: postmaster@example.com\nSubject: lbd 2026-11-21: "));
    assert!(
        head.contains("two masters") && head.contains("2 failovers"),
        "{head}"
    );
    assert!(message.is_ascii() && message.lines().all(|line| line.len() <= 998));
    let boundary = head.split('"').nth(1).unwrap();
    let parts: Vec<String> = body
        .split(&format!("--{boundary}"))
        .filter_map(|part| part.split_once("\n\n"))
        .map(|(_, text)| {
            let text: String = text.split_whitespace().collect();
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
        })
        .collect();
    assert_eq!(parts, [plain(&report, &day), html::page(&report, &day)]);
}

#[test]
fn only_an_address_is_an_address() {
    for good in ["root", "postmaster@example.com", "a+b@[192.0.2.1]"] {
        mail::check(good).unwrap();
    }
    for bad in ["", "-t", "a b@c", "a@b\nBcc: c@d", "a@b,c@d", "<a@b>"] {
        assert!(mail::check(bad).is_err(), "{bad}");
    }
}

#[test]
fn sendmail_is_given_the_message_and_heard() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    };
    let kept = folder.path().join("kept");
    let good = script(
        "good",
        &format!("echo \"$@\" > {0}; cat >> {0}", kept.display()),
    );
    mail::hand_over(&good, "mx1", "root", "hello\n").unwrap();
    assert_eq!(
        fs::read_to_string(&kept).unwrap(),
        "-i -F lbd on mx1 -- root\nhello\n"
    );
    let bad = script(
        "bad",
        "cat > /dev/null; echo the queue is full >&2; exit 75",
    );
    let error = mail::hand_over(&bad, "mx1", "root", "hello\n").unwrap_err();
    assert!(error.to_string().contains("the queue is full"), "{error}");
    let none = folder.path().join("none");
    let error = mail::hand_over(&none, "mx1", "root", "hello\n").unwrap_err();
    assert!(error.to_string().contains("needs a mail system"), "{error}");
}

#[test]
fn a_day_without_figures_is_answered_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let (_, day) = made_up();
    let answer = |now| {
        let error = report_of(folder.path(), "mx1", &day, now).unwrap_err();
        error.to_string()
    };
    let now = day.end_unix_s;
    assert!(answer(now).contains("there is no history at"));
    let bounds = crate::archive::Bounds {
        keep: std::time::Duration::from_hours(24),
        most_bytes: 8 << 20,
    };
    let (mut archive, _) = Archive::open(&folder.path().join(archive::FILE), bounds).unwrap();
    assert!(answer(now).ends_with("nothing has been kept yet"));
    let later = crate::history::Row::Reigned(crate::history::Reigned {
        node: "mx1".to_owned(),
        since_unix_s: day.end_unix_s + 600,
        minute: minute_of(day.end_unix_s + 600),
        seconds: 60,
        ..crate::history::Reigned::default()
    });
    archive.write(&[later]).unwrap();
    let said = answer(now + 1200);
    let expected = "there is no report for 2026-11-21: no master has left figures of that day; \
                    there are some from 2026-11-22 00:10 to 2026-11-22 00:10";
    assert_eq!(said, expected);
    assert!(answer(day.begin_unix_s - 1).contains("has not begun here"));
}
