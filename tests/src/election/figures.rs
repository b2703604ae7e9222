//! Outages, side by side with keepalived, in one run.
use std::{
    fmt,
    net::IpAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::node::{Member, Router, Setup, holds, wait_until};
use super::probe::{Probe, longest_silence};
use crate::lab::{Cut, Lab, Spec};

/// How the master goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// The box is gone: its link is cut where it does not see it.
    Crash,
    /// The daemon is asked to stop.
    Stop,
}

/// Outages of one kind, sorted.
#[derive(Clone, Debug)]
pub struct Outages {
    /// Who was measured.
    pub router: Router,
    /// Where.
    pub segment: Segment,
    /// How the master went.
    pub loss: Loss,
    /// Between adverts.
    pub centiseconds: u16,
    /// One a run, in ascending order.
    pub outages: Vec<Duration>,
}

impl Outages {
    /// The middle one; zero without a run.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.outages
            .get(self.outages.len() / 2)
            .copied()
            .unwrap_or_default()
    }
}

impl fmt::Display for Outages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |outage: Option<&Duration>| outage.map_or(0, Duration::as_millis);
        write!(
            f,
            "{:?} {:?}, {:?}, adverts every {} ms: {}/{}/{} ms (min/median/max of {})",
            self.router,
            self.segment,
            self.loss,
            u32::from(self.centiseconds) * 10,
            ms(self.outages.first()),
            self.median().as_millis(),
            ms(self.outages.last()),
            self.outages.len(),
        )
    }
}

/// What a backup may ask besides the master.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Segment {
    /// A gateway, as nearly every segment has.
    WithGateway,
    /// Nothing but the two nodes and hosts that they do not know.
    Bare,
}

/// Loses a master of priority 200 to a backup of priority 150 `runs` times and measures for how
/// long probes, one a millisecond, were not answered.
pub fn outages(
    (router, segment): (Router, Segment),
    loss: Loss,
    vip: IpAddr,
    centiseconds: u16,
    runs: usize,
    elect_node: &Path,
) -> Result<Outages> {
    let lab = Lab::new(&Spec {
        clients: 1,
        nodes: 2,
        sources: 1,
    })?;
    if segment == Segment::WithGateway {
        lab.route_by_client()?;
    }
    let setup = Setup::new(&[vip], centiseconds);
    let start = |index: usize, priority| {
        Member::start(
            &lab,
            &lab.nodes[index],
            router,
            &setup,
            priority,
            elect_node,
        )
    };
    let mut outages = Vec::new();
    let backup = start(1, 150)?;
    for run in 0..runs {
        lab.restore(&lab.nodes[0])?;
        let mut master = start(0, 200)?;
        wait_until("the higher priority is master", || {
            Ok(holds(&lab.nodes[0], vip)? && !holds(&lab.nodes[1], vip)?)
        })
        .with_context(|| format!("run {run}\n{}\n{}", master.log(), backup.log()))?;
        let probe = Probe::start(lab.client(), vip, &lab.nodes)?;
        // Steady, and not always at the same point between two adverts.
        let pause_ms = 300 + 137 * (run as u64 % 8) * u64::from(centiseconds) / 100;
        thread::sleep(Duration::from_millis(pause_ms));
        let lost = Instant::now();
        match loss {
            Loss::Crash => lab.cut(&lab.nodes[0], Cut::Silent)?,
            Loss::Stop => master.stop(),
        }
        wait_until("the backup is master", || holds(&lab.nodes[1], vip))?;
        thread::sleep(Duration::from_millis(200));
        // Before the end of the probe, which takes a while.
        let end = Instant::now();
        outages.push(longest_silence(&probe.finish()?, lost, end));
        master.kill();
        // A killed daemon's address, and a cut box's, must not be there at the next start.
        let _ = lab.nodes[0].ip(&format!("address flush to {vip}"));
    }
    outages.sort_unstable();
    Ok(Outages {
        router,
        segment,
        loss,
        centiseconds,
        outages,
    })
}

/// Measures lbd and keepalived in turn and prints a line each. keepalived asks no gateway: where it is
/// makes no difference to it.
pub fn print(vip: IpAddr, centiseconds: &[u16], runs: usize, elect_node: &Path) -> Result<()> {
    for &centiseconds in centiseconds {
        for loss in [Loss::Crash, Loss::Stop] {
            for who in [
                (Router::Keepalived, Segment::WithGateway),
                (Router::Lbd, Segment::WithGateway),
                (Router::Lbd, Segment::Bare),
            ] {
                println!(
                    "{}",
                    outages(who, loss, vip, centiseconds, runs, elect_node)?
                );
            }
        }
    }
    Ok(())
}
