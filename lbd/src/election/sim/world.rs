//! A segment of boxes on one virtual clock, drawn from a seed.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::*;
use crate::units::Priority;
use crate::vrrp::Interval;

pub(super) const MS: u64 = 1_000_000;

/// `SplitMix64` (Steele et al., OOPSLA 2014): the same seed, the same run, on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end - 1`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(super) fn permille(&mut self, odds: u64) -> bool {
        self.below(1000) < odds
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Event {
    Wake {
        node: usize,
    },
    Heard {
        node: usize,
        from: usize,
        v6: bool,
        priority: u8,
        centiseconds: u16,
    },
    Synced {
        node: usize,
        life: u64,
    },
    Thaw {
        node: usize,
    },
    /// Another box answers for the VIP.
    Claim {
        node: usize,
    },
    /// A box (or the gateway, which is none) answers a question of `node`.
    Answer {
        node: usize,
        from: Option<usize>,
    },
}

/// The segment in which the gateway is.
const GATEWAY_SEGMENT: u8 = 0;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 25);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

pub(super) struct Node {
    pub(super) config: Config,
    pub(super) machine: Option<Machine>,
    /// Raised at each start, so that an answer to an earlier life is no answer to this one.
    pub(super) life: u64,
    /// This box's clock less the world's.
    pub(super) offset_ns: u64,
    pub(super) frozen: bool,
    /// Its kernel runs: it answers ARP, and serves while its lease lasts.
    pub(super) powered: bool,
    /// What the sockets of a frozen box hold.
    pub(super) inbox: Vec<Input>,
    /// The data plane's view, which outlives the daemon.
    pub(super) role_master: bool,
    pub(super) lease_until_ns: u64,
    pub(super) segment: u8,
}

impl Node {
    pub(super) fn serves(&self, now_ns: u64) -> bool {
        self.powered && self.role_master && now_ns + self.offset_ns < self.lease_until_ns
    }
}

pub(super) struct World {
    pub(super) now_ns: u64,
    pub(super) random: Random,
    pub(super) queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(super) sequence: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) interval: Interval,
    pub(super) delay_ns: u64,
    pub(super) loss_permille: u64,
    pub(super) late_permille: u64,
    /// Whether any box answers probes.
    pub(super) answers: bool,
    /// Time in which two boxes of a segment served.
    pub(super) overlap_ns: u64,
    pub(super) trace: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, count: usize, interval: Interval, preempt: bool) -> Self {
        let mut random = Random(seed);
        let nodes = (0..count)
            .map(|i| {
                let id = u8::try_from(i).unwrap() + 1;
                // A third of the boxes share a priority, and IPv6 orders them the other way.
                let priority = Priority(if random.permille(330) { 100 } else { 100 + id });
                let families = Families {
                    v4: Some(Ipv4Addr::new(192, 0, 2, id)),
                    v6: Some(Ipv6Addr::new(
                        0xfe80,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0x100 - u16::from(id),
                    )),
                };
                let mut config = crate::election::tests::config(priority, families);
                config.interval = interval;
                config.preempt = preempt;
                config.sync_timeout_ns = 200 * MS;
                Node {
                    config,
                    machine: None,
                    life: 0,
                    offset_ns: random.below(1000 * MS),
                    frozen: false,
                    powered: true,
                    inbox: Vec::new(),
                    role_master: false,
                    lease_until_ns: 0,
                    segment: 0,
                }
            })
            .collect();
        Self {
            now_ns: 0,
            random,
            queue: BinaryHeap::new(),
            sequence: 0,
            nodes,
            interval,
            delay_ns: interval.ns() / 50,
            loss_permille: 0,
            late_permille: 0,
            answers: true,
            overlap_ns: 0,
            trace: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, after_ns: u64, event: Event) {
        self.sequence += 1;
        self.queue
            .push(Reverse((self.now_ns + after_ns, self.sequence, event)));
    }

    pub(super) fn handle(&mut self, node: usize, input: Input) {
        let mut outputs = Vec::new();
        let local_ns = self.now_ns + self.nodes[node].offset_ns;
        let Some(machine) = &mut self.nodes[node].machine else {
            return;
        };
        machine.handle(local_ns, input, &mut outputs);
        for output in outputs {
            self.act(node, output);
        }
        self.schedule(node);
    }

    pub(super) fn schedule(&mut self, node: usize) {
        let local_ns = self.now_ns + self.nodes[node].offset_ns;
        let deadline = self.nodes[node]
            .machine
            .as_ref()
            .and_then(Machine::deadline_ns);
        if let Some(deadline) = deadline {
            let late_ns = if self.random.permille(self.late_permille) {
                self.random.below(2 * self.interval.ns())
            } else {
                self.random.below(self.interval.ns() / 1000)
            };
            self.push(
                deadline.saturating_sub(local_ns) + late_ns,
                Event::Wake { node },
            );
        }
    }

    /// To each other node of the segment, with the lab's loss and delay for each datagram.
    fn send_advert(
        &mut self,
        node: usize,
        families: &[Family],
        priority: Priority,
        interval: Interval,
    ) {
        for to in 0..self.nodes.len() {
            for family in families {
                let apart = self.nodes[to].segment != self.nodes[node].segment;
                if to == node || apart || self.random.permille(self.loss_permille) {
                    continue;
                }
                let delay_ns = 1 + self.random.below(self.delay_ns);
                let event = Event::Heard {
                    node: to,
                    from: node,
                    v6: *family == Family::Ipv6,
                    priority: priority.0,
                    centiseconds: interval.centiseconds(),
                };
                self.push(delay_ns, event);
            }
        }
    }

    fn act(&mut self, node: usize, output: Output) {
        match output {
            Output::SendAdvert { priority, interval } => {
                self.send_advert(node, &[Family::Ipv4, Family::Ipv6], priority, interval);
            }
            Output::LeaveFamily { family, interval } => {
                self.send_advert(node, &[family], Priority::STOPPING, interval);
            }
            Output::HoldLease { until_ns } => self.nodes[node].lease_until_ns = until_ns,
            Output::ReleaseLease => self.nodes[node].lease_until_ns = 0,
            Output::BecomeMaster { why } => {
                self.nodes[node].role_master = true;
                self.note(&format!("{node} master: {why:?}"));
            }
            Output::BecomeBackup { why } => {
                self.nodes[node].role_master = false;
                self.note(&format!("{node} backup: {why:?}"));
            }
            Output::WantSync => {
                // One in ten never gets its flows.
                if !self.random.permille(100) {
                    let life = self.nodes[node].life;
                    let after_ns = self.random.below(100 * MS);
                    self.push(after_ns, Event::Synced { node, life });
                }
            }
            Output::Probe { .. } | Output::AskWitnesses { .. } => self.ask_all(node),
            Output::AskAddresses => self.ask_for_vip(node),
            Output::Announce | Output::Isolated | Output::Rejoined | Output::Notice(_) => {}
        }
    }

    /// Every box is asked, the gateway too; a question and its answer may each be lost.
    fn ask_all(&mut self, node: usize) {
        let segment = self.nodes[node].segment;
        let boxes = (0..self.nodes.len()).map(Some);
        for from in boxes.chain([None]) {
            let answers = match from {
                Some(other) => {
                    other != node
                        && self.nodes[other].powered
                        && self.nodes[other].segment == segment
                }
                None => segment == GATEWAY_SEGMENT,
            };
            let lost = (0..2).any(|_| self.random.permille(self.loss_permille));
            if self.answers && answers && !lost {
                let delay_ns = 2 + self.random.below(2 * self.delay_ns);
                self.push(delay_ns, Event::Answer { node, from });
            }
        }
    }

    /// Every box that serves answers for the VIP.
    fn ask_for_vip(&mut self, node: usize) {
        let segment = self.nodes[node].segment;
        for other in 0..self.nodes.len() {
            let there = other != node
                && self.nodes[other].segment == segment
                && self.nodes[other].serves(self.now_ns);
            let lost = (0..2).any(|_| self.random.permille(self.loss_permille));
            if self.answers && there && !lost {
                let delay_ns = 2 + self.random.below(2 * self.delay_ns);
                self.push(delay_ns, Event::Claim { node });
            }
        }
    }

    pub(super) fn note(&mut self, what: &str) {
        self.trace
            .push(format!("{} us: {what}", self.now_ns / 1000));
    }

    pub(super) fn run_for(&mut self, duration_ns: u64) {
        let end_ns = self.now_ns + duration_ns;
        while let Some(Reverse((at_ns, _, event))) = self.queue.peek().copied() {
            if at_ns > end_ns {
                break;
            }
            self.queue.pop();
            self.pass_to(at_ns);
            self.dispatch(event);
        }
        self.pass_to(end_ns);
    }

    fn pass_to(&mut self, at_ns: u64) {
        let segments: std::collections::BTreeSet<u8> =
            self.nodes.iter().map(|node| node.segment).collect();
        for segment in segments {
            // Two serve until the earlier of the two leases ends, or what comes next.
            let mut ends: Vec<u64> = self
                .nodes
                .iter()
                .filter(|node| node.segment == segment && node.serves(self.now_ns))
                .map(|node| node.lease_until_ns - node.offset_ns)
                .collect();
            ends.sort_unstable();
            if let [.., second, _] = ends[..] {
                self.overlap_ns += second.min(at_ns) - self.now_ns;
            }
        }
        self.now_ns = at_ns;
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Wake { node } => {
                let local_ns = self.now_ns + self.nodes[node].offset_ns;
                let due = self.nodes[node]
                    .machine
                    .as_ref()
                    .and_then(Machine::deadline_ns)
                    .is_some_and(|at| at <= local_ns);
                if due && !self.nodes[node].frozen {
                    self.handle(node, Input::Timer);
                }
            }
            Event::Heard {
                node,
                from,
                v6,
                priority,
                centiseconds,
            } => {
                let families = self.nodes[from].config.families;
                let from = if v6 {
                    families.v6.map(IpAddr::V6)
                } else {
                    families.v4.map(IpAddr::V4)
                };
                let heard = Heard {
                    from: from.unwrap(),
                    priority: Priority(priority),
                    interval: Interval::from_centiseconds(centiseconds).unwrap(),
                    leased: true,
                };
                self.deliver(node, Input::Advert(heard));
            }
            Event::Answer { node, from } => {
                let address = match from {
                    Some(from) => self.nodes[from].config.families.v4,
                    None => Some(GATEWAY),
                };
                let address = address.unwrap().into();
                self.deliver(node, Input::Alive { address });
            }
            Event::Claim { node } => {
                self.deliver(
                    node,
                    Input::RivalClaim {
                        address: VIP.into(),
                    },
                );
            }
            Event::Synced { node, life } => {
                if self.nodes[node].life == life && !self.nodes[node].frozen {
                    self.handle(node, Input::SyncDone);
                }
            }
            Event::Thaw { node } => self.thaw(node),
        }
    }

    /// To the machine, or to the sockets that it does not read now.
    fn deliver(&mut self, node: usize, input: Input) {
        if self.nodes[node].frozen {
            self.nodes[node].inbox.push(input);
        } else {
            self.handle(node, input);
        }
    }
}
