//! `lbd drain`, `lbd undrain` and `lbd weight`: the operator's word on a backend.
use std::path::Path;

use hyper::Method;

use super::client;
use crate::daemon::control::{OperatorRequest, Order};

/// Arguments of `lbd drain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backend, by its name in the configuration.
    node: String,
}

/// Arguments of `lbd undrain`.
#[derive(Debug, clap::Args)]
pub(super) struct Undrain {
    /// The backend, by its name in the configuration.
    node: String,
}

/// Arguments of `lbd weight`.
#[derive(Debug, clap::Args)]
pub(super) struct SetWeight {
    /// The backend, by its name in the configuration.
    node: String,
    /// 0 (no new sessions) to 10000.
    #[arg(value_parser = clap::value_parser!(u16).range(0..=10_000))]
    weight: u16,
}

pub(super) fn drain(config: &Path, args: &Args) -> anyhow::Result<()> {
    order(config, &args.node, Order::Drain)
}

pub(super) fn undrain(config: &Path, args: &Undrain) -> anyhow::Result<()> {
    order(config, &args.node, Order::Release)
}

pub(super) fn weight(config: &Path, args: &SetWeight) -> anyhow::Result<()> {
    order(config, &args.node, Order::Weight(args.weight))
}

fn order(config: &Path, backend: &str, order: Order) -> anyhow::Result<()> {
    let socket = super::control_socket(config)?;
    let request = OperatorRequest {
        backend: backend.to_owned(),
        order,
    };
    let done: String = client::request(
        &socket,
        Method::POST,
        "/operator",
        Some(&serde_json::to_value(request)?),
    )?;
    println!("{done}");
    Ok(())
}
