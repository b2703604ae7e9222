//! `lbd explain`.
use std::path::Path;

use hyper::Method;

use super::client;
use crate::daemon::operator::order::Explained;

/// Flags of `lbd explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this backend.
    node: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, args: &Args) -> anyhow::Result<()> {
    let socket = super::config_file::control_socket(config)?;
    let path = match &args.node {
        Some(node) => format!("/explain?backend={}", client::encoded(node)),
        None => "/explain".to_owned(),
    };
    let explained: Explained = client::request(&socket, Method::GET, &path, None)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&explained.decisions)?);
    } else {
        print!("{}", explained.text);
    }
    Ok(())
}
