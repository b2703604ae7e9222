//! The pinned maps, opened.
use std::{io, net::IpAddr, os::fd::AsFd as _};

use aya::{
    Ebpf,
    maps::{ArrayOfMaps, Map, RingBuf},
    util::nr_cpus,
};
use lbd_common::{
    backend::Backend,
    director::{Director, flag},
    maps::{
        BACKEND_STATS, BACKENDS, COUNTERS, DENY_LENGTHS, DEVICES, DIRECTOR, EVENTS, FLOWS4, FLOWS6,
        LOAD, MAX_BACKENDS, NODE_SLOTS, NODES, PREFILTER, REPLIES, RINGS, SERVICE_SESSIONS, SIGNS,
        TUNNEL_SLOTS, TUNNELS, UNSEEN, VIP_IDS, VIP_SLOTS, VIPS, WEIGHTS,
    },
    node::Node,
    prefilter::{MAC_SLOTS, Prefilter},
    tunnel::TunnelEnd,
    vip::Vip,
};

use super::{
    call_map::{CallMap, map_error, open},
    error::{DataPlaneError, Result},
    events::Events,
    flow_tables::FlowTables,
    lists::LoadedLists,
    mmap::MmapArray,
    nodes,
    pins::PinDir,
    plain::Plain,
    prefilter,
    rings::Rings,
    signs::Signs,
    spec::LoadOptions,
    tunnels, vips,
};
use crate::units::Mac;

/// What is opened once and then belongs to others.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) maps: Maps,
    pub(super) rings: Rings,
    pub(super) events: Events,
    pub(super) flows: FlowTables,
    pub(super) lists: LoadedLists,
}

/// The maps that the data plane keeps.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) vips: MmapArray<Vip>,
    pub(super) prefilter: CallMap,
    pub(super) director: MmapArray<Director>,
    pub(super) nodes: MmapArray<Node>,
    pub(super) tunnels: MmapArray<TunnelEnd>,
    pub(super) backends: CallMap,
    pub(super) weights: MmapArray<u32>,
    pub(super) load: MmapArray<u64>,
    pub(super) signs: Signs,
    pub(super) devices: CallMap,
    pub(super) replies: CallMap,
    pub(super) counters: CallMap,
    pub(super) backend_stats: CallMap,
    pub(super) service_sessions: MmapArray<u64>,
    pub(super) unseen: MmapArray<u64>,
    /// The MACs of this box, as [`Self::receive`] was told last.
    own: Vec<(u32, Mac)>,
    /// Whether every frame takes the chain: see [`Self::take_every_frame`].
    every_frame: bool,
    /// CPUs that the kernel may bring up: the copies of a per-CPU entry.
    pub(super) cpus: usize,
}

impl Maps {
    /// Opens what is pinned, and takes from `ebpf` what aya reads.
    pub(super) fn open(
        pins: &PinDir,
        ebpf: &mut Ebpf,
        options: &LoadOptions,
        ring_flags: u32,
    ) -> Result<Opened> {
        let outer = ArrayOfMaps::try_from(take(ebpf, RINGS)?)
            .map_err(|error| map_error("opening", RINGS, io::Error::other(error)))?;
        let ring = RingBuf::try_from(take(ebpf, EVENTS)?)
            .map_err(|error| map_error("opening", EVENTS, io::Error::other(error)))?;
        let cpus = nr_cpus()
            .map_err(|(file, error)| DataPlaneError::Load(format!("reading {file}: {error}")))?;
        let load = mapped(pins, LOAD, MAX_BACKENDS)?;
        let signs = Signs::new(mapped(pins, SIGNS, MAX_BACKENDS)?);
        let maps = Self {
            vips: mapped(pins, VIPS, VIP_SLOTS)?,
            prefilter: CallMap::open(pins, PREFILTER)?,
            director: mapped(pins, DIRECTOR, 1)?,
            nodes: mapped(pins, NODES, NODE_SLOTS)?,
            tunnels: mapped(pins, TUNNELS, TUNNEL_SLOTS)?,
            backends: CallMap::open(pins, BACKENDS)?,
            weights: mapped(pins, WEIGHTS, MAX_BACKENDS)?,
            load: load.clone(),
            signs: signs.clone(),
            devices: CallMap::open(pins, DEVICES)?,
            replies: CallMap::open(pins, REPLIES)?,
            counters: CallMap::open(pins, COUNTERS)?,
            backend_stats: CallMap::open(pins, BACKEND_STATS)?,
            service_sessions: mapped(pins, SERVICE_SESSIONS, VIP_IDS)?,
            unseen: mapped(pins, UNSEEN, MAC_SLOTS)?,
            own: Vec::new(),
            every_frame: false,
            cpus,
        };
        Ok(Opened {
            maps,
            rings: Rings::open(outer, ring_flags)?,
            events: Events::new(ring),
            flows: FlowTables::new(
                mapped(pins, FLOWS4, options.flows4_buckets)?,
                mapped(pins, FLOWS6, options.flows6_buckets)?,
                load,
                signs,
            ),
            lists: LoadedLists::open(pins, mapped(pins, DENY_LENGTHS, 1)?)?,
        })
    }

    /// Has the program look at frames to and from what the maps have, and to and from what is `coming`:
    /// before these come, so that no frame to them is overlooked, and again once others have gone.
    pub(super) fn filter(
        &self,
        coming: impl IntoIterator<Item = IpAddr>,
        coming_nodes: impl IntoIterator<Item = Node>,
    ) -> Result<()> {
        let addresses = vips::addresses(&self.vips)
            .chain(tunnels::addresses(&self.tunnels))
            .chain(coming);
        let nodes = nodes::all(&self.nodes).chain(coming_nodes);
        let nat = self.director.get(0).flags & flag::NAT != 0;
        let macs = self.prefilter.get::<Prefilter>(0_u32)?.macs;
        let everything = nat || self.every_frame;
        self.prefilter
            .set(0_u32, &prefilter::of(addresses, nodes, everything, macs))
    }

    /// Takes exactly these MACs as those that frames for this box are addressed to.
    /// False if nothing changed.
    pub(super) fn receive(&mut self, own: &[(u32, Mac)]) -> Result<bool> {
        self.own = own.to_vec();
        self.write_macs()
    }

    /// Has every frame take the chain, which decides it as the fast path does, or not any more.
    pub(super) fn take_every_frame(&mut self, every_frame: bool) -> Result<()> {
        if self.every_frame == every_frame {
            return Ok(());
        }
        self.every_frame = every_frame;
        self.write_macs()?;
        self.filter(None, None)
    }

    fn write_macs(&self) -> Result<bool> {
        let now: Prefilter = self.prefilter.get(0_u32)?;
        let macs = if self.every_frame {
            prefilter::own_macs(&prefilter::behind_the_first(&self.own))
        } else {
            prefilter::own_macs(&self.own)
        };
        if macs == now.macs {
            return Ok(false);
        }
        self.prefilter.set(0_u32, &Prefilter { macs, ..now })?;
        Ok(true)
    }

    /// Every entry of `BACKENDS`.
    pub(super) fn all_backends(&self) -> Result<Vec<Backend>> {
        (0..MAX_BACKENDS).map(|id| self.backends.get(id)).collect()
    }
}

fn mapped<T: Plain>(pins: &PinDir, name: &'static str, entries: u32) -> Result<MmapArray<T>> {
    let map = open(pins, name)?;
    MmapArray::map(map.as_fd(), entries as usize)
        .map_err(|source| map_error("mapping", name, source))
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map> {
    ebpf.take_map(name)
        .ok_or(DataPlaneError::NoMap { map: name })
}

/// The sum of per-CPU copies of `T`, which is made of `u64` counters.
pub(super) fn sum<T: Plain>(copies: &[T]) -> T {
    let mut words = vec![0_u64; size_of::<T>() / 8];
    for copy in copies {
        for (sum, bytes) in words.iter_mut().zip(copy.as_bytes().chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            *sum = sum.wrapping_add(u64::from_ne_bytes(word));
        }
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    T::read_from(&bytes)
}

#[cfg(test)]
mod tests {
    use lbd_common::backend::BackendStats;

    use super::*;

    #[test]
    fn copies_are_summed_field_by_field() {
        let one = BackendStats {
            packets: 1,
            bytes: 10,
            connections: 100,
        };
        let two = BackendStats {
            packets: 2,
            bytes: 20,
            connections: 200,
        };
        let expected = BackendStats {
            packets: 3,
            bytes: 30,
            connections: 300,
        };
        assert_eq!(sum(&[one, two]), expected);
        assert_eq!(sum::<BackendStats>(&[]), BackendStats::default());
    }
}
