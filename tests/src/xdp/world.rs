//! The loaded program and its maps.
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{Array, ArrayOfMaps, DevMapHash, MapData, PerCpuArray, PerCpuValues},
    programs::{ProgramFd, ProgramInfo, TestRun as _, Xdp, XdpMode, xdp::XdpLink},
    util::nr_cpus,
};
use lbd::{
    dataplane::{ProgramLog, TRACED, TraceFilter, TraceVariables, Traces},
    units::Mac,
};
use lbd_common::{
    backend::{Backend, BackendStats, mode, state},
    counters::Counters,
    flow::{BUCKETS4, BUCKETS6, Bucket4, Bucket6},
    hash::slot_mac,
    maps,
    node::{Node, mac_to_u64},
    rate::Rates,
    ring::RING_SLOTS,
    sign::Sign,
    vip::Vip,
};

use super::{
    object,
    packet::{NODE_MAC, OUR_MAC, PORT, VIP4, VIP6},
    tunnel::{OWN4, OWN6, PEER4, PEER6},
};

mod cluster;
mod counted;
mod flows;
mod lists;

pub use cluster::tunnel_to;
pub use flows::{client_hash4, client_hash6};

/// Buckets of both flow tables here: the least that fills a page.
pub const BUCKETS: u32 = 64;
/// The VIP id of `VIP4:25` and `VIP6:25`.
pub const VIP_IDS: [u16; 2] = [1, 2];
/// The backend of the ring's first candidate for the client.
pub const A: u16 = 1;
/// The backend of the ring's second candidate for the client.
pub const B: u16 = 2;
/// A backend on another interface.
pub const FAR: u16 = 3;
/// This box as a backend.
pub const LOCAL: u16 = 4;
/// A backend on an interface that the program does not know.
pub const LOST: u16 = 5;
/// A backend behind a tunnel of IPv4: [`PEER4`].
pub const TUNNEL4: u16 = 6;
/// A backend behind a tunnel of IPv6: [`PEER6`].
pub const TUNNEL6: u16 = 7;
/// The number of the interface that `BPF_PROG_TEST_RUN` pretends.
pub const INGRESS: u32 = 1;
/// What [`FAR`]'s interface is called in `DEVICES`.
pub const OTHER_INTERFACE: u32 = 7;

/// Verdicts of XDP.
pub mod verdict {
    /// `XDP_DROP`
    pub const DROP: u32 = 1;
    /// `XDP_PASS`
    pub const PASS: u32 = 2;
    /// `XDP_TX`
    pub const TX: u32 = 3;
    /// `XDP_REDIRECT`
    pub const REDIRECT: u32 = 4;
}

/// The MAC of a backend.
#[must_use]
pub fn backend_mac(id: u16) -> [u8; 6] {
    [2, 0, 0, 0, 0xb0, id.to_be_bytes()[1]]
}

/// Where the benchmark's generator sends its frames.
const GENERATED_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A box of the cluster.
const NODE: Node = Node {
    mac: mac_to_u64(NODE_MAC),
};

/// The access lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    /// `ALLOW4` and `ALLOW6`.
    Allow,
    /// `DENY4` and `DENY6`.
    Deny,
}

/// The loaded program.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct World {
    ebpf: Ebpf,
    rings: [Array<MapData, u32>; 2],
    addresses: Vec<IpAddr>,
    nat: bool,
    touched_slots: Vec<u32>,
    listed: Vec<(&'static str, IpAddr, u32)>,
    ingress: Option<u32>,
    own_macs: Vec<(u32, Mac)>,
    is_flooded: bool,
    program: &'static str,
}

impl World {
    /// Loads the program. `None` without root, which is said on stderr.
    ///
    /// # Panics
    /// When root cannot load it.
    #[must_use]
    pub fn load(test: &str) -> Option<Self> {
        crate::root_or_skip(test).then(|| Self::small().expect("the kernel takes the program"))
    }

    fn small() -> Result<Self> {
        let mut world = Self::sized(object::LBD, BUCKETS, BUCKETS)?;
        world.reset()?;
        Ok(world)
    }

    /// Loads the program with a trace of what `filter` matches. `None` without root, which is said on
    /// stderr.
    ///
    /// # Panics
    /// When root cannot load it.
    #[must_use]
    pub fn traced(test: &str, filter: &TraceFilter, until_ns: u64) -> Option<(Self, Traces)> {
        crate::root_or_skip(test).then(|| {
            let variables = TraceVariables::new(filter, until_ns);
            let loaded = Self::loaded(object::LBD, [BUCKETS; 2], Some(&variables), 0);
            let mut world = loaded.expect("the kernel takes the traced program");
            world.reset().unwrap();
            let traces = Traces::open(&mut world.ebpf).unwrap();
            (world, traces)
        })
    }

    /// Loads a debug build of the program, which says what is not above `level` as aya-log counts.
    pub fn saying(object: &[u8], level: u8) -> Result<(Self, ProgramLog)> {
        let mut world = Self::loaded(object, [BUCKETS; 2], None, level)?;
        world.reset()?;
        let log = ProgramLog::take(&mut world.ebpf).context("the object has no log")?;
        Ok((world, log))
    }

    /// A world with tables of the default size and so many backends like `backend`, numbered from 0.
    ///
    /// `object` is [`object::LBD`], or another build of it to compare with.
    pub fn for_bench(object: &[u8], backends: u16, backend: Backend) -> Result<Self> {
        let mut world = Self::sized(object, BUCKETS4, BUCKETS6)?;
        world.serve(VIP4.into(), &[(PORT, VIP_IDS[0])])?;
        world.serve(VIP6.into(), &[(PORT, VIP_IDS[1])])?;
        for id in 0..backends {
            world.backend(
                id,
                Backend {
                    mac: backend_mac(id),
                    source_mac: OUR_MAC,
                    ifindex: if backend.ifindex == 0 {
                        INGRESS
                    } else {
                        backend.ifindex
                    },
                    state: state::UP,
                    ..backend
                },
            )?;
            world.weight(id, 1000)?;
        }
        for slot in 0..RING_SLOTS {
            world.rings[0].set(slot, slot % u32::from(backends), 0)?;
        }
        world.director(|_| {})?;
        // The interface's own, as the fast path compares it; a second one takes the chain.
        world.own_macs(&[(INGRESS, GENERATED_MAC)])?;
        Ok(world)
    }

    /// Attaches the program in native mode, in the caller's namespace, until the link is dropped. Frames
    /// come for the MAC that the benchmark's generator (`tests/floor/src/main.rs`) sends them to.
    pub fn attach(&mut self, ifindex: u32) -> Result<XdpLink> {
        self.own_macs(&[(ifindex, GENERATED_MAC)])?;
        let program: &mut Xdp = self
            .ebpf
            .program_mut(self.program)
            .context(self.program)?
            .try_into()?;
        let link = program.attach_to_if_index(ifindex, XdpMode::Driver)?;
        Ok(program.take_link(link)?)
    }

    /// What the kernel says of the loaded program.
    pub fn info(&self) -> Result<ProgramInfo> {
        let program: &Xdp = self.ebpf.program(self.program).context("lbd")?.try_into()?;
        Ok(program.info()?)
    }

    /// The names of the maps that the program has.
    pub fn map_names(&self) -> Result<Vec<String>> {
        let ids = self
            .info()?
            .map_ids()?
            .context("the kernel names no maps")?;
        let name = |id| {
            let info = aya::maps::MapInfo::from_id(id)?;
            Ok(info.name_as_str().unwrap_or_default().to_owned())
        };
        ids.into_iter().map(name).collect()
    }

    /// The program, to be called by another.
    pub fn fd(&self) -> Result<ProgramFd> {
        let program: &Xdp = self.ebpf.program("lbd").context("lbd")?.try_into()?;
        Ok(program.fd()?.try_clone()?)
    }

    fn sized(object: &[u8], buckets4: u32, buckets6: u32) -> Result<Self> {
        Self::loaded(object, [buckets4, buckets6], None, 0)
    }

    fn loaded(
        object: &[u8],
        [buckets4, buckets6]: [u32; 2],
        trace: Option<&TraceVariables>,
        log_level: u8,
    ) -> Result<Self> {
        let name = if trace.is_some() { TRACED } else { "lbd" };
        let (mask4, mask6) = (buckets4 - 1, buckets6 - 1);
        let mut loader = EbpfLoader::new();
        ProgramLog::set_level(&mut loader, &log_level);
        if let Some(trace) = trace {
            trace.set_in(&mut loader);
        }
        let mut ebpf = loader
            .override_global("FLOWS4_MASK", &mask4, true)
            .override_global("FLOWS6_MASK", &mask6, true)
            .map_max_entries(maps::FLOWS4, buckets4)
            .map_max_entries(maps::FLOWS6, buckets6)
            .load(object)?;
        let mut outer: ArrayOfMaps<_, Array<MapData, u32>> =
            ArrayOfMaps::try_from(ebpf.map_mut(maps::RINGS).context("RINGS")?)?;
        let rings = [Array::create(RING_SLOTS, 0)?, Array::create(RING_SLOTS, 0)?];
        for (index, ring) in (0..).zip(&rings) {
            outer.set(index, ring, 0)?;
        }
        let mut devices: DevMapHash<_> =
            ebpf.map_mut(maps::DEVICES).context("DEVICES")?.try_into()?;
        devices.insert(OTHER_INTERFACE, INGRESS, None, 0)?;
        let program: &mut Xdp = ebpf.program_mut(name).context(name)?.try_into()?;
        program.load()?;
        Ok(Self {
            ebpf,
            rings,
            addresses: Vec::new(),
            nat: false,
            touched_slots: Vec::new(),
            listed: Vec::new(),
            ingress: None,
            own_macs: vec![(INGRESS, Mac(OUR_MAC))],
            is_flooded: false,
            program: name,
        })
    }

    /// Puts every map back to the start of a row: a leased master with two VIPs, of which the
    /// client's candidates are [`A`] and [`B`] with equal weights.
    pub fn reset(&mut self) -> Result<()> {
        for index in 0..BUCKETS {
            self.array::<Bucket4>(maps::FLOWS4)?
                .set(index, Bucket4::default(), 0)?;
            self.array::<Bucket6>(maps::FLOWS6)?
                .set(index, Bucket6::default(), 0)?;
        }
        self.per_cpu(maps::COUNTERS, 0, Counters::default())?;
        self.per_cpu(maps::RATES, 0, Rates::default())?;
        self.clear_lists()?;
        self.clear_replies()?;
        self.own_socket_seen(None)?;
        for id in 0..8 {
            self.array::<u64>(maps::LOAD)?.set(id, 0, 0)?;
            self.array::<u32>(maps::WEIGHTS)?.set(id, 0, 0)?;
            self.array::<Sign>(maps::SIGNS)?
                .set(id, Sign::default(), 0)?;
            self.array::<Backend>(maps::BACKENDS)?
                .set(id, Backend::default(), 0)?;
            self.per_cpu(maps::BACKEND_STATS, id, BackendStats::default())?;
        }
        self.addresses.clear();
        self.own_macs = vec![(INGRESS, Mac(OUR_MAC))];
        self.is_flooded = false;
        for index in 0..maps::VIP_SLOTS {
            self.array::<Vip>(maps::VIPS)?
                .set(index, Vip::default(), 0)?;
        }
        for (id, address) in VIP_IDS.into_iter().zip([IpAddr::V4(VIP4), VIP6.into()]) {
            self.serve(address, &[(PORT, id)])?;
        }
        self.array::<Node>(maps::NODES)?.set(
            slot_mac(mac_to_u64(NODE_MAC), maps::NODE_SLOTS),
            NODE,
            0,
        )?;
        self.tunnel_ends()?;
        for (id, change) in [
            (A, Backend::default()),
            (B, Backend::default()),
            (
                FAR,
                Backend {
                    ifindex: OTHER_INTERFACE,
                    ..Backend::default()
                },
            ),
            (
                LOCAL,
                Backend {
                    mode: mode::LOCAL,
                    ..Backend::default()
                },
            ),
            (
                LOST,
                Backend {
                    ifindex: 99,
                    ..Backend::default()
                },
            ),
            (TUNNEL4, tunnel_to(PEER4.into(), OWN4.into())),
            (TUNNEL6, tunnel_to(PEER6.into(), OWN6.into())),
        ] {
            let ifindex = if change.ifindex == 0 {
                INGRESS
            } else {
                change.ifindex
            };
            self.backend(
                id,
                Backend {
                    mac: backend_mac(id),
                    source_mac: OUR_MAC,
                    ifindex,
                    state: state::UP,
                    ..change
                },
            )?;
            self.weight(id, 1000)?;
        }
        for slot in std::mem::take(&mut self.touched_slots) {
            self.rings[0].set(slot, 0, 0)?;
        }
        self.candidates(A, B)?;
        self.director(|_| {})?;
        self.events()?;
        Ok(())
    }

    fn array<V: aya::Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        Ok(self
            .ebpf
            .map_mut(name)
            .with_context(|| name.to_owned())?
            .try_into()?)
    }

    fn per_cpu<V: aya::Pod>(&mut self, name: &str, index: u32, value: V) -> Result<()> {
        let mut map: PerCpuArray<_, V> = self
            .ebpf
            .map_mut(name)
            .with_context(|| name.to_owned())?
            .try_into()?;
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        map.set(index, PerCpuValues::try_from(vec![value; cpus])?, 0)?;
        Ok(())
    }

    /// Frames come in by this interface from now on, and not by [`INGRESS`].
    pub fn come_in_by(&mut self, ifindex: u32) {
        self.ingress = Some(ifindex);
    }

    /// Runs the program on a frame: the verdict and the frame afterwards.
    pub fn run(&mut self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let mut out = Vec::new();
        let action = self.run_into(frame, &mut out)?;
        Ok((action, out))
    }

    /// Runs the program on a frame: the verdict; the frame afterwards is left in `out`.
    pub fn run_into(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<u32> {
        if self.is_flooded {
            self.fill_second()?;
        }
        let program: &Xdp = self.ebpf.program(self.program).context("lbd")?.try_into()?;
        out.resize(4096, 0);
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let length = u32::try_from(frame.len())?;
        let context = [0, length, 0, self.ingress.unwrap_or(INGRESS), 0, 0];
        let context: Vec<u8> = context.into_iter().flat_map(u32::to_ne_bytes).collect();
        let result = program.test_run(TestRunOptions {
            ctx_in: self.ingress.map(|_| &context[..]),
            data_in: Some(frame),
            data_out: Some(out),
            ..TestRunOptions::default()
        })?;
        ensure!(result.data_size_out as usize <= out.len(), "a frame grew");
        out.truncate(result.data_size_out as usize);
        Ok(result.return_value)
    }
}

/// An IPv6 address as the maps have it.
#[must_use]
pub fn words(octets: [u8; 16]) -> [u32; 4] {
    std::array::from_fn(|i| {
        u32::from_ne_bytes([
            octets[4 * i],
            octets[4 * i + 1],
            octets[4 * i + 2],
            octets[4 * i + 3],
        ])
    })
}
