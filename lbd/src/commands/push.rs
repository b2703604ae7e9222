//! `lbd push`: the cluster's configuration, to every node.
use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _, stdin, stdout},
    path::Path,
    time::Duration,
};

use anyhow::{anyhow, bail};
use hyper::Method;

use super::{
    client,
    table::{self, Column, Paint, Side, Tone, titles, wrapped},
};
use crate::{
    daemon::cluster::push::{
        PeerReport, PeerStanding, Progress, PushOrigin, PushReport, PushRequest, StandingReport,
    },
    push::{Difference, Version},
};

/// The daemon waits for its peers, each of which may take its time to check long lists.
const PATIENCE: Duration = Duration::from_secs(90);

/// How far back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Back {
    /// To the version before the last one.
    Last,
    To(u64),
}

fn back(text: &str) -> Result<Back, String> {
    if text == LAST {
        return Ok(Back::Last);
    }
    let number = text.parse().map_err(|_| "give a version number")?;
    Ok(Back::To(number))
}

const LAST: &str = "the one before";

/// Arguments of `lbd push`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct Args {
    /// Show what would change on each peer and whether it would take it; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask. Without a terminal there is no question anyway.
    #[arg(long, short)]
    yes: bool,
    /// Leave this peer out, for one that is down or runs no lbd; it is behind afterwards. Can be repeated.
    #[arg(long, value_name = "PEER")]
    without: Vec<String>,
    /// Go back to the version before the last one, or to version N, on this node and all peers.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, value_parser = back)]
    #[arg(default_missing_value = LAST, conflicts_with = "from")]
    back: Option<Back>,
    /// Copy the last version pushed to PEER to this node only, after it was away. Works on any node.
    #[arg(long, value_name = "PEER", conflicts_with = "without")]
    from: Option<String>,
    /// List the versions that this node keeps, and what each peer has.
    #[arg(long, conflicts_with_all = ["dry_run", "yes", "without", "back", "from"])]
    list: bool,
    /// Print JSON and do not ask.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    if args.list {
        return list(&socket, args);
    }
    let paint = Paint::for_stdout();
    let mut request = PushRequest {
        order: order(args),
        trial: args.dry_run,
        without: args.without.clone(),
        expects: None,
        sudo_user: std::env::var("SUDO_USER").ok(),
    };
    let asks = !args.yes && !args.json && !args.dry_run;
    if asks && stdin().is_terminal() && stdout().is_terminal() {
        request.trial = true;
        let shown = send(&socket, &request)?;
        print!("{}", render(&shown, paint));
        judge(&shown)?;
        if !agrees(&shown)? {
            bail!("nothing was changed");
        }
        request.trial = false;
        request.expects = Some(shown.version.digest);
        let report = send(&socket, &request)?;
        print!("{}", outcome(&report, paint));
        return judge(&report);
    }
    let report = send(&socket, &request)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", render(&report, paint));
    }
    judge(&report)
}

fn order(args: &Args) -> PushOrigin {
    match (&args.from, args.back) {
        (Some(peer), _) => PushOrigin::From(peer.clone()),
        (None, Some(Back::Last)) => PushOrigin::Back(None),
        (None, Some(Back::To(number))) => PushOrigin::Back(Some(number)),
        (None, None) => PushOrigin::Own,
    }
}

fn send(socket: &Path, request: &PushRequest) -> anyhow::Result<PushReport> {
    let body = serde_json::to_value(request)?;
    client::request_within(PATIENCE, socket, Method::POST, "/push", Some(&body))
}

fn agrees(shown: &PushReport) -> anyhow::Result<bool> {
    print!("push version {}? [y/N] ", shown.version.number);
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The exit code: an error where not all is as it was asked for.
fn judge(report: &PushReport) -> anyhow::Result<()> {
    let bad: Vec<&PeerReport> = report
        .peers
        .iter()
        .filter(|peer| is_bad(peer.progress))
        .collect();
    let names = |peers: &[&PeerReport]| {
        let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        names.join(", ")
    };
    if let Some(trouble) = &report.trouble {
        bail!(
            "{}{trouble}",
            if report.pushed {
                ""
            } else {
                "nothing was changed: "
            }
        );
    }
    if bad.is_empty() {
        return Ok(());
    }
    if report.pushed {
        bail!(
            "version {} is in force, but not everywhere yet: {}; run `lbd push` again to update them",
            report.version.number,
            names(&bad)
        );
    }
    let all_unreachable = bad
        .iter()
        .all(|peer| peer.progress == Progress::Unreachable);
    let hint = if all_unreachable {
        "; use --without PEER to leave one out"
    } else {
        ""
    };
    let tense = if report.trial { "would be" } else { "was" };
    Err(anyhow!(
        "nothing {tense} changed anywhere, because not every node accepts it: {}{hint}",
        names(&bad)
    ))
}

fn is_bad(progress: Progress) -> bool {
    match progress {
        Progress::Pushed | Progress::Accepted | Progress::LeftOut => false,
        Progress::Troubled | Progress::Refused | Progress::Unreachable | Progress::Behind => true,
    }
}

/// What changes where, and what came of it.
fn render(report: &PushReport, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if !report.here.is_empty() {
        let _ = writeln!(text, "this node:");
        differences(&mut text, &report.here, paint);
    }
    for peer in &report.peers {
        let edited = if peer.edited {
            ", edited there since"
        } else {
            ""
        };
        let had = match &peer.had {
            Some(version) => format!(" has version {}{edited}", version.number),
            None => String::new(),
        };
        let nothing = peer.differences.is_empty() && !is_bad(peer.progress) && peer.had.is_some();
        let nothing = if nothing { ", nothing changes" } else { "" };
        let _ = writeln!(text, "{}:{had}{nothing}", peer.name);
        differences(&mut text, &peer.differences, paint);
    }
    text + &outcome(report, paint)
}

fn differences(text: &mut String, differences: &[Difference], paint: Paint) {
    for difference in differences {
        let Difference {
            what,
            added,
            removed,
            diff,
        } = difference;
        let _ = writeln!(text, "  {what}: +{added} -{removed}");
        for line in diff.lines() {
            let line = match line.as_bytes().first() {
                Some(b'+') => paint.tone(Tone::Good, line),
                Some(b'-') => paint.tone(Tone::Bad, line),
                Some(b'@') => paint.tone(Tone::Faint, line),
                _ => line.to_owned(),
            };
            let _ = writeln!(text, "    {line}");
        }
    }
}

fn outcome(report: &PushReport, paint: Paint) -> String {
    let mut text = String::new();
    for peer in &report.peers {
        let (tone, said) = match peer.progress {
            Progress::Pushed => (Tone::Good, "has it and is running it"),
            Progress::Accepted if report.trial => (Tone::Good, "would take it"),
            Progress::Accepted => (Tone::Faint, "accepted it, then dropped it"),
            Progress::LeftOut => (Tone::Warning, "left out: it is behind"),
            Progress::Troubled => (Tone::Bad, "has it but is not running it"),
            Progress::Refused => (Tone::Bad, "refuses"),
            Progress::Unreachable => (Tone::Bad, "cannot be reached"),
            Progress::Behind => (Tone::Bad, "is behind, as far as this node knows"),
        };
        let _ = writeln!(
            text,
            "{}",
            paint.tone(tone, &format!("{}: {said}", peer.name))
        );
        for line in peer.why.iter().flat_map(|why| why.lines()) {
            let _ = writeln!(text, "    {line}");
        }
    }
    if report.pushed {
        let _ = writeln!(
            text,
            "version {} is in force, {}",
            report.version.number,
            by(&report.version)
        );
    }
    text
}

fn by(version: &Version) -> String {
    format!("by {} on {}", version.by, version.on)
}

fn list(socket: &Path, args: &Args) -> anyhow::Result<()> {
    let report: StandingReport =
        client::request_within(PATIENCE, socket, Method::GET, "/push", None)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", render_list(&report, Paint::for_stdout()));
    }
    Ok(())
}

const VERSIONS: [Column; 5] = [
    ("VERSION", 7, Side::Right),
    ("WHEN (UTC)", 19, Side::Left),
    ("BY", 14, Side::Left),
    ("ON", 12, Side::Left),
    ("", 23, Side::Left),
];
const PEERS: [Column; 3] = [
    ("PEER", 12, Side::Left),
    ("VERSION", 7, Side::Right),
    ("", 55, Side::Left),
];

fn render_list(report: &StandingReport, paint: Paint) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", paint.tone(Tone::Faint, &titles(&VERSIONS)));
    for version in &report.versions {
        let note = match version.back_to {
            Some(number) => format!("back to {number}"),
            None if version.number == 0 => "found at first start".to_owned(),
            None => String::new(),
        };
        let cells = [
            &version.number.to_string(),
            &super::time::utc(version.at_unix_s),
            &version.by,
            &version.on,
            note.as_str(),
        ];
        let _ = writeln!(text, "{}", table::row(&VERSIONS, cells));
    }
    if report.edited {
        let line = format!(
            "the files on {} were edited since: `lbd push` pushes them",
            report.node
        );
        text.push_str(&paint.tone(Tone::Warning, &wrapped(&line, 0)));
    }
    if report.peers.is_empty() {
        return text;
    }
    let _ = writeln!(text, "\n{}", paint.tone(Tone::Faint, &titles(&PEERS)));
    for peer in &report.peers {
        let PeerStanding {
            name,
            version,
            behind,
            edited,
            trouble,
        } = peer;
        let number = version
            .as_ref()
            .map_or("-".to_owned(), |it| it.number.to_string());
        let said = match (behind, edited, trouble) {
            (_, _, Some(trouble)) => trouble.lines().next().unwrap_or_default(),
            (true, _, None) => "behind: run `lbd push` to update it",
            (false, true, None) => "edited there since",
            (false, false, None) => "",
        };
        let row = table::row(&PEERS, [name, &number, said]);
        let is_fine = !behind && !edited && trouble.is_none();
        let row = if is_fine {
            row
        } else {
            paint.tone(Tone::Warning, &row)
        };
        let _ = writeln!(text, "{row}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::Digest;

    fn version(number: u64) -> Version {
        Version {
            number,
            digest: Digest::of(b""),
            by: "root".to_owned(),
            on: "mx1".to_owned(),
            at_unix_s: 1_000,
            back_to: (number == 3).then_some(1),
        }
    }

    fn report(progress: &[Progress], pushed: bool) -> PushReport {
        let peer = |(index, progress): (usize, &Progress)| PeerReport {
            name: format!("mx{}", index + 2),
            progress: *progress,
            why: is_bad(*progress).then(|| "because".to_owned()),
            had: Some(version(1)),
            edited: false,
            differences: vec![Difference {
                what: "/etc/lbd/deny".to_owned(),
                added: 1,
                removed: 0,
                diff: "+203.0.113.7\n".to_owned(),
            }],
        };
        PushReport {
            pushed,
            trial: false,
            version: version(2),
            trouble: None,
            here: Vec::new(),
            peers: progress.iter().enumerate().map(peer).collect(),
        }
    }

    #[test]
    fn what_changes_is_shown_before_what_came_of_it() {
        let report = report(&[Progress::Pushed, Progress::Behind], true);
        let text = render(&report, Paint::PLAIN);
        assert!(
            text.starts_with("mx2: has version 1\n  /etc/lbd/deny: +1 -0\n    +203.0.113.7\n"),
            "{text}"
        );
        assert!(text.ends_with("mx3: is behind, as far as this node knows\n    because\nversion 2 is in force, by root on mx1\n"), "{text}");
        assert!(render(&report, Paint::COLOURED).contains("\x1b[32m+203.0.113.7"));
        let error = judge(&report).unwrap_err().to_string();
        assert!(error.contains("not everywhere yet: mx3"), "{error}");
    }

    #[test]
    fn what_did_not_happen_is_said_plainly() {
        assert!(judge(&report(&[Progress::Pushed, Progress::LeftOut], true)).is_ok());
        let error = judge(&report(&[Progress::Accepted, Progress::Unreachable], false));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("nothing was changed anywhere") && error.contains("--without"),
            "{error}"
        );
    }

    #[test]
    fn a_peer_that_is_behind_is_listed_as_such() {
        let peer = |name: &str, behind, trouble: Option<&str>| PeerStanding {
            name: name.to_owned(),
            version: Some(version(1)),
            behind,
            edited: false,
            trouble: trouble.map(ToOwned::to_owned),
        };
        let report = StandingReport {
            node: "mx1".to_owned(),
            versions: (0..4).map(version).collect(),
            edited: true,
            peers: vec![
                peer("mx2", true, None),
                peer("mx3", false, Some("no connection")),
            ],
        };
        let text = render_list(&report, Paint::PLAIN);
        for expected in [
            "behind: run `lbd push`",
            "no connection",
            "back to 1",
            "1970-01-01 00:16:40",
            "were edited",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= table::WIDTH, "{line}");
        }
    }
}
