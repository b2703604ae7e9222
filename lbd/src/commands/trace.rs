//! `lbd trace`.
use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use super::client;
use crate::{
    config::{Network, duration},
    daemon::operator::trace::TraceRequest,
};

/// Flags of `lbd trace`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only frames of this client, or of clients of this network.
    #[arg(value_name = "ADDR[/N]")]
    clients: Option<Network>,
    /// Only frames with this port at either end.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Only frames for this virtual address.
    #[arg(long, value_name = "V")]
    vip: Option<IpAddr>,
    /// End by itself after so long, an hour at most.
    #[arg(long = "for", value_name = "D", default_value = "30s", value_parser = lasts)]
    lasts: Duration,
    /// End after so many frames.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print JSON, an object a line.
    #[arg(long)]
    json: bool,
}

fn lasts(text: &str) -> Result<Duration, String> {
    let lasts = duration::parse(text);
    lasts
        .filter(|lasts| *lasts >= Duration::from_secs(1))
        .ok_or_else(|| "write a duration of a second or more: 30s, 5m".to_owned())
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    let request = TraceRequest {
        clients: args.clients.map(|network| network.to_string()),
        port: args.port,
        vip: args.vip,
        for_s: args.lasts.as_secs(),
        count: args.count,
        json: args.json,
    };
    let request = serde_json::to_value(request)?;
    let mut out = io::stdout().lock();
    client::follow(&socket, "/trace", &request, |lines| {
        match out.write_all(lines).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            // `lbd trace | head -1`: the reader has gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
}
