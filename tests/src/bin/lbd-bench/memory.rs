//! Memory of the kernel's maps, as it accounts for it itself.
use std::{fs, net::Ipv4Addr, os::fd::AsRawFd as _, path::Path};

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use lbd::{config::Network, dataplane::AccessLists};
use lbd_common::{
    flow::{BUCKETS4, BUCKETS6},
    maps,
};
use std::os::fd::AsFd as _;

use crate::{
    report::{Line, Section, Spread, Table},
    rig::Rig,
};

const ENTRIES: u32 = 100_000;

pub(crate) fn run() -> Result<Section> {
    let before = own_bytes()?;
    let mut rig = Rig::new()?;
    let pins = rig.pins().to_owned();
    let loaded = own_bytes()?;
    let empty = locked(&pins, maps::DENY4)?;
    let deny = (0..ENTRIES)
        .map(|number| Network::of(Ipv4Addr::from_bits(0x0a00_0000 + number * 4).into(), 30))
        .collect();
    rig.plane.set_access(&AccessLists {
        allow: [].into(),
        deny,
    })?;
    let full = locked(&pins, maps::DENY4)?;
    let per_backend: f64 = [
        maps::BACKENDS,
        maps::WEIGHTS,
        maps::LOAD,
        maps::BACKEND_STATS,
    ]
    .iter()
    .map(|map| locked(&pins, map))
    .sum::<Result<f64>>()?
        / f64::from(maps::MAX_BACKENDS);
    let lines = [
        (
            "a slot of FLOWS4",
            locked(&pins, maps::FLOWS4)? / (4.0 * f64::from(BUCKETS4)),
        ),
        (
            "a slot of FLOWS6",
            locked(&pins, maps::FLOWS6)? / (2.0 * f64::from(BUCKETS6)),
        ),
        (
            "an IPv4 flow, of 1,000,000",
            locked(&pins, maps::FLOWS4)? / 1e6,
        ),
        (
            "an IPv6 flow, of 1,000,000",
            locked(&pins, maps::FLOWS6)? / 1e6,
        ),
        ("a backend", per_backend),
        ("a list entry", (full - empty) / f64::from(ENTRIES)),
        ("the daemon's half, empty", loaded - before),
    ];
    Ok(Section {
        name: "memory",
        method: "What the kernel accounts a map with (`memlock` of its descriptor), and the \
                 memory of its own that loading the data plane added to this process. Flow tables are \
                 of their full size from the start and do not grow: 2,097,152 slots each."
            .to_owned(),
        tables: vec![Table {
            title: "of".to_owned(),
            columns: vec!["bytes".to_owned()],
            lines: lines
                .into_iter()
                .map(|(name, bytes)| Line {
                    name: name.to_owned(),
                    cells: vec![Spread::of(vec![bytes])],
                })
                .collect(),
            reference: None,
        }],
        goals: Vec::new(),
    })
}

/// Bytes that the kernel accounts a pinned map with.
fn locked(pins: &Path, map: &str) -> Result<f64> {
    let data = MapData::from_pin(pins.join(map))?;
    let number = data.fd().as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    field(&info, "memlock:").with_context(|| format!("no memlock of {map}"))
}

/// Without what it shares with the kernel, which the maps are accounted with.
fn own_bytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(field(&status, "RssAnon:").context("no RssAnon")? * 1024.0)
}

fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
