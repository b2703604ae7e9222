//! What a packet costs, against the least that it can cost. Ratios from one run, never a timed test.
//!
//! `walk` of the floor programs makes every packet that of the next flow and calls the program under
//! test. A figure is net of the same with a program that does nothing, in the same round; the rounds
//! go through all cases in turn, so that a noisy moment spoils a round and not a case.
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, TestRun as _, Xdp},
};
use lbd_common::floor::{FLOOR_RING, Walk};

use super::{
    object,
    packet::{ACK, PSH, SYN, VIP4, v4},
    world::{World, verdict},
};

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Frames of so many open sessions, in random order.
    Open(u64),
    /// SYNs of ever new flows, with the table full.
    New,
    /// Frames for another address.
    NotOurs,
}

/// The columns of the report.
const KINDS: [Kind; 5] = [
    Kind::Open(1),
    Kind::Open(1 << 16),
    Kind::Open(1 << 20),
    Kind::New,
    Kind::NotOurs,
];
/// Its lines: the floor programs, and lbd.
const PROGRAMS: [&str; 5] = ["parse", "swap", "lru", "bucket", "lbd"];
const BACKENDS: u16 = 8;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds through all cases.
    pub rounds: usize,
    /// Packets a case and round.
    pub packets: u32,
}

/// Nanoseconds a packet, net, by program and kind: the median of the rounds.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lines of [`Self::programs`], columns of [`Self::kinds`].
    ns: Vec<Vec<f64>>,
}

impl Report {
    /// What the columns are.
    #[must_use]
    pub fn kinds() -> [&'static str; 5] {
        [
            "1 flow",
            "64k flows",
            "1M flows",
            "new flow, full",
            "not for us",
        ]
    }

    /// What the lines are.
    #[must_use]
    pub fn programs() -> [&'static str; 5] {
        PROGRAMS
    }

    /// A figure, by names of [`Self::programs`] and [`Self::kinds`].
    #[must_use]
    pub fn ns(&self, program: &str, kind: &str) -> Option<f64> {
        let line = PROGRAMS.iter().position(|name| *name == program)?;
        let column = Self::kinds().iter().position(|name| *name == kind)?;
        Some(self.ns[line][column])
    }

    /// The ratios that lbd is measured by: what, the ratio, and what it should be at most.
    #[must_use]
    pub fn ratios(&self) -> Vec<(&'static str, f64, f64)> {
        let ratio = |kind, floor, what, most| {
            let ours = self.ns("lbd", kind)?;
            let theirs = self.ns(floor, kind)?;
            Some((what, ours / theirs, most))
        };
        [
            ratio("1M flows", "bucket", "1M flows / bare buckets", 1.3),
            ratio("1M flows", "lru", "1M flows / LRU hash", 0.4),
            ratio("1 flow", "bucket", "1 flow / bare buckets", 2.5),
            ratio("new flow, full", "lru", "new flow / LRU hash", 0.35),
            ratio("not for us", "parse", "not for us / parse and pass", 1.5),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Measures. Needs root, about 300 MB and a minute.
///
/// # Errors
/// When the kernel does not take the programs, or one of them does something else than it should.
pub fn run(effort: Effort) -> Result<Report> {
    pin_to_one_cpu()?;
    let mut floor = Floor::load()?;
    let world = World::for_bench(BACKENDS)?;
    let mut programs: Vec<ProgramFd> = Vec::new();
    for name in PROGRAMS {
        programs.push(if name == "lbd" {
            world.fd()?
        } else {
            floor.fd(name)?
        });
    }
    let nothing = floor.fd("nothing")?;
    // Flows 0 to 2^20 - 1 open, and then the rest of each table filled.
    for (name, program) in PROGRAMS.iter().zip(&programs) {
        if ["lru", "bucket", "lbd"].contains(name) {
            floor.open(program, 1 << 20)?;
        }
    }
    let mut samples = vec![vec![Vec::new(); KINDS.len()]; PROGRAMS.len()];
    for _ in 0..effort.rounds {
        for (column, kind) in KINDS.into_iter().enumerate() {
            let base = floor.time(&nothing, kind, effort.packets)?;
            for (line, program) in programs.iter().enumerate() {
                if let Kind::Open(flows) = kind
                    && ["lru", "bucket", "lbd"].contains(&PROGRAMS[line])
                {
                    // What new flows have pushed out of the LRU is put back, unmeasured.
                    floor.open(program, flows)?;
                }
                let gross = floor.time(program, kind, effort.packets)?;
                samples[line][column].push(gross - base);
            }
        }
    }
    let ns = samples
        .into_iter()
        .map(|line| line.into_iter().map(median).collect())
        .collect();
    Ok(Report { ns })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What this thread has used of its CPU: what others use meanwhile does not count.
fn cpu_ns() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists, and the pointer is to a live `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    #[expect(clippy::cast_precision_loss, reason = "a run takes no years")]
    (time.tv_sec as f64).mul_add(1e9, time.tv_nsec as f64)
}

/// Without it, a run would be spread over caches.
fn pin_to_one_cpu() -> Result<()> {
    // SAFETY: the set is plain bits, made here, and its size is told truly.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    ensure!(failed == 0, "sched_setaffinity failed");
    Ok(())
}

/// The floor programs and the walk.
struct Floor {
    ebpf: Ebpf,
    /// New flows never come twice.
    next_new: u64,
}

impl Floor {
    fn load() -> Result<Self> {
        let vip = u32::from_ne_bytes(VIP4.octets());
        let port = 25_u16.to_be();
        let mut ebpf = EbpfLoader::new()
            .override_global("FLOOR_VIP", &vip, true)
            .override_global("FLOOR_PORT", &port, true)
            .load(object::FLOOR)?;
        for name in ["pass", "nothing", "parse", "swap", "lru", "bucket", "walk"] {
            let program: &mut Xdp = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load()?;
        }
        let mut ring: Array<&mut MapData, u32> =
            ebpf.map_mut("RING").context("RING")?.try_into()?;
        for slot in 0..FLOOR_RING {
            ring.set(slot, slot % u32::from(BACKENDS), 0)?;
        }
        let mut macs: Array<&mut MapData, u64> =
            ebpf.map_mut("MACS").context("MACS")?.try_into()?;
        for id in 0..u32::from(BACKENDS) {
            macs.set(id, 0x0000_0000_0200_u64 | u64::from(id) << 40, 0)?;
        }
        Ok(Self { ebpf, next_new: 0 })
    }

    fn fd(&self, name: &str) -> Result<ProgramFd> {
        let program: &Xdp = self.ebpf.program(name).context("program")?.try_into()?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Opens flows 0 to `flows - 1`: a SYN each, then an ACK each.
    fn open(&mut self, program: &ProgramFd, flows: u64) -> Result<()> {
        for flags in [SYN, ACK] {
            let walk = Walk {
                mask: flows - 1,
                ..walk(flags)
            };
            self.go(program, walk, VIP4, u32::try_from(flows)?)?;
        }
        Ok(())
    }

    /// Gross nanoseconds a packet.
    fn time(&mut self, program: &ProgramFd, kind: Kind, packets: u32) -> Result<f64> {
        let (walk, to) = match kind {
            Kind::Open(flows) => {
                let mask = flows - 1;
                let walk = Walk {
                    mask,
                    shuffled: u32::from(flows > 1),
                    half_bits: u64::from(mask.count_ones() / 2).max(1),
                    next: 1,
                    ..walk(ACK | PSH)
                };
                (walk, VIP4)
            }
            Kind::New => {
                let walk = Walk {
                    mask: (1 << 38) - 1,
                    next: self.next_new,
                    first_source: 0x2000_0000,
                    ..walk(SYN)
                };
                self.next_new += u64::from(packets);
                (walk, VIP4)
            }
            Kind::NotOurs => (walk(ACK | PSH), Ipv4Addr::new(192, 0, 2, 99)),
        };
        // A signal ends a run early (EINTR), such as when the machine is paused: once more then.
        let mut tries = 0;
        loop {
            let start = cpu_ns();
            match self.go(program, walk, to, packets) {
                Ok(()) => return Ok((cpu_ns() - start) / f64::from(packets)),
                Err(error) if tries == 3 => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }

    fn go(&mut self, program: &ProgramFd, walk: Walk, to: Ipv4Addr, packets: u32) -> Result<()> {
        let frame = v4(0).to4(to).payload(10).bytes();
        let mut state: Array<&mut MapData, Walk> =
            self.ebpf.map_mut("WALK").context("WALK")?.try_into()?;
        let walk = Walk {
            length: u32::try_from(frame.len())?,
            ..walk
        };
        state.set(0, walk, 0)?;
        let mut target: ProgramArray<&mut MapData> =
            self.ebpf.map_mut("TARGET").context("TARGET")?.try_into()?;
        target.set(0, program, 0)?;
        let walk: &Xdp = self.ebpf.program("walk").context("walk")?.try_into()?;
        let mut out = vec![0; 256];
        let result = walk.test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            repeat: packets,
            ..TestRunOptions::default()
        })?;
        ensure!(
            [verdict::TX, verdict::PASS].contains(&result.return_value),
            "a program under test answered {}",
            result.return_value
        );
        Ok(())
    }
}

fn walk(flags: u8) -> Walk {
    Walk {
        tcp_flags: flags.into(),
        first_source: 0x0b00_0000,
        half_bits: 1,
        ..Walk::default()
    }
}
