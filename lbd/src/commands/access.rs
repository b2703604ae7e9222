//! `lbd access`, `lbd deny` and `lbd undeny`: who may open sessions.
use std::{
    fmt::Write as _,
    io::Read as _,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use hyper::Method;

use super::{
    client,
    table::{self, Column, Paint, Side, Tone, age, titles, wrapped},
};
use crate::{
    config::{duration, parse_list},
    daemon::operator::{
        access::{AccessRequest, AccessStatus, SourceStatus, parse_network},
        feeds::FeedChange,
    },
};

/// A feed of 100,000 networks takes a second at most; a disk may be slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `lbd access`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whether this source may open sessions, and which entry decides.
    address: Option<IpAddr>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `lbd deny`.
#[derive(Debug, clap::Args)]
pub(super) struct Deny {
    /// An address, or a network: 198.51.100.0/24.
    #[arg(required_unless_present = "file")]
    address: Option<String>,
    /// A file with a network a line, which becomes the whole of --set; `-` is the standard input.
    #[arg(
        long,
        value_name = "FILE",
        requires = "set",
        conflicts_with = "address"
    )]
    file: Option<PathBuf>,
    /// Take a file without a network too, which empties --set.
    #[arg(long, requires = "file")]
    allow_empty: bool,
    /// The set of a feed, which this node denies in addition to what is denied by hand.
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
    /// How long: 30m, 1h, 7d. The default is until `lbd undeny`.
    #[arg(long = "for", value_name = "TIME")]
    how_long: Option<String>,
}

/// Arguments of `lbd undeny`.
#[derive(Debug, clap::Args)]
pub(super) struct Undeny {
    /// The address or network, as it was denied.
    #[arg(required_unless_present = "file")]
    address: Option<String>,
    /// A file with a network a line, which are taken out of --set; `-` is the standard input.
    #[arg(
        long,
        value_name = "FILE",
        requires = "set",
        conflicts_with = "address"
    )]
    file: Option<PathBuf>,
    /// The set of a feed.
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    let path = match args.address {
        Some(address) => format!("/access?source={}", client::encoded(&address.to_string())),
        None => "/access".to_owned(),
    };
    let access: AccessStatus = client::request(&socket, Method::GET, &path, None)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&access)?);
    } else {
        print!("{}", render(&access, Paint::for_stdout()));
    }
    Ok(())
}

pub(super) fn deny(config: &Path, args: &Deny) -> anyhow::Result<()> {
    let for_s = args.how_long.as_deref().map(seconds).transpose()?;
    let Source { file, address, set } =
        Source::of(args.file.as_ref(), args.address.as_ref(), args.set.as_ref());
    if let Some(set) = set {
        let (kind, networks) = match file {
            Some(file) => {
                let networks = listed(file)?;
                if networks.is_empty() && !args.allow_empty {
                    bail!(
                        "{} has no network, like a download that failed: nothing was changed; \
                         `--allow-empty` empties the set",
                        shown(file)
                    );
                }
                (FeedChange::Replace, networks)
            }
            None => (FeedChange::Add, vec![one(address)?]),
        };
        return feed(config, set, kind, networks, for_s);
    }
    let network = one(address)?;
    change(config, &AccessRequest::Deny { network, for_s })
}

pub(super) fn undeny(config: &Path, args: &Undeny) -> anyhow::Result<()> {
    let Source { file, address, set } =
        Source::of(args.file.as_ref(), args.address.as_ref(), args.set.as_ref());
    if let Some(set) = set {
        let networks = match file {
            Some(file) => listed(file)?,
            None => vec![one(address)?],
        };
        return feed(config, set, FeedChange::Remove, networks, None);
    }
    let network = one(address)?;
    change(config, &AccessRequest::Release { network })
}

/// What a command is about.
struct Source<'a> {
    file: Option<&'a Path>,
    address: Option<&'a str>,
    set: Option<&'a str>,
}

impl<'a> Source<'a> {
    fn of(file: Option<&'a PathBuf>, address: Option<&'a String>, set: Option<&'a String>) -> Self {
        Self {
            file: file.map(PathBuf::as_path),
            address: address.map(String::as_str),
            set: set.map(String::as_str),
        }
    }
}

/// The address of the command line, which is one.
fn one(address: Option<&str>) -> anyhow::Result<String> {
    // clap asks for it or for a file.
    let address = address.unwrap_or_default();
    parse_network(address).map_err(|error| anyhow!(error))?;
    Ok(address.to_owned())
}

fn feed(
    config: &Path,
    set: &str,
    kind: FeedChange,
    networks: Vec<String>,
    for_s: Option<u64>,
) -> anyhow::Result<()> {
    change(
        config,
        &AccessRequest::Feed {
            set: set.to_owned(),
            change: kind,
            networks,
            for_s,
        },
    )
}

fn is_input(file: &Path) -> bool {
    file == Path::new("-")
}

/// A file's name, for people.
fn shown(file: &Path) -> String {
    if is_input(file) {
        "the standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// The networks of a file, or of the standard input.
fn listed(file: &Path) -> anyhow::Result<Vec<String>> {
    let bytes = if is_input(file) {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let shown = shown(file);
    let bytes = bytes.with_context(|| format!("{shown} cannot be read"))?;
    let networks = parse_list(&bytes, &shown).map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!("nothing was changed:\n{}", mistakes.join("\n"))
    })?;
    Ok(networks.iter().map(ToString::to_string).collect())
}

fn seconds(text: &str) -> anyhow::Result<u64> {
    match duration::parse(text) {
        Some(time) if time >= Duration::from_secs(1) => Ok(time.as_secs()),
        _ => {
            bail!("--for {text}: give a duration of at least a second, such as 90s, 30m, 1h or 7d")
        }
    }
}

fn change(config: &Path, request: &AccessRequest) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    let request = serde_json::to_value(request)?;
    let done: String =
        client::request_within(PATIENCE, &socket, Method::POST, "/access", Some(&request))?;
    println!("{done}");
    Ok(())
}

const COLUMNS: [Column; 3] = [
    ("DENIED BY HAND", 43, Side::Left),
    ("SINCE", 19, Side::Left),
    ("FOR", 10, Side::Right),
];

fn render(access: &AccessStatus, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(source) = &access.source {
        text.push_str(&judged(source, paint));
        return text;
    }
    // Writing to a String cannot fail.
    let mut line = |what: &str, said: String| {
        let _ = writeln!(text, "{what:<8}{said}");
    };
    let list = |count: usize, file: &Option<String>| match file {
        Some(file) => format!("{count} networks, including those in {file}"),
        None => format!("{count} networks"),
    };
    line("allow", list(access.allowed, &access.allow_file));
    line("deny", list(access.denied, &access.deny_file));
    let denied = if access.on_deny == "reset" {
        "a reset"
    } else {
        "no answer"
    };
    line("", format!("a denied source gets {denied}"));
    line(
        "rate",
        access
            .new_per_second
            .map_or("no limit on new sessions".to_owned(), |rate| {
                format!("{rate} new sessions a second from one source")
            }),
    );
    for set in &access.sets {
        line("set", format!("{} networks, by {}", set.networks, set.name));
    }
    if !access.by_hand.is_empty() {
        let _ = writeln!(text, "\n{}", paint.tone(Tone::Faint, &titles(&COLUMNS)));
    }
    for denial in &access.by_hand {
        let left = denial.left_s.map_or("good".to_owned(), age);
        let row = [
            &*denial.network,
            &super::time::utc(denial.since_unix_s),
            &left,
        ];
        let _ = writeln!(text, "{}", table::row(&COLUMNS, row));
    }
    text
}

fn judged(source: &SourceStatus, paint: Paint) -> String {
    let address = source.address;
    let sentence = match (source.admitted, source.denied_by.is_empty()) {
        (true, true) => format!("{address} may open sessions: no list denies it"),
        (true, false) => format!(
            "{address} may open sessions: {} in access.allow overrides the denial by {}",
            source.allowed_by.join(", "),
            source.denied_by.join(", ")
        ),
        (false, _) => format!("{address} is denied by {}", source.denied_by.join(", ")),
    };
    let tone = if source.admitted {
        Tone::Good
    } else {
        Tone::Bad
    };
    paint.tone(tone, &wrapped(&sentence, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::operator::access::DenialStatus;

    #[test]
    fn lists_are_told_by_their_size_and_denials_by_hand_one_by_one() {
        let access = AccessStatus {
            allowed: 2,
            denied: 100_000,
            deny_file: Some("/etc/lbd/deny".to_owned()),
            on_deny: "drop".to_owned(),
            new_per_second: Some(50),
            by_hand: vec![DenialStatus {
                network: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128".to_owned(),
                since_unix_s: 0,
                left_s: Some(3600),
            }],
            ..AccessStatus::default()
        };
        let text = render(&access, Paint::PLAIN);
        assert!(text.contains("deny    100000 networks, including those in /etc/lbd/deny"));
        assert!(text.contains("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128"));
        assert!(text.contains("1970-01-01 00:00:00") && text.contains("1 h"));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn a_source_is_told_what_decides() {
        let source = |admitted, allowed_by: &[&str], denied_by: &[&str]| AccessStatus {
            source: Some(SourceStatus {
                address: "198.51.100.7".parse().unwrap(),
                admitted,
                allowed_by: allowed_by.iter().map(|&text| text.to_owned()).collect(),
                denied_by: denied_by.iter().map(|&text| text.to_owned()).collect(),
            }),
            ..AccessStatus::default()
        };
        for (access, said) in [
            (source(true, &[], &[]), "no list denies it"),
            (source(true, &["a"], &["b"]), "a in access.allow overrides"),
            (source(false, &[], &["b", "c"]), "is denied by b, c"),
        ] {
            let text = render(&access, Paint::PLAIN);
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn a_time_is_a_second_at_least() {
        assert_eq!(seconds("1h30m").unwrap(), 5400);
        for text in ["", "1", "0s", "10ms", "-1h", "forever"] {
            let error = seconds(text).unwrap_err().to_string();
            assert!(error.contains("1h"), "{error}");
        }
    }
}
