//! Whole SMTP sessions through each balancer: how many a second, and what they cost the machine.
//!
//! Long messages cost more through XDP on veth, and segments are sent again. Neither is a loss. With a
//! native program the peer's TSO is off (`veth_xdp_set`, drivers/net/veth.c), so that what goes through
//! the others as one segment of 64 kB is 45 frames, each copied for XDP (`veth_convert_skb_to_xdp_buff`).
//! Two full cores answer that much later, and what is sent again are tail loss probes (RFC 8985, section
//! 7) of segments that had arrived: each is answered by a DSACK, no queue of veth drops anything
//! (`ethtool -S`), `skb:kfree_skb` shows nothing dropped below TCP, and with
//! `net.ipv4.tcp_early_retrans=0` there were 1 and 3 instead of 196 and 89 in 500 messages of 200 kB, after
//! reordering between the two cores.
mod contestants;
mod figures;

use std::time::Instant;

use anyhow::{Context as _, Result};
use lbd_tests::{lab::Host, postfix::smtp_source_of};

use crate::{
    Pace,
    machine::{Processes, busy_s},
    report::{Bound, Goal, Section, Spread},
};
use contestants::{DIRECT, FLOOR, HAPROXY, LBD, LBD_NAT, NFT_DNAT, Rivals};
use figures::{Figures, Quantity};

/// One way of sending: a column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    at_once: u32,
    bytes: u32,
    rounds: usize,
}

const fn way(name: &'static str, at_once: u32, bytes: u32, rounds: usize) -> Way {
    Way {
        name,
        at_once,
        bytes,
        rounds,
    }
}

/// What most is measured by.
const MAIN: usize = 1;
const WAYS: [Way; 4] = [
    way("1 at a time", 1, 1000, 3),
    way("20 at a time", 20, 1000, 7),
    way("200 at a time", 200, 1000, 3),
    way("20, of 100 kB", 20, 100_000, 3),
];
/// How long one measurement without a balancer takes; the others send as many sessions.
const LENGTH_S: f64 = 1.5;
/// Sent beforehand, to learn addresses and to see how fast this machine is.
const FIRST: u32 = 300;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) sessions_per_s: f64,
    /// Milliseconds of all processors together, a session.
    pub(crate) cpu_ms: f64,
    /// TCP segments sent again, a thousand sessions.
    pub(crate) resent: f64,
}

/// CPU time of all processors.
#[derive(Clone, Copy, Debug)]
struct Used {
    busy_s: f64,
    /// Of it, by processes that do not belong to the benchmark.
    others_s: f64,
}

pub(crate) fn run(pace: Pace) -> Result<Section> {
    let rivals = Rivals::new()?;
    let names = Rivals::names();
    let mut figures = Figures::new(&names, &WAYS);
    let (mut others_s, mut busy_s) = (0.0, 0.0);
    for (column, way) in WAYS.iter().enumerate() {
        let length_s = if pace == Pace::Full {
            LENGTH_S
        } else {
            LENGTH_S / 10.0
        };
        let total = rivals.sessions_of(way, length_s)?;
        for round in 0..pace.rounds(way.rounds) {
            for nth in 0..names.len() {
                // Another one first each round.
                let line = (round + nth) % names.len();
                let (sample, used) = rivals
                    .measure(line, way, total)
                    .with_context(|| format!("{}, {}", names[line], way.name))?;
                figures.add(line, column, sample);
                busy_s += used.busy_s;
                others_s += used.others_s;
            }
        }
    }
    Ok(Section {
        name: "sessions",
        method: format!(
            "smtp-source on one host, a director, and three hosts with smtp-sink, all network \
             namespaces on one bridge of this machine. Each balancer has a director of its own and \
             they take turns; a round with each sends as many sessions, of 1 kB where nothing else is \
             said. CPU is that of the whole machine, softirq included, client and servers too: 1 ms a \
             session is 1 s a thousand sessions. XDP directors are native, their port of the bridge \
             has what a NIC would give them (full checksums, single frames); the others' ports hand \
             64 kB segments through. \"direct, frames as of a NIC\" is no balancer with such a port. \
             What is sent again are tail loss probes of segments that had arrived, from two cores that \
             answer late; single frames make that more. Processes that do not belong to the benchmark \
             had {:.1} % of the CPU time, which is not counted.",
            100.0 * others_s / busy_s
        ),
        goals: goals(&figures),
        tables: figures.tables(LBD),
    })
}

impl Rivals {
    /// How many sessions of a kind take so long here; every contestant has been called once then.
    fn sessions_of(&self, way: &Way, length_s: f64) -> Result<u32> {
        let mut total = FIRST;
        for line in 0..Self::names().len() {
            let (sample, _) = self.measure(line, way, way.at_once.max(FIRST))?;
            if Self::names()[line] == DIRECT {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rate of sessions"
                )]
                let wanted = (sample.sessions_per_s * length_s) as u32;
                total = wanted.clamp(FIRST, 50_000);
            }
        }
        Ok(total)
    }

    fn measure(&self, line: usize, way: &Way, total: u32) -> Result<(Sample, Used)> {
        let resent = resent(self.hosts())?;
        let others = Processes::of_others(self.prefix());
        let (start, busy) = (Instant::now(), busy_s()?);
        let target = self.target(line);
        smtp_source_of(self.client(), target, total, way.at_once, way.bytes)?;
        let took_s = start.elapsed().as_secs_f64();
        let used = Used {
            busy_s: busy_s()? - busy,
            others_s: Processes::of_others(self.prefix()).worked_since(&others),
        };
        let resent = f64::from(self::resent(self.hosts())? - resent);
        let sample = Sample {
            sessions_per_s: f64::from(total) / took_s,
            cpu_ms: 1000.0 * (used.busy_s - used.others_s) / f64::from(total),
            resent: 1000.0 * resent / f64::from(total),
        };
        Ok((sample, used))
    }
}

/// TCP segments that these hosts have sent again so far.
fn resent<'a>(hosts: impl Iterator<Item = &'a Host>) -> Result<u32> {
    let mut sum = 0;
    for host in hosts {
        let text = host.inside(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))??;
        sum += retransmitted(&text).context("no RetransSegs in /proc/net/snmp")?;
    }
    Ok(sum)
}

fn retransmitted(snmp: &str) -> Option<u32> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|name| name == "RetransSegs")?;
    values.split(' ').nth(at)?.parse().ok()
}

fn goals(figures: &Figures) -> Vec<Goal> {
    let ratio = |quantity, of: &str, to: &str| {
        let ratios = figures.paired(MAIN, of, to, |of, to| {
            quantity_of(quantity, of) / quantity_of(quantity, to)
        });
        Spread::of(ratios).map(|spread| spread.median)
    };
    let added = figures.paired3(MAIN, LBD, HAPROXY, DIRECT, |lbd, haproxy, direct| {
        (lbd.cpu_ms - direct.cpu_ms) / (haproxy.cpu_ms - direct.cpu_ms)
    });
    let goal = |what: &str, ratio: Option<f64>, bound| {
        Some(Goal {
            what: format!("{what} (20 at a time, median of paired rounds)"),
            ratio: ratio?,
            bound,
        })
    };
    [
        goal(
            "sessions/s, lbd dsr / XDP floor",
            ratio(Quantity::Rate, LBD, FLOOR),
            Bound::AtLeast(0.95),
        ),
        goal(
            "CPU, lbd dsr / XDP floor",
            ratio(Quantity::Cpu, LBD, FLOOR),
            Bound::AtMost(1.05),
        ),
        goal(
            "sessions/s, lbd dsr / HAProxy",
            ratio(Quantity::Rate, LBD, HAPROXY),
            Bound::AtLeast(1.6),
        ),
        goal(
            "CPU added to no balancer's, lbd dsr / HAProxy",
            Spread::of(added).map(|s| s.median),
            Bound::AtMost(0.3),
        ),
        goal(
            "sessions/s, lbd nat / nftables DNAT",
            ratio(Quantity::Rate, LBD_NAT, NFT_DNAT),
            Bound::AtLeast(1.0),
        ),
        goal(
            "CPU, lbd nat / nftables DNAT",
            ratio(Quantity::Cpu, LBD_NAT, NFT_DNAT),
            Bound::AtMost(1.0),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn quantity_of(quantity: Quantity, sample: &Sample) -> f64 {
    match quantity {
        Quantity::Rate => sample.sessions_per_s,
        Quantity::Cpu => sample.cpu_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_are_read_by_name() {
        let snmp = "Ip: Forwarding RetransSegs\nIp: 1 7\nTcp: ActiveOpens RetransSegs InErrs\nTcp: 5 42 0\n";
        assert_eq!(retransmitted(snmp), Some(42));
        assert_eq!(retransmitted("Tcp: ActiveOpens\nTcp: 5\n"), None);
    }
}
