//! How long a sweep over a full table takes: `cargo run --release -p lbd --example sweep [FLOWS]`.
use std::{env, error::Error, net::Ipv4Addr, time::Instant};

use lbd::{
    dataplane::FlowTables,
    flows::{Insert, Key4, NewFlow, Sweeper, Timeouts},
};
use lbd_common::flow::{BUCKETS4, BUCKETS6, flag, state};

const BACKENDS: u32 = 10;
const ROUNDS: usize = 21;

fn main() -> Result<(), Box<dyn Error>> {
    let wanted: u32 = env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |flows| flows.parse())?;
    let tables = FlowTables::anonymous(BUCKETS4 as usize, BUCKETS6 as usize)?;
    let mut inserted = 0_u32;
    for number in 0..wanted {
        let key = Key4 {
            // Four sessions of each source.
            source: Ipv4Addr::from(0x0a00_0000 + number / 4),
            port: u16::try_from(1024 + number % 4)?,
            vip_id: 1,
        };
        let flow = NewFlow {
            backend: u16::try_from(number % BACKENDS)?,
            state: state::ESTABLISHED,
            flags: flag::COUNTED,
        };
        inserted += u32::from(tables.v4().insert(key, flow, 1000) == Insert::Inserted);
    }
    let mut sweeper = Sweeper::default();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let report = tables.sweep(&mut sweeper, 1001, Timeouts::default());
            let sessions: u64 = report.backends.iter().map(|backend| backend.sessions).sum();
            assert_eq!(sessions, u64::from(inserted), "the sweep counts every flow");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("{inserted} of {wanted} flows found a place");
    println!(
        "a sweep: median {:?}, fastest {:?}, slowest {:?}",
        times[ROUNDS / 2],
        times[0],
        times[ROUNDS - 1]
    );
    Ok(())
}
