//! A lab that stays, to explore by hand.
use std::{fs::File, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};
use lbd_tests::{
    cluster::{self, Settings},
    lab::{self, Lab, Spec, addresses},
};

/// Flags of `up`.
#[derive(Debug, clap::Args)]
pub(super) struct Up {
    /// Mail gateways.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,
    /// Addresses of the client host.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=2000))]
    sources: u16,
}

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
pub(super) struct Exec {
    /// `mx1`, `mx2`, ..., `client1` or `switch`.
    host: String,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(super) fn up(args: &Up) -> Result<()> {
    let lab = Lab::keep(&Spec {
        clients: 1,
        nodes: args.nodes,
        sources: args.sources,
    })?;
    let cluster = cluster::Cluster::new(&lab, Settings::default())?;
    println!(
        "{} mail gateways and a client on one bridge.",
        lab.nodes.len()
    );
    println!(
        "Virtual addresses: {} and {}\n",
        addresses::VIP4,
        addresses::VIP6
    );
    println!("Start each node, and a mail server on it:");
    for (index, node) in lab.nodes.iter().enumerate() {
        let (name, config) = (&node.name, cluster.config(index));
        println!(
            "  lbd-lab exec {name} lbd run --config {}",
            config.display()
        );
        println!("  lbd-lab exec {name} smtp-sink -u nobody [::]:25 1024");
    }
    println!("Send 100 messages:");
    println!(
        "  lbd-lab exec client1 smtp-source -4 -m 100 {}:25",
        addresses::VIP4
    );
    println!("And when done:\n  lbd-lab down");
    Ok(())
}

pub(super) fn exec(args: &Exec) -> Result<()> {
    let path = lab::kept_namespace(&args.host);
    let host = &args.host;
    let _ = File::open(&path)
        .with_context(|| format!("there is no host {host}; `lbd-lab up` builds a lab"))?;
    // nsenter and not `ip netns exec`, which would hide the BPF file system.
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", path.display()))
        .args(&args.command);
    Err(command.exec()).context("cannot run nsenter")
}
