//! Eight nodes, killed, stopped, started, frozen and cut off at random: one master each time.
use std::{net::IpAddr, path::Path, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use lbd_tests::{
    election::{Member, Router, Setup, holds, wait_until},
    lab::{Cut, Lab, Spec},
};

const ELECT_NODE: &str = env!("CARGO_BIN_EXE_elect-node");
const NODES: u8 = 8;
/// Between adverts.
const CENTISECONDS: u16 = 10;

/// The same seed, the same steps.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}

struct World {
    lab: Lab,
    setup: Setup,
    members: Vec<Option<Member>>,
    is_cut: Vec<bool>,
    vip: IpAddr,
}

impl World {
    fn new() -> Result<Self> {
        let lab = Lab::new(&Spec {
            clients: 0,
            nodes: NODES,
            sources: 0,
        })?;
        let vip: IpAddr = [10, 77, 0, 100].into();
        let count = usize::from(NODES);
        Ok(Self {
            lab,
            setup: Setup::new(&[vip], CENTISECONDS),
            members: (0..count).map(|_| None).collect(),
            is_cut: vec![false; count],
            vip,
        })
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let host = &self.lab.nodes[index];
        let priority = 100 + u8::try_from(index)?;
        let node = Path::new(ELECT_NODE);
        let member = Member::start(&self.lab, host, Router::Lbd, &self.setup, priority, node)?;
        self.members[index] = Some(member);
        Ok(())
    }

    /// Does something, and says what.
    fn disturb(&mut self, random: &mut Random) -> Result<String> {
        let index = random.below(self.members.len());
        let what = match (random.below(4), &mut self.members[index]) {
            (_, None) => {
                self.start(index)?;
                "starts"
            }
            (0, Some(member)) => {
                member.kill();
                self.members[index] = None;
                "is killed"
            }
            (1, Some(member)) => {
                member.stop();
                self.members[index] = None;
                "stops"
            }
            (2, Some(member)) => {
                member.signal(libc::SIGSTOP)?;
                thread::sleep(Duration::from_millis(random.below(800) as u64));
                member.signal(libc::SIGCONT)?;
                "was frozen"
            }
            _ if self.is_cut[index] => {
                self.is_cut[index] = false;
                self.lab.restore(&self.lab.nodes[index])?;
                "is back on the segment"
            }
            _ => {
                self.is_cut[index] = true;
                self.lab.cut(&self.lab.nodes[index], Cut::Silent)?;
                "is cut off"
            }
        };
        Ok(format!("node {index} {what}"))
    }

    /// Those on the segment that have the address.
    fn holders(&self) -> Result<Vec<usize>> {
        let mut holders = Vec::new();
        for (index, host) in self.lab.nodes.iter().enumerate() {
            if !self.is_cut[index] && holds(host, self.vip)? {
                holders.push(index);
            }
        }
        Ok(holders)
    }

    /// The best of those that run on the segment.
    fn best(&self) -> Option<usize> {
        let runs = |index: &usize| self.members[*index].is_some() && !self.is_cut[*index];
        (0..self.members.len()).rev().find(runs)
    }
}

/// `LBD_STEPS` disturbances, or 30.
#[test]
fn eight_nodes_have_one_master_after_every_disturbance() -> Result<()> {
    if !lbd_tests::root_or_skip("eight_nodes_have_one_master_after_every_disturbance") {
        return Ok(());
    }
    let steps = std::env::var("LBD_STEPS").ok().and_then(|s| s.parse().ok());
    let steps: usize = steps.unwrap_or(30);
    let mut world = World::new()?;
    for index in 0..usize::from(NODES) {
        world.start(index)?;
    }
    let mut random = Random(8);
    let mut history = Vec::new();
    for step in 0..steps {
        history.push(world.disturb(&mut random)?);
        let expected: Vec<usize> = world.best().into_iter().collect();
        wait_until("the best node on the segment is master, alone", || {
            Ok(world.holders()? == expected)
        })
        .with_context(|| format!("step {step}: {expected:?}\n{}", history.join("\n")))?;
        // It stays so for some intervals.
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(100));
            let holders = world.holders()?;
            ensure!(
                holders == expected,
                "step {step}: {holders:?}, not {expected:?}\n{}",
                history.join("\n")
            );
        }
    }
    println!("{steps} disturbances of eight nodes, one master each time");
    Ok(())
}
