//! What the daemon does besides forwarding packets: CPU time, and how it grows.
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Result, anyhow, ensure};
use lbd::{
    config::{Config, Network},
    dataplane::{AccessLists, FlowTables},
    flows::{Insert, Key4, NewFlow, Sweeper, Timeouts},
    policy::{BackendInput, Input, Mode, Policy, Settings, SiteInput},
    table::{Entry, Ring},
    units::{BackendId, Weight, WeightPermille},
};
use lbd_common::flow::{BUCKETS4, BUCKETS6, flag, state};

use crate::{
    Pace,
    machine::cpu_ns,
    report::{Bound, Goal, Line, Section, Spread, Table},
    rig::Rig,
};

const ROUNDS: usize = 7;
const BACKENDS: [u16; 4] = [2, 10, 100, 1000];
const FLOWS: [u32; 3] = [10_000, 100_000, 1_000_000];
const ENTRIES: [u32; 3] = [1_000, 10_000, 100_000];

pub(crate) fn run(pace: Pace) -> Result<Section> {
    let mut rig = Rig::new()?;
    let sweeps = per_flows(pace)?;
    let goal = sweeps.median("sweep", "1000000 flows").map(|ms| Goal {
        what: "ms of one core for a sweep over 1,000,000 flows".to_owned(),
        ratio: ms,
        bound: Bound::AtMost(20.0),
    });
    let backends = per_backends(pace, &mut rig)?;
    let parts = [
        "policy step",
        "ring built",
        "ring written and swapped",
        "weights written",
    ];
    let step = parts.map(|line| backends.median(line, "1000 backends"));
    let step: Option<f64> = step.into_iter().sum();
    let step = step.map(|ms| Goal {
        what: "ms of one core for policy, ring and map writes of 1,000 backends".to_owned(),
        ratio: ms,
        bound: Bound::AtMost(50.0),
    });
    Ok(Section {
        name: "control",
        method: format!(
            "Milliseconds of CPU time of one thread, {} rounds each.",
            pace.rounds(ROUNDS)
        ),
        tables: vec![backends, sweeps, per_entries(pace, &mut rig)?],
        goals: goal.into_iter().chain(step).collect(),
    })
}

/// Milliseconds of CPU time.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = cpu_ns();
    work()?;
    Ok((cpu_ns() - start) / 1e6)
}

fn rounds(pace: Pace, mut once: impl FnMut() -> Result<f64>) -> Result<Option<Spread>> {
    let samples: Result<Vec<f64>> = (0..pace.rounds(ROUNDS)).map(|_| once()).collect();
    Ok(Spread::of(samples?))
}

fn table(columns: Vec<String>, lines: Vec<(&str, Vec<Option<Spread>>)>) -> Table {
    Table {
        title: "ms".to_owned(),
        columns,
        lines: lines
            .into_iter()
            .map(|(name, cells)| Line {
                name: name.to_owned(),
                cells,
            })
            .collect(),
        reference: None,
    }
}

fn per_backends(pace: Pace, rig: &mut Rig) -> Result<Table> {
    let [mut built, mut swapped, mut weighed, mut stepped, mut read] = [const { Vec::new() }; 5];
    for count in BACKENDS {
        let addresses: Vec<[u8; 4]> = (0..count)
            .map(|id| Ipv4Addr::from_bits(0x0a00_0001 + u32::from(id)).octets())
            .collect();
        let entries: Vec<Entry<'_>> = (0..)
            .zip(&addresses)
            .map(|(value, identity)| Entry {
                identity,
                weight: Weight(100).full(),
                value,
            })
            .collect();
        let mut ring = Ring::empty();
        built.push(rounds(pace, || {
            timed(|| {
                ring = Ring::build(&entries);
                Ok(())
            })
        })?);
        swapped.push(rounds(pace, || {
            timed(|| Ok(rig.plane.swap_ring(ring.slots())?))
        })?);
        let mut turn = 0;
        weighed.push(rounds(pace, || {
            // Every weight is another one than before, so that every one is written.
            turn += 1;
            let weights: Vec<_> = (0..count)
                .map(|id| (BackendId(id), WeightPermille(1000 + turn)))
                .collect();
            timed(|| Ok(rig.plane.set_weights(&weights)?))
        })?);
        let mut policy = Policy::new();
        let input = policy_input(count);
        stepped.push(rounds(pace, || {
            timed(|| {
                policy.step(&input);
                Ok(())
            })
        })?);
        let (before, after) = (configuration(count, 100), configuration(count, 99));
        let before = parsed(&before)?;
        read.push(rounds(pace, || {
            timed(|| {
                let changes = before.changes(&parsed(&after)?);
                ensure!(!changes.is_empty(), "every weight is another one");
                Ok(())
            })
        })?);
    }
    Ok(table(
        BACKENDS.map(|count| format!("{count} backends")).to_vec(),
        vec![
            ("ring built", built),
            ("ring written and swapped", swapped),
            ("weights written", weighed),
            ("policy step", stepped),
            ("configuration read and compared", read),
        ],
    ))
}

/// A configuration file with so many backends of one weight.
fn configuration(count: u16, weight: u16) -> String {
    let mut text = "node: {name: lb1, interfaces: [eth0]}\ncluster:\n  virtual_router_id: 51\n  \
         virtual_addresses: [10.255.255.1/8]\n  sites:\n    - name: one\n      backends:\n"
        .to_owned();
    for id in 0..count {
        let address = Ipv4Addr::from_bits(0x0a00_0001 + u32::from(id));
        let _ = writeln!(
            text,
            "        - {{name: mx{id}, address: {address}, weight: {weight}}}"
        );
    }
    text
}

fn parsed(text: &str) -> Result<Config> {
    Config::parse(text, "bench").map_err(|errors| anyhow!("{errors:?}"))
}

fn policy_input(count: u16) -> Input {
    let backends = (0..count).map(|id| {
        let mut backend = BackendInput::new(BackendId(id), format!("mx{id}"), Weight(100));
        backend.live.sessions = u64::from(id % 50);
        backend.live.unique_sources = Some(u64::from(id % 25));
        backend
    });
    Input {
        now_ns: 1_000_000_000_000,
        settings: Settings::default(),
        mode: Mode::ActiveActive,
        sites: vec![SiteInput {
            name: "one".to_owned(),
            spill: Vec::new(),
            backends: backends.collect(),
        }],
    }
}

fn per_flows(pace: Pace) -> Result<Table> {
    let tables = FlowTables::anonymous(BUCKETS4 as usize, BUCKETS6 as usize)?;
    let mut there = 0;
    let mut cells = Vec::new();
    for count in FLOWS {
        for number in there..count {
            let key = Key4 {
                // Four sessions of each source.
                source: Ipv4Addr::from_bits(0x0a00_0000 + number / 4),
                port: u16::try_from(1024 + number % 4)?,
                vip_id: 1,
            };
            let flow = NewFlow {
                backend: u16::try_from(number % 10)?,
                state: state::ESTABLISHED,
                flags: flag::COUNTED,
            };
            // A few of a million find no place.
            let _: Insert = tables.v4().insert(key, flow, 1000);
        }
        there = count;
        let mut sweeper = Sweeper::default();
        cells.push(rounds(pace, || {
            timed(|| Ok(tables.sweep(&mut sweeper, 1001, Timeouts::default())))
        })?);
    }
    Ok(table(
        FLOWS.map(|count| format!("{count} flows")).to_vec(),
        vec![("sweep", cells)],
    ))
}

fn per_entries(pace: Pace, rig: &mut Rig) -> Result<Table> {
    let mut cells = Vec::new();
    for count in ENTRIES {
        let deny: BTreeSet<Network> = (0..count)
            .map(|number| {
                let address = Ipv4Addr::from_bits(0x0a00_0000 + number * 4);
                Network::of(IpAddr::V4(address), 30)
            })
            .collect();
        let lists = AccessLists {
            allow: [].into(),
            deny: deny.into_iter().collect(),
        };
        cells.push(rounds(pace, || {
            let took = timed(|| Ok(rig.plane.set_access(&lists)?))?;
            rig.plane.set_access(&AccessLists::default())?;
            Ok(took)
        })?);
    }
    Ok(table(
        ENTRIES.map(|count| format!("{count} entries")).to_vec(),
        vec![("deny list loaded", cells)],
    ))
}
