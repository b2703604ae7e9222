//! Frames through a real interface: made at one end of a veth pair as a driver would receive them,
//! sent back by the director at the other, counted and dropped where they come back; all on one core.
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use lbd_common::backend::Backend;
use lbd_tests::{
    lab::{Host, Lab, Offload, Spec},
    xdp::{
        object,
        packet::{ACK, PSH, SYN},
        world::World,
    },
};

use crate::{
    Pace,
    packet::{
        pin_to_one_cpu,
        walk::{Floor, Packets},
    },
    report::{Bound, Goal, Line, Section, Spread, Table},
};

const ROUNDS: usize = 7;
const FRAMES: u32 = 300_000;
const BACKENDS: u16 = 8;
const DIRECTOR: &str = "bench0";
const SENDER: &str = "bench1";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Contestant {
    /// A floor program.
    Floor(&'static str),
    Lbd,
    /// A rule of nftables' netdev family that writes the MAC and sends the frame back.
    Nftables,
}

const LINES: [(Contestant, &str); 5] = [
    (Contestant::Floor("swap"), "swap"),
    (Contestant::Floor("lru"), "lru"),
    (Contestant::Floor("bucket"), "bucket"),
    (Contestant::Lbd, "lbd"),
    (Contestant::Nftables, "nftables dsr"),
];
const FLOWS: [(u64, &str); 2] = [(1, "1 flow"), (1 << 16, "64k flows")];

pub(crate) fn run(pace: Pace) -> Result<Section> {
    let lab = Lab::new(&Spec {
        clients: 0,
        nodes: 2,
        ..Spec::default()
    })?;
    let [director, sender] = &lab.nodes[..] else {
        unreachable!("the lab has two nodes");
    };
    let to = sender.namespace_path();
    let to = to.file_name().context("a namespace has a name")?;
    director.ip(&format!(
        "link add {DIRECTOR} type veth peer name {SENDER} netns {}",
        to.display()
    ))?;
    director.ip(&format!("link set {DIRECTOR} up"))?;
    sender.ip(&format!("link set {SENDER} up"))?;
    // Without it, veth takes no frame of XDP when it has no program of its own.
    director.set_offloads(DIRECTOR, &[(Offload::GenericReceive, true)])?;
    let mut bench = Rig {
        director,
        sender,
        director_index: director.interface_index(DIRECTOR)?,
        sender_index: sender.interface_index(SENDER)?,
        floor: Floor::load(BACKENDS)?,
        world: None,
    };
    bench.world = Some(World::for_bench(
        object::LBD,
        BACKENDS,
        Backend {
            ifindex: bench.director_index,
            ..Backend::default()
        },
    )?);
    let mut samples = vec![vec![Vec::new(); FLOWS.len()]; LINES.len()];
    let rounds = pace.rounds(ROUNDS);
    for _ in 0..rounds {
        for (line, (contestant, _)) in LINES.into_iter().enumerate() {
            for (column, (flows, _)) in FLOWS.into_iter().enumerate() {
                let ns = bench
                    .measure(contestant, flows)
                    .with_context(|| format!("{contestant:?}"))?;
                samples[line][column].push(ns);
            }
        }
    }
    let table = Table {
        title: "ns a frame".to_owned(),
        columns: FLOWS.iter().map(|(_, name)| (*name).to_owned()).collect(),
        lines: LINES
            .iter()
            .zip(samples)
            .map(|((_, name), cells)| Line {
                name: (*name).to_owned(),
                cells: cells.into_iter().map(Spread::of).collect(),
            })
            .collect(),
        reference: LINES.iter().position(|(one, _)| *one == Contestant::Lbd),
    };
    let ratio =
        |of: &str, to: &str| Some(table.median(of, "64k flows")? / table.median(to, "64k flows")?);
    let goals = [
        ratio("lbd", "lru").map(|ratio| Goal {
            what: "64k flows, lbd / LRU hash".to_owned(),
            ratio,
            bound: Bound::AtMost(0.75),
        }),
        ratio("nftables dsr", "lbd").map(|ratio| Goal {
            what: "64k flows, nftables / lbd".to_owned(),
            ratio,
            bound: Bound::AtLeast(3.0),
        }),
    ];
    Ok(Section {
        name: "live",
        method: format!(
            "Live frames of BPF_PROG_TEST_RUN over a veth pair, all on one core: making a frame, \
             the director, sending it back and counting it. {rounds} rounds of {FRAMES} frames."
        ),
        goals: goals.into_iter().flatten().collect(),
        tables: vec![table],
    })
}

struct Rig<'a> {
    director: &'a Host,
    sender: &'a Host,
    director_index: u32,
    sender_index: u32,
    floor: Floor,
    world: Option<World>,
}

impl Rig<'_> {
    /// Nanoseconds a frame, there and back.
    fn measure(&mut self, contestant: Contestant, flows: u64) -> Result<f64> {
        let (director, index) = (self.director, self.director_index);
        let _link = match contestant {
            Contestant::Floor(name) => {
                let floor = &mut self.floor;
                Some(director.inside(|| floor.attach(name, index))??)
            }
            Contestant::Lbd => {
                let world = self.world.as_mut().context("no world")?;
                Some(director.inside(|| world.attach(index))??)
            }
            Contestant::Nftables => {
                director.output("nft", &[rules().as_str()])?;
                None
            }
        };
        let (sender, index) = (self.sender, self.sender_index);
        let floor = &mut self.floor;
        let ns = sender.inside(|| -> Result<f64> {
            pin_to_one_cpu()?;
            let _sink = floor.attach("sink", index)?;
            let count = u32::try_from(flows)?;
            for flags in [SYN, ACK] {
                floor.send(Packets::of(4, flags, flows), index, count.max(64))?;
            }
            let packets = Packets {
                first: 1,
                shuffled: flows > 1,
                ..Packets::of(4, ACK | PSH, flows)
            };
            let before = floor.sunk()?;
            let start = Instant::now();
            floor.send(packets, index, FRAMES)?;
            let ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(FRAMES);
            let back = floor.sunk()? - before;
            ensure!(
                back >= u64::from(FRAMES) * 99 / 100,
                "{back} of {FRAMES} frames came back"
            );
            Ok(ns)
        })??;
        if contestant == Contestant::Nftables {
            director.output("nft", &["delete table netdev bench"])?;
        }
        Ok(ns)
    }
}

fn rules() -> String {
    let macs: Vec<String> = (0..BACKENDS)
        .map(|id| format!("{id} : 02:00:00:00:b0:{id:02x}"))
        .collect();
    format!(
        "table netdev bench {{ chain in {{ \
         type filter hook ingress device \"{DIRECTOR}\" priority 0; policy accept; \
         tcp dport 25 ether saddr set 02:00:00:00:00:d1 \
         ether daddr set jhash ip saddr . tcp sport mod {BACKENDS} map {{ {} }} \
         fwd to \"{DIRECTOR}\"; }}; }}",
        macs.join(", ")
    )
}
