//! What this node tells every peer: itself, what the master decided, what operators ordered.
use super::{Channel, Output};
use crate::channel::{
    datagram::{Body, RECORD_BYTES},
    denials::DenialRecord,
    edition::Edition,
    no_listener::NoListener,
    orders::OrderRecord,
    retransmit::Content,
    station::Station,
    weights::{BACKEND_BYTES, BackendWeight, HEAD_BYTES, Weights},
};

/// A wall clock that moved by more than that against time was set.
const CLOCK_STEP_NS: u64 = 500_000_000;

impl Channel {
    /// This node has another configuration now: tells every peer.
    pub fn tell_edition(&mut self, edition: Option<Edition>, now_ns: u64) -> Vec<Output> {
        self.edition = edition;
        self.hello_all(now_ns)
    }

    /// From now on this node tells of its own kernel's sessions, or no longer: every peer is told, and a
    /// peer that has its table asks for it once more.
    pub fn tell_sessions(&mut self, tells_sessions: bool, now_ns: u64) -> Vec<Output> {
        if std::mem::replace(&mut self.tells_sessions, tells_sessions) == tells_sessions {
            return Vec::new();
        }
        (0..self.links.len())
            .map(|index| self.hello(index, now_ns))
            .collect()
    }

    /// For which services this node has no listening socket now: tells every peer, again with each hello.
    pub fn tell_no_listener(&mut self, told: NoListener) -> Vec<Output> {
        let is_news = match &self.no_listener {
            Some(known) => *known != told,
            None => !told.services.is_empty(),
        };
        if !is_news {
            return Vec::new();
        }
        self.no_listener = Some(told);
        let peers = 0..self.links.len();
        peers.filter_map(|index| self.without(index)).collect()
    }

    pub(super) fn without(&mut self, index: usize) -> Option<Output> {
        let epoch = self.links[index].epoch()?;
        let body = Body::NoListener(self.no_listener.clone()?);
        Some(self.signed(index, Some(epoch), body, Content::Word))
    }

    /// Whether a health check of this node succeeds has changed: tells every peer.
    pub fn tell_checks_succeed(&mut self, succeed: bool, now_ns: u64) -> Vec<Output> {
        self.checks_succeed = succeed;
        self.hello_all(now_ns)
    }

    /// Tells the channel what this node's wall clock shows. Where it was set, every peer is told at
    /// once: they judge this node's adverts by it.
    pub fn set_clock(&mut self, unix_ns: u64, now_ns: u64) -> Vec<Output> {
        let expected_ns = self.clock_unix_ns(now_ns);
        self.clock = (unix_ns, now_ns);
        if expected_ns.abs_diff(unix_ns) <= CLOCK_STEP_NS {
            return Vec::new();
        }
        self.hello_all(now_ns)
    }

    /// This node sends with these MACs from now on: tells every peer, which takes no other's frames for
    /// its.
    pub fn tell_station(&mut self, station: Station, now_ns: u64) -> Vec<Output> {
        if self.station == station {
            return Vec::new();
        }
        self.station = station;
        self.hello_all(now_ns)
    }

    pub(super) fn clock_unix_ns(&self, now_ns: u64) -> u64 {
        let (unix_ns, at_ns) = self.clock;
        unix_ns.saturating_add(now_ns.saturating_sub(at_ns))
    }

    /// This node stops: tells every peer, until it does.
    pub fn leave(&mut self) -> Vec<Output> {
        self.is_leaving = true;
        let peers = 0..self.links.len();
        peers.filter_map(|index| self.leaving(index)).collect()
    }

    pub(super) fn leaving(&mut self, index: usize) -> Option<Output> {
        let epoch = self.links[index].epoch().filter(|_| self.is_leaving)?;
        Some(self.signed(index, Some(epoch), Body::Leaving, Content::Word))
    }

    /// Tells every peer that is heard what this node, as the master, has decided.
    pub fn tell_weights(&mut self, backends: &[BackendWeight], now_ns: u64) -> Vec<Output> {
        self.round += 1;
        let total = u16::try_from(backends.len()).unwrap_or(u16::MAX);
        let parts = backends.chunks((RECORD_BYTES - HEAD_BYTES) / BACKEND_BYTES);
        let bodies = parts.map(|part| {
            Body::Weights(Weights {
                round: self.round,
                total,
                backends: part.to_vec(),
            })
        });
        let bodies: Vec<Body> = bodies.collect();
        self.tell(&bodies, now_ns)
    }

    /// Tells every peer that is heard the operators' orders that this node knows.
    pub fn tell_orders(&mut self, orders: &[OrderRecord], now_ns: u64) -> Vec<Output> {
        let bodies = bodies(orders, OrderRecord::wire_bytes, Body::Orders);
        self.tell(&bodies, now_ns)
    }

    /// Tells every peer that is heard these denials by hand.
    pub fn tell_denials(&mut self, denials: &[DenialRecord], now_ns: u64) -> Vec<Output> {
        let bodies = bodies(denials, DenialRecord::wire_bytes, Body::Denials);
        self.tell(&bodies, now_ns)
    }

    pub(super) fn tell(&mut self, bodies: &[Body], now_ns: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        for index in 0..self.links.len() {
            if self.links[index].is_live(now_ns) {
                let epoch = self.links[index].epoch();
                for body in bodies {
                    outputs.push(self.signed(index, epoch, body.clone(), Content::Word));
                }
            }
        }
        outputs
    }

    pub(super) fn hello_all(&mut self, now_ns: u64) -> Vec<Output> {
        (0..self.links.len())
            .map(|index| self.hello(index, now_ns))
            .collect()
    }
}

/// As many bodies as records of so many bytes need.
fn bodies<T: Clone>(
    records: &[T],
    wire_bytes: impl Fn(&T) -> usize,
    body: impl Fn(Vec<T>) -> Body,
) -> Vec<Body> {
    let (mut bodies, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for record in records {
        bytes += wire_bytes(record);
        if bytes > RECORD_BYTES {
            bodies.push(body(std::mem::take(&mut part)));
            bytes = wire_bytes(record);
        }
        part.push(record.clone());
    }
    if !part.is_empty() {
        bodies.push(body(part));
    }
    bodies
}
