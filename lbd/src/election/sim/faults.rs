//! What happens to boxes.
use super::super::*;
use super::world::{Event, MS, World};
use crate::config::StartAs;

impl World {
    pub(super) fn start(&mut self, node: usize, start_as: StartAs) {
        let local_ns = self.now_ns + self.nodes[node].offset_ns;
        let n = &mut self.nodes[node];
        if n.machine.is_some() {
            return;
        }
        n.life += 1;
        n.powered = true;
        n.config.start_as = start_as;
        n.machine = Some(Machine::new(n.config, local_ns));
        let found = match (n.role_master, n.lease_until_ns > local_ns) {
            (true, true) => Found::LeaseHeld,
            (true, false) => Found::LeaseOver,
            (false, _) => Found::Nothing,
        };
        self.note(&format!("{node} starts as {start_as}, found {found:?}"));
        self.handle(node, Input::Health(Health::GOOD));
        self.handle(node, Input::Start { found });
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.note(&format!("{node} killed"));
        let n = &mut self.nodes[node];
        (n.machine, n.frozen) = (None, false);
        n.inbox.clear();
    }

    /// The whole box: it serves and answers nothing until it is started anew.
    pub(super) fn crash(&mut self, node: usize) {
        self.kill(node);
        self.note(&format!("{node} is off"));
        let n = &mut self.nodes[node];
        (n.powered, n.role_master, n.lease_until_ns) = (false, false, 0);
    }

    /// The whole machine stands still, and its clocks with it: its lease does not run out.
    pub(super) fn pause(&mut self, node: usize) {
        self.note(&format!("{node} is paused"));
        let n = &mut self.nodes[node];
        (n.powered, n.frozen) = (false, true);
    }

    /// It goes on as if nothing had been, with what its network card took meanwhile or without.
    pub(super) fn resume(&mut self, node: usize, paused_ns: u64, kept: bool) {
        let n = &mut self.nodes[node];
        n.powered = true;
        n.offset_ns -= paused_ns;
        if !kept {
            n.inbox.clear();
        }
        self.note(&format!("{node} goes on"));
        self.thaw(node);
    }

    pub(super) fn stop(&mut self, node: usize) {
        self.note(&format!("{node} stops"));
        if !self.nodes[node].frozen {
            self.handle(node, Input::Stop);
        }
        self.kill(node);
    }

    fn freeze(&mut self, node: usize, for_ns: u64) {
        self.note(&format!("{node} frozen for {} ms", for_ns / MS));
        self.nodes[node].frozen = true;
        self.push(for_ns, Event::Thaw { node });
    }

    pub(super) fn thaw(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].frozen) {
            return;
        }
        self.note(&format!("{node} thawed"));
        // As the thread does: the sockets first, then the timer.
        for input in std::mem::take(&mut self.nodes[node].inbox) {
            self.handle(node, input);
        }
        self.schedule(node);
    }

    /// Any disturbance.
    pub(super) fn disturb(&mut self) {
        let node = self.random.index(self.nodes.len());
        let interval_ns = self.interval.ns();
        match self.random.below(13) {
            0 | 1 => self.kill(node),
            2 | 12 => self.crash(node),
            3 => self.stop(node),
            4 | 5 => self.start(node, StartAs::Backup),
            6 => self.start(node, StartAs::Master),
            7 => {
                let for_ns = self.random.below(8 * interval_ns);
                self.freeze(node, for_ns);
            }
            8 => {
                self.note("partition");
                for i in 0..self.nodes.len() {
                    self.nodes[i].segment = u8::from(self.random.permille(500));
                }
            }
            9 => self.heal(),
            10 => {
                // A box that slept: its clock counted on.
                let by_ns = self.random.below(10 * interval_ns);
                self.note(&format!("{node} jumps by {} ms", by_ns / MS));
                self.nodes[node].offset_ns += by_ns;
                self.schedule(node);
            }
            _ => {
                self.loss_permille = self.random.below(300);
                self.late_permille = self.random.below(100);
            }
        }
    }

    fn heal(&mut self) {
        self.note("healed");
        for node in &mut self.nodes {
            node.segment = 0;
        }
    }
}
