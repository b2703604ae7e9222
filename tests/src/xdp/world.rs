//! The loaded program and its maps.
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{
        Array, ArrayOfMaps, DevMapHash, HashMap, LpmTrie, MapData, PerCpuArray, PerCpuValues,
        RingBuf, lpm_trie::Key,
    },
    programs::{ProgramFd, ProgramInfo, TestRun as _, Xdp, XdpMode, xdp::XdpLink},
    util::nr_cpus,
};
use lbd::dataplane::concerns;
use lbd_common::{
    backend::{Backend, BackendStats, mode, state},
    concerns::Concerns,
    counters::{Counters, Reason},
    director::{Director, flag, role},
    event::FlowEvent,
    flow::{
        BUCKETS4, BUCKETS6, Bucket4, Bucket6, FlowWord, Slot4, Slot6, buckets, hash4, hash6, tag,
    },
    hash::{slot_mac, slot_u32, slot_v6},
    maps,
    node::{Node, mac_to_u64},
    rate::Rates,
    reply::{Reply, ReplyKey, ReplyService},
    ring::{RING_SLOTS, candidates},
    tunnel::{TunnelEnd, outer_bytes, side},
    vip::{Vip, VipPort},
};

use super::{
    object,
    packet::{CLIENT_PORT, CLIENT4, CLIENT6, NODE_MAC, OUR_MAC, PORT, VIP4, VIP6},
    tunnel::{OWN4, OWN6, PEER4, PEER6},
};

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
        Ok(world)
    }

    /// Attaches the program in native mode, in the caller's namespace, until the link is dropped.
    pub fn attach(&mut self, ifindex: u32) -> Result<XdpLink> {
        let program: &mut Xdp = self.ebpf.program_mut("lbd").context("lbd")?.try_into()?;
        let link = program.attach_to_if_index(ifindex, XdpMode::Driver)?;
        Ok(program.take_link(link)?)
    }

    /// What the kernel says of the loaded program.
    pub fn info(&self) -> Result<ProgramInfo> {
        let program: &Xdp = self.ebpf.program("lbd").context("lbd")?.try_into()?;
        Ok(program.info()?)
    }

    /// The program, to be called by another.
    pub fn fd(&self) -> Result<ProgramFd> {
        let program: &Xdp = self.ebpf.program("lbd").context("lbd")?.try_into()?;
        Ok(program.fd()?.try_clone()?)
    }

    fn sized(object: &[u8], buckets4: u32, buckets6: u32) -> Result<Self> {
        let (mask4, mask6) = (buckets4 - 1, buckets6 - 1);
        let mut ebpf = EbpfLoader::new()
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
        let program: &mut Xdp = ebpf.program_mut("lbd").context("lbd")?.try_into()?;
        program.load()?;
        Ok(Self {
            ebpf,
            rings,
            addresses: Vec::new(),
            nat: false,
            touched_slots: Vec::new(),
            listed: Vec::new(),
            ingress: None,
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
            self.array::<Backend>(maps::BACKENDS)?
                .set(id, Backend::default(), 0)?;
            self.per_cpu(maps::BACKEND_STATS, id, BackendStats::default())?;
        }
        self.addresses.clear();
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

    /// The addresses of this box and of a peer, in both families.
    fn tunnel_ends(&mut self) -> Result<()> {
        for (address, side) in [
            (IpAddr::from(OWN4), side::OWN),
            (OWN6.into(), side::OWN),
            (PEER4.into(), side::PEER),
            (PEER6.into(), side::PEER),
        ] {
            let (family, address) = family_and_words(address);
            let slot = if family == 4 {
                slot_u32(address[0], maps::TUNNEL_SLOTS)
            } else {
                slot_v6(address, maps::TUNNEL_SLOTS)
            };
            let end = TunnelEnd {
                address,
                family: family.into(),
                side,
                ..TunnelEnd::default()
            };
            self.array::<TunnelEnd>(maps::TUNNELS)?.set(slot, end, 0)?;
        }
        self.addresses
            .extend([IpAddr::from(OWN4), OWN6.into(), PEER4.into(), PEER6.into()]);
        self.filter()
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

    /// Serves ports of an address: port and VIP id each.
    pub fn serve(&mut self, address: IpAddr, ports: &[(u16, u16)]) -> Result<()> {
        let mut vip = Vip::default();
        let slot = match address {
            IpAddr::V4(address) => {
                vip.family = 4;
                vip.address[0] = u32::from_ne_bytes(address.octets());
                slot_u32(vip.address[0], maps::VIP_SLOTS)
            }
            IpAddr::V6(address) => {
                vip.family = 6;
                vip.address = words(address.octets());
                slot_v6(vip.address, maps::VIP_SLOTS)
            }
        };
        for (entry, (port, id)) in vip.ports.iter_mut().zip(ports) {
            *entry = VipPort {
                port_be: port.to_be(),
                id: *id,
            };
        }
        self.addresses.push(address);
        self.filter()?;
        let mut map = self.array::<Vip>(maps::VIPS)?;
        for distance in 0..lbd_common::hash::MAX_PROBE {
            let slot = (slot + distance) % maps::VIP_SLOTS;
            let there = map.get(&slot, 0)?;
            if there.family == 0 || there.address == vip.address {
                map.set(slot, vip, 0)?;
                return Ok(());
            }
        }
        anyhow::bail!("no slot for {address}")
    }

    /// Writes a backend's entry.
    pub fn backend(&mut self, id: u16, backend: Backend) -> Result<()> {
        Ok(self
            .array::<Backend>(maps::BACKENDS)?
            .set(id.into(), backend, 0)?)
    }

    /// Changes a backend's entry.
    pub fn change_backend(&mut self, id: u16, change: impl FnOnce(&mut Backend)) -> Result<()> {
        let mut map = self.array::<Backend>(maps::BACKENDS)?;
        let mut backend = map.get(&id.into(), 0)?;
        change(&mut backend);
        Ok(map.set(id.into(), backend, 0)?)
    }

    /// Writes a weight.
    pub fn weight(&mut self, id: u16, permille: u32) -> Result<()> {
        Ok(self
            .array::<u32>(maps::WEIGHTS)?
            .set(id.into(), permille, 0)?)
    }

    /// Writes a load.
    pub fn set_load(&mut self, id: u16, sessions: u64) -> Result<()> {
        Ok(self.array::<u64>(maps::LOAD)?.set(id.into(), sessions, 0)?)
    }

    /// Reads a load.
    pub fn load_of(&mut self, id: u16) -> Result<u64> {
        Ok(self.array::<u64>(maps::LOAD)?.get(&id.into(), 0)?)
    }

    /// Writes the director's entry: that of a leased master, changed.
    pub fn director(&mut self, change: impl FnOnce(&mut Director)) -> Result<()> {
        let mut director = Director {
            lease_until_ns: u64::MAX,
            role: role::MASTER,
            total_weight_permille: 2000,
            abi_version: lbd_common::ABI_VERSION,
            ..Director::default()
        };
        change(&mut director);
        self.array::<Director>(maps::DIRECTOR)?
            .set(0, director, 0)?;
        self.nat = director.flags & flag::NAT != 0;
        self.filter()
    }

    /// Has the program look at frames for what is served, as the daemon does.
    fn filter(&mut self) -> Result<()> {
        let filter = concerns::of(self.addresses.iter().copied(), [NODE], self.nat);
        Ok(self
            .array::<Concerns>(concerns::SECTION)?
            .set(0, filter, 0)?)
    }

    /// Writes the ring's slots of the client's two candidates, in both families.
    pub fn candidates(&mut self, first: u16, second: u16) -> Result<()> {
        for hash in [client_hash4(), client_hash6()] {
            let (one, two) = candidates(hash);
            for (slot, id) in [(one, first), (two, second)] {
                self.ring_slot(slot, id)?;
            }
        }
        Ok(())
    }

    /// Writes one slot of the live ring.
    pub fn ring_slot(&mut self, slot: u32, id: u16) -> Result<()> {
        self.touched_slots.push(slot);
        Ok(self.rings[0].set(slot, u32::from(id), 0)?)
    }

    /// Writes a flow of the client, of both families: into its first bucket's last slot.
    pub fn flow(&mut self, backend: u16, state: u8, flags: u8, seen: u16) -> Result<()> {
        let word = |hash| FlowWord {
            backend,
            state,
            flags,
            tag: tag(hash),
            seen,
        };
        let hash = client_hash4();
        let index = buckets(hash, BUCKETS - 1).0;
        let mut map = self.array::<Bucket4>(maps::FLOWS4)?;
        let mut bucket = map.get(&index, 0)?;
        bucket.slots[3] = Slot4 {
            source: u32::from_ne_bytes(CLIENT4.octets()),
            port_be: CLIENT_PORT.to_be(),
            vip_id: VIP_IDS[0],
            word: word(hash),
        };
        map.set(index, bucket, 0)?;
        let hash = client_hash6();
        let index = buckets(hash, BUCKETS - 1).0;
        let mut map = self.array::<Bucket6>(maps::FLOWS6)?;
        let mut bucket = map.get(&index, 0)?;
        bucket.slots[1] = Slot6 {
            source: words(CLIENT6.octets()),
            port_be: CLIENT_PORT.to_be(),
            vip_id: VIP_IDS[1],
            reserved: 0,
            word: word(hash),
        };
        map.set(index, bucket, 0)?;
        Ok(())
    }

    /// Fills both buckets of the client's flow with others of one state.
    pub fn fill(&mut self, backend: u16, state: u8, flags: u8, seen: u16) -> Result<()> {
        let word = FlowWord {
            backend,
            state,
            flags,
            tag: 1,
            seen,
        };
        let (first, second) = buckets(client_hash4(), BUCKETS - 1);
        for index in [first, second] {
            let mut bucket = Bucket4::default();
            for (source, slot) in (1..).zip(&mut bucket.slots) {
                *slot = Slot4 {
                    source,
                    port_be: 1,
                    vip_id: VIP_IDS[0],
                    word,
                };
            }
            self.array::<Bucket4>(maps::FLOWS4)?.set(index, bucket, 0)?;
        }
        let (first, second) = buckets(client_hash6(), BUCKETS - 1);
        for index in [first, second] {
            let mut bucket = Bucket6::default();
            for (source, slot) in (1..).zip(&mut bucket.slots) {
                *slot = Slot6 {
                    source: [source; 4],
                    port_be: 1,
                    vip_id: VIP_IDS[1],
                    reserved: 0,
                    word,
                };
            }
            self.array::<Bucket6>(maps::FLOWS6)?.set(index, bucket, 0)?;
        }
        Ok(())
    }

    /// The flow words of the client that are in use in one table.
    pub fn client_flows(&mut self, family: u8) -> Result<Vec<FlowWord>> {
        let mut found = Vec::new();
        if family == 4 {
            let (first, second) = buckets(client_hash4(), BUCKETS - 1);
            for index in [first, second] {
                let bucket = self.array::<Bucket4>(maps::FLOWS4)?.get(&index, 0)?;
                found.extend(bucket.slots.iter().filter_map(|slot| {
                    let ours = slot.source == u32::from_ne_bytes(CLIENT4.octets())
                        && slot.port_be == CLIENT_PORT.to_be();
                    (ours && slot.word.state != 0).then_some(slot.word)
                }));
            }
        } else {
            let (first, second) = buckets(client_hash6(), BUCKETS - 1);
            for index in [first, second] {
                let bucket = self.array::<Bucket6>(maps::FLOWS6)?.get(&index, 0)?;
                found.extend(bucket.slots.iter().filter_map(|slot| {
                    let ours = slot.source == words(CLIENT6.octets())
                        && slot.port_be == CLIENT_PORT.to_be();
                    (ours && slot.word.state != 0).then_some(slot.word)
                }));
            }
        }
        Ok(found)
    }

    /// Puts a prefix on a list.
    pub fn list(&mut self, list: List, address: IpAddr, bits: u32) -> Result<()> {
        match address {
            IpAddr::V4(address) => {
                let name = if list == List::Allow {
                    maps::ALLOW4
                } else {
                    maps::DENY4
                };
                let key = Key::new(bits, u32::from_ne_bytes(address.octets()));
                self.trie(name)?.insert(&key, 1, 0)?;
                self.listed.push((name, address.into(), bits));
            }
            IpAddr::V6(address) => {
                let name = if list == List::Allow {
                    maps::ALLOW6
                } else {
                    maps::DENY6
                };
                let key = Key::new(bits, words(address.octets()));
                self.trie(name)?.insert(&key, 1, 0)?;
                self.listed.push((name, address.into(), bits));
            }
        }
        Ok(())
    }

    fn trie<K: aya::Pod>(&mut self, name: &str) -> Result<LpmTrie<&mut MapData, K, u32>> {
        Ok(self
            .ebpf
            .map_mut(name)
            .with_context(|| name.to_owned())?
            .try_into()?)
    }

    fn clear_lists(&mut self) -> Result<()> {
        for (name, address, bits) in std::mem::take(&mut self.listed) {
            match address {
                IpAddr::V4(address) => {
                    let key = Key::new(bits, u32::from_ne_bytes(address.octets()));
                    self.trie(name)?.remove(&key)?;
                }
                IpAddr::V6(address) => {
                    let key = Key::new(bits, words(address.octets()));
                    self.trie(name)?.remove(&key)?;
                }
            }
        }
        Ok(())
    }

    /// Fills the live ring with two backends in turn.
    pub fn all_slots_alternate(&mut self, even: u16, odd: u16) -> Result<()> {
        for slot in 0..RING_SLOTS {
            self.ring_slot(slot, if slot % 2 == 0 { even } else { odd })?;
        }
        Ok(())
    }

    /// One counter, summed over the CPUs.
    pub fn counter(&mut self, reason: Reason) -> Result<u64> {
        let all = self.counters()?;
        Ok(all
            .iter()
            .find(|(of, _)| *of == reason)
            .map_or(0, |(_, count)| *count))
    }

    /// Frames come in by this interface from now on, and not by [`INGRESS`].
    pub fn come_in_by(&mut self, ifindex: u32) {
        self.ingress = Some(ifindex);
    }

    /// Frames may be redirected to this interface from now on.
    pub fn device(&mut self, ifindex: u32) -> Result<()> {
        let devices = self.ebpf.map_mut(maps::DEVICES).context("DEVICES")?;
        let mut devices: DevMapHash<_> = devices.try_into()?;
        Ok(devices.insert(ifindex, ifindex, None, 0)?)
    }

    /// Makes a backend one of `nat`, before which the VIPs of its family stand: address and port of
    /// each service with its VIP id.
    pub fn nat(
        &mut self,
        id: u16,
        address: IpAddr,
        port: Option<u16>,
        services: &[(SocketAddr, u16)],
    ) -> Result<()> {
        let (family, address) = match address {
            IpAddr::V4(v4) => (4, [u32::from_ne_bytes(v4.octets()), 0, 0, 0]),
            IpAddr::V6(v6) => (6, words(v6.octets())),
        };
        self.change_backend(id, |backend| {
            backend.mode = mode::NAT;
            backend.family = family;
            backend.address = address;
            backend.port_be = port.map_or(0, u16::to_be);
        })?;
        let mut reply = Reply {
            backend: id.into(),
            ..Reply::default()
        };
        for (place, (service, vip_id)) in reply.services.iter_mut().zip(services) {
            *place = ReplyService {
                address: match service.ip() {
                    IpAddr::V4(v4) => [u32::from_ne_bytes(v4.octets()), 0, 0, 0],
                    IpAddr::V6(v6) => words(v6.octets()),
                },
                port_be: service.port().to_be(),
                id: *vip_id,
            };
        }
        let key = ReplyKey {
            address,
            port_be: port.unwrap_or(PORT).to_be(),
            family,
        };
        self.replies()?.insert(key, reply, 0)?;
        self.director(|director| director.flags |= flag::NAT)
    }

    /// Notes that the sockets of both services' sessions were found on this box so long ago, or never.
    pub fn own_socket_seen(&mut self, age: Option<Duration>) -> Result<()> {
        let seen = age.map_or(0, |age| {
            let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            monotonic_ns().wrapping_sub(age)
        });
        let mut map = self.array::<u64>(maps::OWN_SEEN)?;
        for id in VIP_IDS {
            map.set(id.into(), seen, 0)?;
        }
        Ok(())
    }

    /// Whether the socket of a session of the service with this id was ever found on this box.
    pub fn has_seen_own_socket(&mut self, id: u16) -> Result<bool> {
        Ok(self.array::<u64>(maps::OWN_SEEN)?.get(&id.into(), 0)? != 0)
    }

    fn replies(&mut self) -> Result<HashMap<&mut MapData, ReplyKey, Reply>> {
        let map = self.ebpf.map_mut(maps::REPLIES).context("REPLIES")?;
        Ok(map.try_into()?)
    }

    fn clear_replies(&mut self) -> Result<()> {
        let mut replies = self.replies()?;
        let keys: Vec<ReplyKey> = replies.keys().collect::<Result<_, _>>()?;
        for key in keys {
            replies.remove(&key)?;
        }
        Ok(())
    }

    /// Runs the program on a frame: the verdict and the frame afterwards.
    pub fn run(&mut self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let mut out = Vec::new();
        let action = self.run_into(frame, &mut out)?;
        Ok((action, out))
    }

    /// Runs the program on a frame: the verdict; the frame afterwards is left in `out`.
    pub fn run_into(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<u32> {
        let program: &Xdp = self.ebpf.program("lbd").context("lbd")?.try_into()?;
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

/// The clock of `OWN_SEEN`.
fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0)
}

/// A backend behind a tunnel over Ethernet.
#[must_use]
pub fn tunnel_to(address: IpAddr, source: IpAddr) -> Backend {
    let (family, address) = family_and_words(address);
    Backend {
        mode: mode::IPIP,
        family: family.into(),
        mtu: 1500 - outer_bytes(family.into()),
        address,
        source_address: family_and_words(source).1,
        ..Backend::default()
    }
}

fn family_and_words(address: IpAddr) -> (u8, [u32; 4]) {
    match address {
        IpAddr::V4(v4) => (4, [u32::from_ne_bytes(v4.octets()), 0, 0, 0]),
        IpAddr::V6(v6) => (6, words(v6.octets())),
    }
}

/// The hash of the client's IPv4 flow.
#[must_use]
pub fn client_hash4() -> u64 {
    hash4(
        u32::from_ne_bytes(CLIENT4.octets()),
        CLIENT_PORT.to_be(),
        VIP_IDS[0],
    )
}

/// The hash of the client's IPv6 flow.
#[must_use]
pub fn client_hash6() -> u64 {
    hash6(words(CLIENT6.octets()), CLIENT_PORT.to_be(), VIP_IDS[1])
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
