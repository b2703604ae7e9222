//! What has to be so afterwards.
use super::world::{MS, World};

impl World {
    /// At most this long until one master serves, after any fault: a freeze, a lost lease, a
    /// master-down interval, a wait for the flows.
    pub(super) fn settle_ns(&self) -> u64 {
        8 * self.interval.ns() + 2 * 4 * self.interval.ns() + 200 * MS + 10 * MS
    }

    pub(super) fn calm(&mut self) {
        (self.loss_permille, self.late_permille) = (0, 0);
    }

    /// Exactly one serves in each segment that has a live node, and it stays so.
    pub(super) fn assert_settled(&mut self, seed: u64, preempt: bool) {
        let mut served = Vec::new();
        for round in 0..40 {
            let now: Vec<usize> = (0..self.nodes.len())
                .filter(|i| self.nodes[*i].serves(self.now_ns))
                .collect();
            for segment in 0..=1 {
                let live = self.live(segment);
                let here: Vec<_> = now
                    .iter()
                    .filter(|i| self.nodes[**i].segment == segment)
                    .collect();
                assert_eq!(
                    here.len(),
                    usize::from(!live.is_empty()),
                    "seed {seed}, segment {segment} of {live:?}, served by {here:?}\n{}",
                    self.trace.join("\n")
                );
                if let (true, [master]) = (preempt, &here[..]) {
                    let best = live
                        .iter()
                        .max_by_key(|i| {
                            let config = &self.nodes[**i].config;
                            (config.priority, config.families.v4)
                        })
                        .unwrap();
                    let priority = |i: usize| self.nodes[i].config.priority;
                    // Equal priorities: the one that serves stays (RFC 9568, 6.4.2).
                    assert_eq!(
                        priority(**master),
                        priority(*best),
                        "seed {seed}\n{}",
                        self.trace.join("\n")
                    );
                }
            }
            if round == 0 {
                served = now;
            } else {
                assert_eq!(now, served, "seed {seed}: moved\n{}", self.trace.join("\n"));
            }
            self.run_for(self.interval.ns() / 10);
        }
    }

    fn live(&self, segment: u8) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|i| self.nodes[*i].segment == segment && self.nodes[*i].machine.is_some())
            .collect()
    }

    /// Who serves, when it is one.
    pub(super) fn master(&self) -> Option<usize> {
        let mut masters = (0..self.nodes.len()).filter(|i| self.nodes[*i].serves(self.now_ns));
        let first = masters.next()?;
        masters.next().is_none().then_some(first)
    }

    /// When a box's lease ends, by the world's clock.
    pub(super) fn lease_end_ns(&self, node: usize) -> u64 {
        self.nodes[node].lease_until_ns - self.nodes[node].offset_ns
    }

    /// Of all that run.
    pub(super) fn takeovers(&self) -> u64 {
        let machines = self.nodes.iter().filter_map(|node| node.machine.as_ref());
        machines.map(|machine| machine.counters().takeovers).sum()
    }
}
