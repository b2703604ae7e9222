//! What a sweep costs of one core: `cargo run --release -p lbd --example sweep [FLOWS]`.
use std::{env, error::Error, net::Ipv4Addr, time::Duration};

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
            let start = cpu_time();
            let report = tables.sweep(&mut sweeper, 1001, Timeouts::default());
            let sessions: u64 = report.backends.iter().map(|backend| backend.sessions).sum();
            assert_eq!(sessions, u64::from(inserted), "the sweep counts every flow");
            cpu_time().saturating_sub(start)
        })
        .collect();
    times.sort_unstable();
    println!("{inserted} of {wanted} flows found a place");
    println!(
        "CPU time of a sweep: median {:?}, fastest {:?}, slowest {:?}",
        times[ROUNDS / 2],
        times[0],
        times[ROUNDS - 1]
    );
    Ok(())
}

/// What this thread has used of a core: other processes' turns do not count.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
