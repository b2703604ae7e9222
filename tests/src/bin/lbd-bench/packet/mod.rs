//! What a packet costs, against the least that it can cost.
//!
//! `walk` of the floor programs makes every packet that of the next flow, puts it back as it was, and
//! calls the program under test. A figure is net of the same with a program that does nothing,
//! measured directly before it; the rounds go through all cases in turn, so that a noisy moment
//! spoils a round and not a case.
pub(crate) mod walk;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use aya::programs::ProgramFd;
use lbd_common::{backend::Backend, director::flag, flow::PROVING_FRAMES};
use lbd_tests::xdp::{
    object,
    packet::{ACK, FIN, PORT, PSH, SYN, VIP4},
    world::{List, VIP_IDS, World, tunnel_to},
};

use crate::Options;
use crate::report::{Bound, Goal, Line, Section, Spread, Table};
use walk::{Floor, Packets};

const ROUNDS: usize = 5;
const BACKENDS: u16 = 8;
/// Networks on the deny list of the world that denies.
const DENIED: u32 = 100_000;
/// The first source of them: 144.0.0.0, whose frames the lists decide and nothing before them.
const FIRST_DENIED: u32 = 0x9000_0000;

/// What is measured: the columns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Frames of so many open sessions, in random order.
    Open(u64),
    /// SYNs of ever new flows, with the table full.
    New,
    /// The FIN of each of 64k sessions.
    Fin,
    /// SYNs of sources on a long deny list.
    Denied,
    /// Frames for another address.
    NotOurs,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Open(1), "1 flow"),
    (Kind::Open(1 << 16), "64k flows"),
    (Kind::Open(1 << 20), "1M flows"),
    (Kind::New, "new flow, full"),
    (Kind::Fin, "FIN"),
    (Kind::Denied, "denied"),
    (Kind::NotOurs, "not for us"),
];

/// A line.
struct Contestant {
    name: &'static str,
    program: ProgramFd,
    family: u8,
    /// Whether it keeps flows.
    stateful: bool,
    /// Its program with a deny list.
    denying: Option<World>,
    /// Kept, because the program goes with it.
    world: Option<World>,
}

impl Contestant {
    fn takes_part(&self, kind: Kind) -> bool {
        match kind {
            Kind::Fin => self.world.is_some(),
            Kind::Denied => self.denying.is_some(),
            Kind::NotOurs => self.family == 4,
            Kind::Open(_) | Kind::New => true,
        }
    }
}

/// Measures. Needs root, about 1 GB and two minutes.
pub(crate) fn run(options: &Options) -> Result<Section> {
    pin_to_one_cpu()?;
    let (pace, against) = (options.pace, options.against.as_deref());
    let mut floor = Floor::load(BACKENDS)?;
    let nothing = floor.fd("nothing")?;
    let mut contestants = contestants(&floor, against)?;
    contestants.retain(|one| options.takes(one.name));
    for contestant in contestants.iter().filter(|one| one.stateful) {
        // Full tables: what is open, and then new flows over the rest.
        let open = Packets::of(contestant.family, ACK, 1 << 20);
        floor.open(&contestant.program, open)?;
        // The client's first one ends the handshake, and those behind it prove the session.
        for _ in 0..PROVING_FRAMES {
            floor.hear(&contestant.program, open)?;
        }
        ensure!(
            floor.forwards(&contestant.program, open)?,
            "{} does not forward the packets of its own flows",
            contestant.name
        );
        let new = Packets {
            first_source: 0x4000_0000,
            ..packets(Kind::New, contestant.family)
        };
        floor.time(&contestant.program, new, 1 << 21)?;
    }
    let mut samples = vec![vec![Vec::new(); KINDS.len()]; contestants.len()];
    let mut next_new = 0;
    let rounds = pace.rounds(ROUNDS);
    for _ in 0..rounds {
        for (column, (kind, heading)) in KINDS.into_iter().enumerate() {
            if !options.takes_column(heading) {
                continue;
            }
            for (line, contestant) in contestants.iter().enumerate() {
                if !contestant.takes_part(kind) {
                    continue;
                }
                measure(
                    &mut floor,
                    contestant,
                    &nothing,
                    kind,
                    next_new,
                    &mut samples[line][column],
                )?;
            }
            if kind == Kind::New {
                next_new += u64::from(repeats(kind).0);
            }
        }
    }
    let table = Table {
        title: "ns a packet, net".to_owned(),
        columns: KINDS.iter().map(|(_, name)| (*name).to_owned()).collect(),
        lines: contestants
            .iter()
            .zip(samples)
            .map(|(contestant, cells)| Line {
                name: contestant.name.to_owned(),
                cells: cells.into_iter().map(Spread::of).collect(),
            })
            .collect(),
        reference: contestants.iter().position(|one| one.name == LBD),
    };
    Ok(Section {
        name: "packet",
        method: format!(
            "By BPF_PROG_TEST_RUN on one core, net of a program that does nothing, {rounds} rounds. \
             Every packet is put back as it was and made that of the next flow. \
             \"full\": every slot of the table is taken; the LRU hash has as many entries. \
             {}",
            size(&contestants)?
        ),
        goals: goals(&table),
        tables: vec![table],
    })
}

const LBD: &str = "lbd IPv4 dsr";
const LBD_IPIP: &str = "lbd IPv4 ipip";
const LBD_NAT: &str = "lbd IPv4 nat";
/// The same of the build that is compared with.
const FORMER: &str = "former IPv4 dsr";

fn contestants(floor: &Floor, against: Option<&[u8]>) -> Result<Vec<Contestant>> {
    let mut all = Vec::new();
    for name in ["parse", "swap", "lru", "bucket"] {
        all.push(Contestant {
            name,
            program: floor.fd(name)?,
            family: 4,
            stateful: ["lru", "bucket"].contains(&name),
            denying: None,
            world: None,
        });
    }
    let far = |last| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last));
    let tunnel = tunnel_to(far(7), far(1));
    let modes = [
        (LBD, 4, Backend::default()),
        ("lbd IPv6 dsr", 6, Backend::default()),
        (LBD_IPIP, 4, tunnel),
        (LBD_NAT, 4, Backend::default()),
    ];
    for (name, family, backend) in modes {
        all.push(lbd(object::LBD, name, family, backend)?);
    }
    if let Some(object) = against {
        let modes = [
            (FORMER, 4, Backend::default()),
            ("former IPv6 dsr", 6, Backend::default()),
            ("former IPv4 ipip", 4, tunnel),
            ("former IPv4 nat", 4, Backend::default()),
        ];
        for (name, family, backend) in modes {
            all.push(lbd(object, name, family, backend)?);
        }
    }
    Ok(all)
}

/// A line of a build of lbd.
fn lbd(object: &[u8], name: &'static str, family: u8, backend: Backend) -> Result<Contestant> {
    let mut world = World::for_bench(object, BACKENDS, backend)?;
    if name.ends_with("nat") {
        translate(&mut world)?;
    }
    let denies = [LBD, FORMER].contains(&name);
    Ok(Contestant {
        name,
        program: world.fd()?,
        family,
        stateful: true,
        denying: denies.then(|| denying_world(object)).transpose()?,
        world: Some(world),
    })
}

/// Makes all backends `nat` ones, each with an address of its own.
fn translate(world: &mut World) -> Result<()> {
    let service = (SocketAddr::new(VIP4.into(), PORT), VIP_IDS[0]);
    for id in 0..BACKENDS {
        let address = Ipv4Addr::from_bits(0x0a00_000b + u32::from(id));
        world.nat(id, address.into(), None, &[service])?;
    }
    Ok(())
}

fn denying_world(object: &[u8]) -> Result<World> {
    let mut world = World::for_bench(object, BACKENDS, Backend::default())?;
    for number in 0..DENIED {
        let network = Ipv4Addr::from_bits(FIRST_DENIED + 4 * number);
        world.list(List::Deny, network.into(), 30)?;
    }
    world.director(|director| director.flags |= flag::LISTS)?;
    Ok(world)
}

/// Packets a run, and runs a round: what costs little is measured more often.
fn repeats(kind: Kind) -> (u32, usize) {
    match kind {
        Kind::Open(1) | Kind::NotOurs | Kind::Denied => (100_000, 9),
        Kind::Fin => (1 << 16, 1),
        Kind::Open(_) | Kind::New => (300_000, 1),
    }
}

fn packets(kind: Kind, family: u8) -> Packets {
    match kind {
        Kind::Open(flows) => Packets {
            first: 1,
            shuffled: flows > 1,
            ..Packets::of(family, ACK | PSH, flows)
        },
        Kind::New => Packets {
            first_source: 0x2000_0000,
            ..Packets::of(family, SYN, 1 << 38)
        },
        Kind::Fin => Packets {
            first_source: 0x0d00_0000,
            ..Packets::of(family, ACK | FIN, 1 << 16)
        },
        Kind::Denied => Packets {
            first_source: FIRST_DENIED,
            ..Packets::of(family, SYN, 1 << 32)
        },
        Kind::NotOurs => Packets {
            to: Ipv4Addr::new(192, 0, 2, 99),
            ..Packets::of(family, ACK | PSH, 1)
        },
    }
}

fn measure(
    floor: &mut Floor,
    contestant: &Contestant,
    nothing: &ProgramFd,
    kind: Kind,
    next_new: u64,
    samples: &mut Vec<f64>,
) -> Result<()> {
    let Contestant {
        program, family, ..
    } = contestant;
    let mut packets = packets(kind, *family);
    match kind {
        // What new flows have pushed out is put back, unmeasured.
        Kind::Open(_) if contestant.stateful => floor.hear(program, packets)?,
        Kind::Fin => floor.open(program, packets)?,
        Kind::New => packets.first = next_new,
        _ => {}
    }
    let denying = match &contestant.denying {
        Some(world) if kind == Kind::Denied => Some(world.fd()?),
        _ => None,
    };
    let program = denying.as_ref().unwrap_or(program);
    let (repeat, runs) = repeats(kind);
    for _ in 0..runs {
        let base = floor.time(nothing, packets, repeat)?;
        samples.push(floor.time(program, packets, repeat)? - base);
    }
    Ok(())
}

fn goals(table: &Table) -> Vec<Goal> {
    let goal = |line: &str, column: &str, floor: &str, what: &str, most| {
        Some(Goal {
            what: what.to_owned(),
            ratio: table.median(line, column)? / table.median(floor, column)?,
            bound: Bound::AtMost(most),
        })
    };
    let full = "new flow, full";
    [
        goal(
            LBD,
            "1M flows",
            "bucket",
            "1M flows, lbd / bare buckets",
            1.3,
        ),
        goal(LBD, "1M flows", "lru", "1M flows, lbd / LRU hash", 0.4),
        goal(LBD, "1 flow", "bucket", "1 flow, lbd / bare buckets", 2.5),
        goal(LBD_IPIP, "1M flows", LBD, "1M flows, ipip / dsr", 1.3),
        goal(LBD_NAT, "1M flows", LBD, "1M flows, nat / dsr", 1.3),
        goal(LBD, full, "lru", "new flow, lbd / LRU hash", 0.35),
        goal(LBD, full, "bucket", "new flow, lbd / bare buckets", 1.8),
        goal(
            LBD,
            "not for us",
            "parse",
            "not for us, lbd / parse and pass",
            1.5,
        ),
        // Within noise: what a run of the same object against itself differs by.
        goal(LBD, "1 flow", FORMER, "1 flow, lbd / the former build", 1.1),
        goal(
            LBD,
            "64k flows",
            FORMER,
            "64k flows, lbd / the former build",
            1.1,
        ),
        goal(
            LBD,
            "1M flows",
            FORMER,
            "1M flows, lbd / the former build",
            1.1,
        ),
        goal(LBD, full, FORMER, "new flow, lbd / the former build", 1.1),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How large the loaded program is.
fn size(contestants: &[Contestant]) -> Result<String> {
    let Some(world) = contestants.iter().find_map(|one| one.world.as_ref()) else {
        return Ok(String::new());
    };
    let info = world.info()?;
    Ok(format!(
        "lbd as loaded: {} BPF instructions, {} bytes of machine code; the kernel looked at {} \
         instructions to verify it.",
        info.size_translated().unwrap_or(0) / 8,
        info.size_jitted(),
        info.verified_instruction_count().unwrap_or(0)
    ))
}

/// Without it, a run would be spread over caches.
pub(crate) fn pin_to_one_cpu() -> Result<()> {
    // SAFETY: the set is plain bits, made here, and its size is told truly.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    ensure!(failed == 0, "sched_setaffinity failed");
    Ok(())
}
