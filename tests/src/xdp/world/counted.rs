//! What the program has counted and told.
use anyhow::{Context as _, Result, ensure};
use aya::maps::{PerCpuArray, RingBuf};
use lbd_common::{
    backend::BackendStats,
    counters::{Counters, Reason},
    event::FlowEvent,
    maps,
};

use super::World;

impl World {
    /// One counter, summed over the CPUs.
    pub fn counter(&mut self, reason: Reason) -> Result<u64> {
        let all = self.counters()?;
        Ok(all
            .iter()
            .find(|(of, _)| *of == reason)
            .map_or(0, |(_, count)| *count))
    }

    /// The counters that are not 0, summed over the CPUs.
    pub fn counters(&mut self) -> Result<Vec<(Reason, u64)>> {
        let map: PerCpuArray<_, Counters> = self
            .ebpf
            .map(maps::COUNTERS)
            .context("COUNTERS")?
            .try_into()?;
        let mut sum = Counters::default();
        for cpu in map.get(&0, 0)?.iter() {
            sum.add(cpu);
        }
        Ok(Reason::ALL
            .iter()
            .map(|reason| (*reason, sum.get(*reason)))
            .filter(|(_, count)| *count != 0)
            .collect())
    }

    /// What was counted for a backend, summed over the CPUs.
    pub fn stats(&mut self, id: u16) -> Result<BackendStats> {
        let map: PerCpuArray<_, BackendStats> = self
            .ebpf
            .map(maps::BACKEND_STATS)
            .context("BACKEND_STATS")?
            .try_into()?;
        let mut sum = BackendStats::default();
        for cpu in map.get(&id.into(), 0)?.iter() {
            sum.packets += cpu.packets;
            sum.bytes += cpu.bytes;
            sum.connections += cpu.connections;
        }
        Ok(sum)
    }

    /// Takes the events out of the ring buffer.
    pub fn events(&mut self) -> Result<Vec<FlowEvent>> {
        let mut ring = RingBuf::try_from(self.ebpf.map_mut(maps::EVENTS).context("EVENTS")?)?;
        let mut events = Vec::new();
        while let Some(item) = ring.next() {
            ensure!(item.len() >= size_of::<FlowEvent>(), "a short event");
            // SAFETY: there are enough bytes, and any bits are a `FlowEvent`.
            events.push(unsafe { item.as_ptr().cast::<FlowEvent>().read_unaligned() });
        }
        Ok(events)
    }
}
