//! The master's weights, which its backups write into their own maps.
use std::{collections::BTreeMap, net::IpAddr};

use super::record::{emit_address, parse_address, take};
use crate::units::WeightPermille;

/// A backend's share, by the address that it has on every node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackendWeight {
    /// The backend's own address.
    pub backend: IpAddr,
    /// Its effective weight; 0 takes no new session.
    pub weight: WeightPermille,
    /// Its weight in the ring, which noise in the effective weight does not move.
    pub in_ring: WeightPermille,
}

/// A datagram's share of one round of weights.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Weights {
    /// One more than that of the round before.
    pub round: u64,
    /// Backends in the whole round.
    pub total: u16,
    /// Those in this datagram.
    pub backends: Vec<BackendWeight>,
}

/// Bytes before the backends.
pub(super) const HEAD_BYTES: usize = 8 + 2;
/// Bytes of a backend, at most.
pub(super) const BACKEND_BYTES: usize = 1 + 16 + 4 + 4;

impl BackendWeight {
    fn emit(&self, to: &mut Vec<u8>) {
        to.push(if self.backend.is_ipv4() { 4 } else { 6 });
        emit_address(self.backend, to);
        to.extend(self.weight.0.to_be_bytes());
        to.extend(self.in_ring.0.to_be_bytes());
    }

    fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let is_ipv6 = match take(bytes)? {
            [4] => false,
            [6] => true,
            _ => return None,
        };
        Some(Self {
            backend: parse_address(is_ipv6, bytes)?,
            weight: WeightPermille(u32::from_be_bytes(take(bytes)?)),
            in_ring: WeightPermille(u32::from_be_bytes(take(bytes)?)),
        })
    }
}

impl Weights {
    pub(super) fn emit(&self, to: &mut Vec<u8>) {
        to.extend(self.round.to_be_bytes());
        to.extend(self.total.to_be_bytes());
        self.backends.iter().for_each(|backend| backend.emit(to));
    }

    pub(super) fn parse(count: u16, bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            round: u64::from_be_bytes(take(bytes)?),
            total: u16::from_be_bytes(take(bytes)?),
            backends: (0..count)
                .map(|_| BackendWeight::parse(bytes))
                .collect::<Option<_>>()?,
        })
    }
}

/// Puts the datagrams of a round together: a ring is built from all weights or from none.
#[derive(Clone, Debug, Default)]
pub(super) struct Assembly {
    round: u64,
    backends: BTreeMap<IpAddr, BackendWeight>,
}

impl Assembly {
    /// Takes a part; returns the round once it is whole. A part of a former round is nothing.
    pub(super) fn take(&mut self, part: &Weights) -> Option<Vec<BackendWeight>> {
        if part.round < self.round {
            return None;
        }
        if part.round > self.round {
            self.round = part.round;
            self.backends.clear();
        }
        let before = self.backends.len();
        let named = part.backends.iter().map(|told| (told.backend, *told));
        self.backends.extend(named);
        let total = usize::from(part.total);
        (before < total && self.backends.len() == total)
            .then(|| self.backends.values().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(round: u64, total: u16, backends: std::ops::Range<u8>) -> Weights {
        let backends = backends.map(|last| BackendWeight {
            backend: [192, 0, 2, last].into(),
            weight: WeightPermille(u32::from(last)),
            in_ring: WeightPermille(7),
        });
        Weights {
            round,
            total,
            backends: backends.collect(),
        }
    }

    #[test]
    fn a_round_counts_once_when_it_is_whole_in_any_order() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(&part(1, 4, 2..4)), None);
        let whole = assembly.take(&part(1, 4, 0..2)).unwrap();
        assert_eq!(whole, part(1, 4, 0..4).backends);
        assert_eq!(assembly.take(&part(1, 4, 0..2)), None, "once");
    }

    #[test]
    fn a_newer_round_ends_an_older_one_that_is_not_whole() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(&part(1, 4, 0..2)), None);
        assert_eq!(assembly.take(&part(2, 4, 0..2)), None);
        assert_eq!(assembly.take(&part(1, 4, 2..4)), None);
        assert!(assembly.take(&part(2, 4, 2..4)).is_some());
    }
}
