//! `lbd status`.
use std::{fmt::Write as _, path::Path};

use hyper::Method;

use super::client;
use crate::daemon::status::{BackendStatus, Status};

/// Flags of `lbd status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::load(config)?.node.control;
    if args.json {
        let status: serde_json::Value = client::request(&socket, Method::GET, "/status", None)?;
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        let status: Status = client::request(&socket, Method::GET, "/status", None)?;
        print!("{}", render(&status));
    }
    Ok(())
}

/// The state in 80 columns.
fn render(status: &Status) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut text, status).and_then(|()| backends(&mut text, &status.backends));
    text
}

fn head(text: &mut String, status: &Status) -> std::fmt::Result {
    let election = &status.election;
    writeln!(
        text,
        "{} is {} for {}: {}",
        status.node,
        status.role,
        age(election.since_s),
        election.reason
    )?;
    if let Some(master) = status
        .master
        .as_ref()
        .filter(|master| **master != status.node)
    {
        writeln!(text, "master  {master}")?;
    }
    for vip in &status.virtual_addresses {
        let ports = vip
            .ports
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let held = if vip.held {
            "held here"
        } else {
            "not held here"
        };
        writeln!(text, "vip     {} port {ports}, {held}", vip.address)?;
    }
    for interface in &status.interfaces {
        let up = if interface.up { "" } else { ", link down" };
        writeln!(
            text,
            "xdp     {} on {}{up}",
            interface.xdp_mode, interface.name
        )?;
    }
    if let Some(why) = &status.channel.off {
        writeln!(text, "channel off: {why}")?;
    } else {
        let peers = &status.channel.peers;
        let complete = peers.iter().filter(|peer| peer.complete).count();
        writeln!(
            text,
            "channel has the flows of {complete} of {} peers",
            peers.len()
        )?;
    }
    if let Some(refused) = &status.config.refused {
        writeln!(
            text,
            "config  {} was refused, the one before it runs:\n{refused}",
            status.config.path
        )?;
    }
    writeln!(text)
}

fn backends(text: &mut String, backends: &[BackendStatus]) -> std::fmt::Result {
    writeln!(
        text,
        "{:<12} {:<10} {:<7} {:>7} {:>8} {:>7} {:>7} {:>9}",
        "BACKEND", "SITE", "HEALTH", "WEIGHT", "SESSIONS", "SOURCES", "QUEUED", "STEERED"
    )?;
    for backend in backends {
        let queued = backend
            .reported
            .as_ref()
            .and_then(|reported| reported.queued);
        writeln!(
            text,
            "{:<12} {:<10} {:<7} {:>7} {:>8} {:>7} {:>7} {:>9}",
            cut(&backend.name, 12),
            cut(&backend.site, 10),
            backend.health,
            format!("{:.1}", f64::from(backend.weight_permille) / 1000.0),
            backend.sessions,
            backend.unique_sources,
            queued.map_or_else(|| "-".to_owned(), |queued| queued.to_string()),
            backend.steered.sessions,
        )?;
        writeln!(text, "  {}", backend.reason)?;
    }
    Ok(())
}

fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns - 1).chain(['…']).collect()
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_to_their_column() {
        assert_eq!(cut("mx1", 12), "mx1");
        assert_eq!(cut("a-very-long-name", 12).chars().count(), 12);
    }

    #[test]
    fn ages_take_the_largest_unit_that_is_not_zero() {
        assert_eq!(age(59), "59 s");
        assert_eq!(age(60), "1 min");
        assert_eq!(age(7200), "2 h");
        assert_eq!(age(200_000), "2 d");
    }
}
