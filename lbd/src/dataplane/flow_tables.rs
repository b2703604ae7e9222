//! `FLOWS4`, `FLOWS6` and `LOAD` as memory.
use std::{net::SocketAddr, sync::atomic::AtomicU64};

use lbd_common::flow::{Bucket4, Bucket6, FlowWord, SEEN_SHIFT};

use super::{box_sessions::BoxSessions, mmap::MmapArray, signs::Signs};
use crate::{
    flows::{
        Confirm, End, Flows4, Flows6, IdsInUse, Key4, Key6, OpenSession, SweepReport, Sweeper,
        Timeouts,
    },
    units::BackendId,
};

/// The flows that the program works on at this moment. Clones share the memory and may be used on
/// any thread; nothing here is a system call.
#[derive(Clone, Debug)]
pub struct FlowTables {
    flows4: MmapArray<Bucket4>,
    flows6: MmapArray<Bucket6>,
    load: MmapArray<u64>,
    signs: Signs,
    told: BoxSessions,
}

impl FlowTables {
    pub(super) fn new(
        flows4: MmapArray<Bucket4>,
        flows6: MmapArray<Bucket6>,
        load: MmapArray<u64>,
        signs: Signs,
    ) -> Self {
        Self {
            flows4,
            flows6,
            load,
            signs,
            told: BoxSessions::default(),
        }
    }

    /// Tables that no program shares, for tests and benchmarks.
    pub fn anonymous(buckets4: usize, buckets6: usize) -> std::io::Result<Self> {
        Ok(Self {
            flows4: MmapArray::anonymous(buckets4)?,
            flows6: MmapArray::anonymous(buckets6)?,
            load: MmapArray::anonymous(lbd_common::maps::MAX_BACKENDS as usize)?,
            signs: Signs::anonymous()?,
            told: BoxSessions::default(),
        })
    }

    /// The tables as memory.
    pub(super) fn words(&self) -> (&[AtomicU64], &[AtomicU64]) {
        (self.flows4.words(), self.flows6.words())
    }

    #[cfg(test)]
    pub(super) fn table4(&self) -> MmapArray<Bucket4> {
        self.flows4.clone()
    }

    #[cfg(test)]
    pub(super) fn loads(&self) -> Vec<u64> {
        (0..self.load.len()).map(|id| self.load.get(id)).collect()
    }

    /// The IPv4 flows.
    pub fn v4(&self) -> Flows4<'_> {
        Flows4::new(self.flows4.words(), self.load.words())
    }

    /// The IPv6 flows.
    pub fn v6(&self) -> Flows6<'_> {
        Flows6::new(self.flows6.words(), self.load.words())
    }

    /// Walks both tables: some milliseconds of one core for a million flows.
    pub fn sweep(&self, sweeper: &mut Sweeper, now_seen: u16, timeouts: Timeouts) -> SweepReport {
        sweeper.speaks = self.signs.spoken_of();
        sweeper.sweep(
            &self.v4(),
            &self.v6(),
            self.load.words(),
            now_seen,
            timeouts,
        )
    }

    /// A box of the cluster says that the session of `client` with `vip_id` is open there: its kernel has
    /// the socket. From [`crate::flows::OpenSession`] follows what it outweighs. No system call.
    pub fn confirm(&self, client: SocketAddr, vip_id: u16, open: OpenSession) -> Confirm {
        match client {
            SocketAddr::V4(client) => self.v4().confirm(Key4::of(client, vip_id), open),
            SocketAddr::V6(client) => self.v6().confirm(Key6::of(client, vip_id), open),
        }
    }

    /// What is known of the flow of a client with a service.
    pub fn lookup(&self, client: SocketAddr, vip_id: u16) -> Option<FlowWord> {
        match client {
            SocketAddr::V4(client) => self.v4().lookup(Key4::of(client, vip_id)),
            SocketAddr::V6(client) => self.v6().lookup(Key6::of(client, vip_id)),
        }
    }

    /// The box of `backend` says that its socket of this session has ended.
    pub fn end(&self, client: SocketAddr, vip_id: u16, backend: BackendId, now_seen: u16) -> End {
        let id = backend.0;
        match client {
            SocketAddr::V4(client) => self.v4().end(Key4::of(client, vip_id), id, now_seen),
            SocketAddr::V6(client) => self.v6().end(Key6::of(client, vip_id), id, now_seen),
        }
    }

    /// What the backends' boxes are known by.
    pub fn signs(&self) -> &Signs {
        &self.signs
    }

    /// How many sessions the backends' boxes have told of.
    pub fn box_sessions(&self) -> &BoxSessions {
        &self.told
    }

    /// Marks every flow that `is_doomed` picks by its client and its word, so that its next frame is
    /// answered with RST. Returns how many.
    pub fn doom(&self, now_seen: u16, is_doomed: impl Fn(SocketAddr, FlowWord) -> bool) -> u64 {
        use crate::flows::FlowKey as _;
        let v4 = self
            .v4()
            .doom(now_seen, |flow| is_doomed(flow.key.source(), flow.word));
        let v6 = self
            .v6()
            .doom(now_seen, |flow| is_doomed(flow.key.source(), flow.word));
        v4 + v6
    }

    /// The ids that must not be given to others.
    pub fn ids_in_use(&self) -> IdsInUse {
        IdsInUse::of(self.flows4.words(), self.flows6.words())
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds as flows note it.
pub fn seen(monotonic_ns: u64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "the counter wraps around")]
    let seen = (monotonic_ns >> SEEN_SHIFT) as u16;
    seen
}
