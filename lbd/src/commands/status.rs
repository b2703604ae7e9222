//! `lbd status`.
use std::{fmt::Write as _, net::SocketAddr, path::Path};

use hyper::Method;

use super::{
    client,
    table::{self, Column, Paint, Side, Tone, age, titles, wrapped},
};
use crate::{
    config::duration::Shown,
    daemon::{
        observe::status::{BackendStatus, ConfigComparison, DrainStatus, ServiceStatus, Status},
        operator::order::Then,
    },
    push::Version,
};

/// Flags of `lbd status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    if args.json {
        let status: serde_json::Value = client::request(&socket, Method::GET, "/status", None)?;
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        let status: Status = client::request(&socket, Method::GET, "/status", None)?;
        print!("{}", render(&status, Paint::for_stdout()));
    }
    Ok(())
}

/// The state in 80 columns.
fn render(status: &Status, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, status, paint)
        .and_then(|()| backends(&mut text, &status.backends, paint))
        .and_then(|()| services(&mut text, &status.services, paint));
    text
}

fn head(text: &mut String, status: &Status, paint: Paint) -> std::fmt::Result {
    let election = &status.election;
    let role = format!(
        "{} is {} for {}: {}",
        status.node,
        status.role,
        age(election.since_s),
        election.reason
    );
    text.push_str(&wrapped(&role, 0));
    for warning in &election.warnings {
        text.push_str(&paint.tone(Tone::Warning, &wrapped(&format!("!! {warning}"), 0)));
    }
    if let Some(master) = status
        .master
        .as_ref()
        .filter(|master| **master != status.node)
    {
        writeln!(text, "master  {master}")?;
    }
    for vip in &status.virtual_addresses {
        let ports: Vec<String> = vip.ports.iter().map(ToString::to_string).collect();
        let held = if vip.held {
            "held here"
        } else {
            "not held here"
        };
        writeln!(
            text,
            "vip     {} port {}, {held}",
            vip.address,
            ports.join(",")
        )?;
    }
    for interface in &status.interfaces {
        let up = if interface.up {
            String::new()
        } else {
            paint.tone(Tone::Bad, ", link down")
        };
        writeln!(
            text,
            "xdp     {} on {}{up}",
            interface.xdp_mode, interface.name
        )?;
        if let Some(refused) = &interface.native_refused {
            text.push_str(&paint.tone(Tone::Warning, &wrapped(refused, 8)));
        }
    }
    channel(text, status, paint)?;
    text.push_str(&flow_tables(status, paint));
    if let Some(version) = status.config.version.as_ref().filter(|it| it.number > 0) {
        let Version { number, by, on, .. } = version;
        writeln!(text, "config  version {number}, by {by} on {on}")?;
    }
    for (peer, differs) in status.channel.config_differences() {
        let cure = match peer.config {
            Some(ConfigComparison::Ahead) => {
                format!("run `lbd push --from {}` here to update it", peer.name)
            }
            _ if status.role == "master" => "run `lbd push` to update it".to_owned(),
            _ => "run `lbd push` on the master to update it".to_owned(),
        };
        let line = wrapped(&format!("{} is {differs}: {cure}", peer.name), 8);
        text.push_str(&paint.tone(Tone::Warning, &line));
    }
    if let Some(refused) = &status.config.refused {
        let refused = format!(
            "config  {} was refused; the previous one stays in use:\n{refused}",
            status.config.path
        );
        text.push_str(&paint.tone(Tone::Bad, &wrapped(&refused, 0)));
    }
    writeln!(text)
}

/// The cluster channel: what it has, and what to look at.
fn channel(text: &mut String, status: &Status, paint: Paint) -> std::fmt::Result {
    if let Some(why) = &status.channel.off {
        text.push_str(&paint.tone(Tone::Warning, &wrapped(&format!("channel off: {why}"), 0)));
    } else {
        let peers = &status.channel.peers;
        let complete = peers.iter().filter(|peer| peer.complete).count();
        writeln!(
            text,
            "channel has the flows of {complete} of {} peers",
            peers.len()
        )?;
        for (counter, what) in [
            (
                "flows_no_room",
                "flows of peers did not fit: raise node.flows",
            ),
            (
                "refused_flood",
                "datagrams refused, above the rate limit for a peer: the log names it",
            ),
        ] {
            let count = status.channel.counters.get(counter).copied();
            if let Some(count) = count.filter(|count| *count > 0) {
                let line = format!("channel {count} {what}");
                text.push_str(&paint.tone(Tone::Warning, &wrapped(&line, 0)));
            }
        }
    }
    for warning in &status.channel.warnings {
        text.push_str(&paint.tone(Tone::Warning, &wrapped(&format!("!! {warning}"), 0)));
    }
    if let Some(why) = &status.channel.own_sessions_off {
        let line = format!("channel {why}");
        text.push_str(&paint.tone(Tone::Warning, &wrapped(&line, 8)));
    }
    Ok(())
}

/// Warnings about flow tables that fill.
fn flow_tables(status: &Status, paint: Paint) -> String {
    let tables = status.flows.each();
    let warnings = tables.iter().filter_map(|(family, table)| {
        let line = format!("!! {}", table.warning(family)?);
        Some(paint.tone(Tone::Warning, &wrapped(&line, 0)))
    });
    warnings.collect()
}

const COLUMNS: [Column; 8] = [
    ("BACKEND", 12, Side::Left),
    ("SITE", 10, Side::Left),
    ("HEALTH", 11, Side::Left),
    ("WEIGHT", 7, Side::Right),
    ("SESSIONS", 8, Side::Right),
    ("SOURCES", 7, Side::Right),
    ("QUEUED", 7, Side::Right),
    ("STEERED", 9, Side::Right),
];

fn backends(text: &mut String, backends: &[BackendStatus], paint: Paint) -> std::fmt::Result {
    writeln!(text, "{}", paint.tone(Tone::Faint, &titles(&COLUMNS)))?;
    for backend in backends {
        let queued = backend.reported.as_ref().and_then(|by| by.queued);
        let row = table::row(
            &COLUMNS,
            [
                &backend.name,
                &backend.site,
                &backend.health,
                &format!("{:.1}", f64::from(backend.weight_permille) / 1000.0),
                &backend.sessions.to_string(),
                &backend.unique_sources.to_string(),
                &queued.map_or_else(|| "-".to_owned(), |queued| queued.to_string()),
                &backend.steered.sessions.to_string(),
            ],
        );
        let row = match (backend.health.as_str(), backend.accepting) {
            ("down", _) => paint.tone(Tone::Bad, &row),
            (_, false) | ("full", _) => paint.tone(Tone::Warning, &row),
            _ => row,
        };
        writeln!(text, "{row}")?;
        text.push_str(&wrapped(
            &format!("{}{}", backend.reason, drain(backend.drain)),
            2,
        ));
        if backend.leaving_sessions > 0 {
            let count = backend.leaving_sessions;
            let line = format!("{count} of its sessions keep their old forwarding until they end");
            text.push_str(&wrapped(&line, 2));
        }
        let complaints = [
            ("health", &backend.health_reason),
            ("no figures", &backend.poll_error),
        ];
        for (what, complaint) in complaints {
            if let Some(complaint) = complaint {
                let line = wrapped(&format!("{what}: {complaint}"), 2);
                text.push_str(&paint.tone(Tone::Warning, &line));
            }
        }
    }
    Ok(())
}

const SERVICE_COLUMNS: [Column; 4] = [
    ("SERVICE", 45, Side::Left),
    ("SESSIONS", 8, Side::Right),
    ("SOURCES", 7, Side::Right),
    ("STEERED", 9, Side::Right),
];

/// Where there is one only, it has what all backends have together.
fn services(text: &mut String, services: &[ServiceStatus], paint: Paint) -> std::fmt::Result {
    if services.len() < 2 {
        return Ok(());
    }
    let head = titles(&SERVICE_COLUMNS);
    writeln!(text, "\n{}", paint.tone(Tone::Faint, &head))?;
    for service in services {
        let address = SocketAddr::new(service.address, service.port);
        let row = table::row(
            &SERVICE_COLUMNS,
            [
                &address.to_string(),
                &service.sessions.to_string(),
                &service.unique_sources.to_string(),
                &service.steered_sessions.to_string(),
            ],
        );
        writeln!(text, "{row}")?;
    }
    Ok(())
}

fn drain(drain: Option<DrainStatus>) -> String {
    let Some(DrainStatus { left_s, then }) = drain else {
        return String::new();
    };
    let left = Shown(std::time::Duration::from_secs(left_s));
    match then {
        Then::Reset => format!(", which are reset in {left}"),
        Then::Keep => format!(", {left} left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{commands::table::WIDTH, daemon::observe::status::tests::small};

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let mut status = small();
        let backend = &mut status.backends[0];
        backend.name = "a-backend-with-a-very-long-name".to_owned();
        backend.reason = "word ".repeat(50);
        backend.sessions = u64::MAX;
        backend.poll_error = Some("no answer ".repeat(30));
        status.election.reason = "because ".repeat(40);
        status.channel.off = Some("without it ".repeat(30));
        let text = render(&status, Paint::PLAIN);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(text.contains("a-backend-w…"), "{text}");
    }

    #[test]
    fn several_services_are_listed() {
        let mut status = small();
        assert!(!render(&status, Paint::PLAIN).contains("SERVICE"));
        let mut second = status.services[0].clone();
        (second.port, second.sessions) = (587, 3);
        status.services.push(second);
        let text = render(&status, Paint::PLAIN);
        let line = text.lines().last().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["192.0.2.25:587", "3", "7", "4711"]);
        assert!(line.chars().count() <= WIDTH, "{line}");
    }

    #[test]
    fn a_peer_with_another_configuration_is_named_with_the_cure() {
        let mut status = small();
        assert!(!render(&status, Paint::PLAIN).contains("push"));
        for (config, role, expected) in [
            (
                ConfigComparison::Behind,
                "master",
                "mx2 is behind at version 1: run `lbd push` to update it",
            ),
            (
                ConfigComparison::Behind,
                "backup",
                "behind at version 1: run `lbd push` on the master to update it",
            ),
            (
                ConfigComparison::Ahead,
                "backup",
                "mx2 is ahead at version 1: run `lbd push --from mx2` here to update it",
            ),
            (
                ConfigComparison::Other,
                "master",
                "mx2 is at another version 1: run `lbd push` to update it",
            ),
        ] {
            let peer = &mut status.channel.peers[0];
            (peer.config_version, peer.config) = (Some(1), Some(config));
            status.role = role.to_owned();
            let text = render(&status, Paint::PLAIN);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_flow_table_that_fills_is_told_with_what() {
        let mut status = small();
        assert!(!render(&status, Paint::PLAIN).contains("full ("));
        status.flows.ipv6.places = 100;
        status.flows.ipv6.unproven = 99;
        let text = render(&status, Paint::PLAIN);
        assert!(
            text.contains("!! the ipv6 flow table is 99 % full (99 unproven)"),
            "{text}"
        );
    }

    #[test]
    fn what_is_wrong_is_coloured() {
        let mut status = small();
        assert!(!render(&status, Paint::COLOURED).contains("\x1b[31m"));
        status.backends[0].health = "down".to_owned();
        status.backends[0].health_reason = Some("connection refused".to_owned());
        let text = render(&status, Paint::COLOURED);
        assert!(text.contains("\x1b[31mmx1 ") && text.contains("health: connection refused"));
    }
}
