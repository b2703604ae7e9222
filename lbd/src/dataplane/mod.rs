//! The one place that owns the XDP program and its maps.
//!
//! Everything that outlives the daemon is pinned below `node.pin_dir`: maps, program and links. A
//! daemon that starts again takes them over, so that sessions are steered throughout. Maps of another
//! layout are refused, but for a flow table of another size, whose flows move.

pub mod address;
mod admission;
mod attach;
pub mod backends;
mod box_sessions;
mod bpf;
mod call_map;
mod director;
mod error;
pub mod events;
mod flow_tables;
mod layout;
mod lists;
mod load;
mod maps;
pub mod mmap;
mod netlink;
mod nodes;
mod object;
mod pins;
pub mod plain;
pub mod prefilter;
pub mod program_log;
mod refusal;
mod replies;
mod resize;
mod rings;
mod signs;
pub mod spec;
mod traced;
mod tunnels;
pub mod vips;
mod xdp_state;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::Path,
};

use lbd_common::{
    ABI_VERSION,
    backend::{Backend, BackendStats, state},
    counters::Counters,
    director::{Director, flag},
    maps::MAX_BACKENDS,
    node::{Node, mac_to_u64},
    prefilter::mac_slot,
    reply::ReplyKey,
};

pub use self::{
    backends::BackendIds,
    box_sessions::{BoxSessions, SessionCounts},
    director::LeaseHandle,
    error::{DataPlaneError, Result},
    events::{Event, EventKind, Events},
    flow_tables::{FlowTables, seen},
    lists::{AccessJudge, AccessLists},
    mmap::MmapArray,
    program_log::{ProgramLine, ProgramLog},
    replies::NatBackend,
    signs::Signs,
    spec::{
        BackendSpec, Delivery, Limits, LoadOptions, NextHop, Service, VipSpec, XdpChoice, XdpMode,
    },
    traced::{TRACED, TraceFilter, TraceVariables, Traces, Unverified, Verified},
};
use self::{
    lists::LoadedLists,
    maps::{Maps, Opened},
    pins::PinDir,
};
use crate::{
    flows::IdsInUse,
    units::{BackendId, Endpoint, Mac, WeightPermille},
};
pub use load::check_privileges;

/// How the program is on an interface.
#[derive(Debug)]
struct Attached {
    mode: XdpMode,
    native_refused: Option<String>,
}

fn by_name(attachments: Vec<attach::Attachment>) -> BTreeMap<String, Attached> {
    let named = attachments.into_iter().map(|attachment| {
        let attach::Attachment {
            interface,
            mode,
            native_refused,
        } = attachment;
        let attached = Attached {
            mode,
            native_refused,
        };
        (interface.name, attached)
    });
    named.collect()
}

/// The program on its interfaces, with its maps. Dropping it leaves both in the kernel, for the
/// next daemon; [`Self::detach`] ends them.
#[derive(Debug)]
pub struct DataPlane {
    pins: PinDir,
    attached: BTreeMap<String, Attached>,
    maps: Maps,
    events: Option<Events>,
    director: director::DirectorFields,
    rings: rings::Rings,
    flows: FlowTables,
    lists: LoadedLists,
    backend_ids: BackendIds,
    /// Who had an id of a service that is no longer served.
    former_services: BTreeMap<u16, SocketAddr>,
    /// Of a debug build of the program.
    program_log: Option<ProgramLog>,
    /// While frames are traced.
    traced: Option<traced::InPlace>,
}

impl DataPlane {
    /// Loads the program, attaches it to every interface and pins everything; takes over what a
    /// former daemon of the same layout left. On an error nothing is left that was not there before.
    pub fn load(options: &LoadOptions) -> Result<Self> {
        let mut loaded = load::load(options)?;
        let Opened {
            maps,
            rings,
            events,
            flows,
            lists,
        } = Maps::open(&loaded.pins, &mut loaded.ebpf, options, loaded.ring_flags)?;
        let backend_ids = BackendIds::from_entries(&maps.all_backends()?);
        let director = director::DirectorFields::new(maps.director.clone());
        director.set_abi_version(ABI_VERSION);
        maps.filter(None, None)?;
        let program_log = ProgramLog::take(&mut loaded.ebpf);
        let (pins, attached) = load::attach(loaded, options, &flows, &director.lease())?;
        Ok(Self {
            pins,
            attached: by_name(attached),
            rings,
            events: Some(events),
            flows,
            lists,
            director,
            maps,
            backend_ids,
            former_services: BTreeMap::new(),
            program_log,
            traced: None,
        })
    }

    /// Removes everything: links, program and maps. Sessions are no longer steered.
    pub fn detach(self) -> Result<()> {
        let pin_dir = self.pins.path().to_owned();
        // Its lock would keep `cleanup` out.
        drop(self);
        Self::cleanup(&pin_dir).map(|_| ())
    }

    /// Removes what an lbd of any version that is no longer running left pinned in `pin_dir`. Returns how
    /// many links and other pins were removed: 0 when there was nothing.
    pub fn cleanup(pin_dir: &Path) -> Result<(usize, usize)> {
        load::cleanup(pin_dir)
    }

    /// The mode that an interface of [`LoadOptions::interfaces`] got.
    pub fn mode(&self, interface: &str) -> Option<XdpMode> {
        self.attached.get(interface).map(|attached| attached.mode)
    }

    /// Why an interface's mode is not native, where that was tried first.
    pub fn native_refused(&self, interface: &str) -> Option<&str> {
        self.attached.get(interface)?.native_refused.as_deref()
    }

    /// Whether our program is attached to this interface now. Two system calls.
    pub fn is_attached(&self, interface: &str) -> bool {
        attach::is_ours(&self.pins, interface)
    }

    /// An interface's number and the frames that it has received, as its driver counts them.
    pub fn received(&self, interface: &str) -> Option<(u32, u64)> {
        xdp_state::received(interface).ok().flatten()
    }

    /// Asks the program for a sign of life on an interface: the next frame of the chain that comes in there.
    pub fn ask_for_proof(&self, ifindex: u32) {
        let slot = mac_slot(ifindex) as usize;
        self.maps.unseen.set(slot, &u64::from(ifindex));
    }

    /// Whether a frame has come to the program by this interface since [`Self::ask_for_proof`].
    pub fn has_run(&self, ifindex: u32) -> bool {
        let slot = mac_slot(ifindex) as usize;
        self.maps.unseen.get(slot) != u64::from(ifindex)
    }

    /// Has every frame take the chain, and so give the proof, or not any more.
    pub fn take_every_frame(&mut self, every_frame: bool) -> Result<()> {
        self.maps.take_every_frame(every_frame)
    }

    /// Takes the running program off one interface.
    pub fn take_off_one(&mut self, interface: &str) -> Result<()> {
        self.attached.remove(interface);
        pins::remove_link(&self.pins.link(interface))
    }

    /// Takes the running program off every interface; [`Self::attach_again`] puts it back. For drivers
    /// that no longer run it although the kernel shows it as attached.
    pub fn take_off(&mut self) -> Result<()> {
        for interface in std::mem::take(&mut self.attached).into_keys() {
            pins::remove_link(&self.pins.link(&interface))?;
        }
        Ok(())
    }

    /// Attaches the running program to the interfaces that are without it.
    pub fn attach_again(&mut self, options: &LoadOptions) -> Result<()> {
        let attached = load::attach_pinned(&self.pins, options)?;
        let former = std::mem::replace(&mut self.attached, by_name(attached));
        for (name, former) in former {
            // What was attached all the time was not tried anew.
            if let Some(attached) = self.attached.get_mut(&name)
                && attached.mode == former.mode
            {
                let refused = attached.native_refused.take();
                attached.native_refused = refused.or(former.native_refused);
            }
        }
        match &mut self.traced {
            Some(traced) => traced.take_place(&self.pins),
            None => Ok(()),
        }
    }

    /// Loads the traced program over the same maps, for a trace that ends at this `CLOCK_BOOTTIME`.
    pub fn prepare_trace(&self, filter: &TraceFilter, until_ns: u64) -> Result<Unverified> {
        Unverified::load(&self.pins, &TraceVariables::new(filter, until_ns))
    }

    /// Puts the traced program in the place of the running one, until [`Self::end_trace`] or until this
    /// is dropped.
    pub fn begin_trace(&mut self, verified: Verified) -> Result<Traces> {
        // The former one first: it would bring the ordinary program back.
        self.end_trace();
        let (in_place, traces) = traced::InPlace::new(&self.pins, verified)?;
        self.traced = Some(in_place);
        Ok(traces)
    }

    /// Brings the ordinary program back.
    pub fn end_trace(&mut self) {
        self.traced = None;
    }

    /// The attached interfaces' names, by their numbers.
    pub fn interface_names(&self) -> BTreeMap<u32, String> {
        traced::interfaces(self.attached.keys())
    }

    /// Serves exactly these addresses and ports from now on. A service that stays is found at every
    /// moment, and keeps its id.
    pub fn set_vips(&mut self, vips: &[VipSpec]) -> Result<()> {
        let current = self.services();
        let wanted: Vec<SocketAddr> = vips
            .iter()
            .flat_map(|vip| {
                vip.ports
                    .iter()
                    .map(|&port| SocketAddr::new(vip.address, port))
            })
            .collect();
        let new = wanted
            .iter()
            .any(|address| !current.iter().any(|service| service.address == *address));
        let busy = if new {
            self.flows.ids_in_use()
        } else {
            IdsInUse::default()
        };
        let ids = vips::assign_ids(&current, &wanted, |id, service| {
            let another_had_it = self
                .former_services
                .get(&id)
                .is_some_and(|former| *former != service);
            let by_hash = id == vips::preferred_id(service);
            busy.vips.contains(&id) && (another_had_it || !by_hash)
        });
        let ids: BTreeMap<SocketAddr, u16> = wanted.iter().copied().zip(ids).collect();
        self.maps.filter(vips.iter().map(|vip| vip.address), None)?;
        vips::write(&self.maps.vips, vips, |address| ids[&address])?;
        self.maps.filter(None, None)?;
        for service in current {
            if !ids.contains_key(&service.address) {
                self.former_services.insert(service.id, service.address);
            }
        }
        Ok(())
    }

    /// The served addresses and ports with their ids.
    pub fn services(&self) -> Vec<Service> {
        vips::services(&self.maps.vips)
    }

    /// Knows exactly these MACs as the cluster's own from now on: what they send was steered already.
    pub fn set_nodes(&mut self, nodes: &[Mac]) -> Result<()> {
        let coming = nodes.iter().map(|mac| Node {
            mac: mac_to_u64(mac.0),
        });
        self.maps.filter(None, coming)?;
        nodes::write(&self.maps.nodes, nodes).map_err(DataPlaneError::Nodes)?;
        self.maps.filter(None, None)
    }

    /// Takes exactly these MACs as the ones that frames for this box are addressed to, by the number of
    /// the interface that they come in by, from now on. Frames to others leave untouched; those of an
    /// interface that is not named are taken with any destination. False if nothing changed.
    pub fn set_own_macs(&mut self, own: &[(u32, Mac)]) -> Result<bool> {
        self.maps.receive(own)
    }

    /// Takes packets out of tunnels between exactly these addresses from now on, each with its
    /// [`lbd_common::tunnel::side`].
    pub fn set_tunnel_ends(&mut self, ends: &BTreeMap<IpAddr, u32>) -> Result<()> {
        self.maps.filter(ends.keys().copied(), None)?;
        tunnels::write(&self.maps.tunnels, ends).map_err(DataPlaneError::Tunnels)?;
        self.maps.filter(None, None)
    }

    /// The MACs that are known as the cluster's own.
    pub fn nodes(&self) -> Vec<Mac> {
        let held = nodes::all(&self.maps.nodes);
        held.map(|node| nodes::mac_of(node.mac)).collect()
    }

    /// Whether a MAC is known as one of the cluster's own.
    pub fn is_node(&self, node: Mac) -> bool {
        nodes::has(&self.maps.nodes, node)
    }

    /// Every backend's id and entry.
    pub fn backends(&self) -> Result<Vec<(BackendId, Backend)>> {
        self.backend_ids
            .ids()
            .map(|id| Ok((id, self.maps.backends.get(u32::from(id.0))?)))
            .collect()
    }

    /// The id of each backend's endpoint: the one it has, also across restarts, or a new one.
    ///
    /// All at once, because a new one costs a look at every flow.
    pub fn allocate_backend_ids(
        &mut self,
        endpoints: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, BackendId>> {
        let is_new = |endpoint: &Endpoint| self.backend_ids.get(*endpoint).is_none();
        let busy = if endpoints.iter().any(is_new) {
            self.flows.ids_in_use().backends
        } else {
            BTreeSet::new()
        };
        let mut allocate = |endpoint: &Endpoint| {
            let is_busy = |id: BackendId| busy.contains(&id.0);
            let id = self.backend_ids.allocate(*endpoint, is_busy);
            let id = id.ok_or(DataPlaneError::NoBackendId {
                limit: MAX_BACKENDS,
            })?;
            Ok((*endpoint, id))
        };
        endpoints.iter().map(&mut allocate).collect()
    }

    /// The backends' ids and endpoints.
    pub fn backend_ids(&self) -> &BackendIds {
        &self.backend_ids
    }

    /// Writes a backend's entry; no system call when nothing changed but one to see that.
    pub fn set_backend(&mut self, id: BackendId, spec: &BackendSpec) -> Result<()> {
        self.change_backend(id, |_| backends::encode(spec))
    }

    /// Has frames to `id` go where those to `of` go, another endpoint of the same box.
    pub fn reach_like(&mut self, id: BackendId, of: BackendId) -> Result<()> {
        let box_entry: Backend = self.maps.backends.get(backend_index(of)?)?;
        self.change_backend(id, |entry| backends::reached_like(entry, &box_entry))
    }

    fn change_backend(
        &mut self,
        id: BackendId,
        change: impl FnOnce(&Backend) -> Backend,
    ) -> Result<()> {
        let index = backend_index(id)?;
        let current: Backend = self.maps.backends.get(index)?;
        for entry in backends::transition(&current, &change(&current)) {
            self.maps.backends.set(index, &entry)?;
        }
        Ok(())
    }

    /// Translates replies of exactly these backends from now on, to the services that are served now
    /// ([`Self::set_vips`]). Of two before one port the first counts.
    pub fn set_replies(&mut self, nat: &[NatBackend]) -> Result<()> {
        let wanted = replies::entries(nat, &self.services());
        replies::write(&self.maps.replies, &wanted)?;
        let any = !self.maps.replies.keys::<ReplyKey>()?.is_empty();
        self.director.set_flag(flag::NAT, any);
        self.maps.filter(None, None)
    }

    /// Forgets a backend; sessions that it still has are reset. Keep it with weight 0 while they are
    /// to go on, and swap in a ring without it first. Its id is not reused while flows have it.
    pub fn remove_backend(&mut self, id: BackendId) -> Result<()> {
        let index = backend_index(id)?;
        self.maps.weights.set(index as usize, &0);
        let unused = Backend {
            state: state::UNUSED,
            ..Backend::default()
        };
        self.maps.backends.set(index, &unused)?;
        replies::forget(&self.maps.replies, id)?;
        self.maps.signs.forget(id);
        self.backend_ids.release(id);
        Ok(())
    }

    /// Writes every effective weight; a backend that is not named gets 0.
    pub fn set_weights(&mut self, weights: &[(BackendId, WeightPermille)]) -> Result<()> {
        let mut all = vec![0_u32; MAX_BACKENDS as usize];
        for (id, weight) in weights {
            all[backend_index(*id)? as usize] = weight.0;
        }
        for (index, weight) in all.iter().enumerate() {
            if self.maps.weights.get(index) != *weight {
                self.maps.weights.set(index, weight);
            }
        }
        let total = all
            .iter()
            .fold(0_u32, |sum, weight| sum.saturating_add(*weight));
        self.director.set_total_weight(total);
        Ok(())
    }

    /// Fills the idle ring with backend ids (`NO_BACKEND` for none) and makes it the live one. It is
    /// one system call of some milliseconds.
    pub fn swap_ring(&mut self, ring: &[u32]) -> Result<()> {
        self.rings.swap(ring, &self.director)
    }

    /// The flows, for any thread.
    pub fn flows(&self) -> FlowTables {
        self.flows.clone()
    }

    /// What tells whether each backend's box lives, for any thread.
    pub fn signs(&self) -> Signs {
        self.maps.signs.clone()
    }

    /// Lets frames be redirected to exactly these interfaces, by ifindex.
    pub fn set_devices(&mut self, devices: &[u32]) -> Result<()> {
        let present: Vec<u32> = self.maps.devices.keys()?;
        for device in devices.iter().filter(|device| !present.contains(device)) {
            // `struct bpf_devmap_val`: the interface, and no program to run there.
            self.maps.devices.set(*device, &[*device, 0])?;
        }
        for gone in present.iter().filter(|device| !devices.contains(device)) {
            self.maps.devices.remove(*gone)?;
        }
        Ok(())
    }

    /// For the election's thread, which alone may use it.
    pub fn lease(&self) -> LeaseHandle {
        self.director.lease()
    }

    /// The director's entry.
    pub fn director(&self) -> Director {
        self.director.get()
    }

    /// The reader of what the program says, if it is a debug build; there is one.
    pub fn program_log(&mut self) -> Option<ProgramLog> {
        self.program_log.take()
    }

    /// The reader of the program's events; there is one.
    pub fn events(&mut self) -> Option<Events> {
        self.events.take()
    }

    /// The counters, summed over the CPUs.
    pub fn counters(&self) -> Result<Counters> {
        let copies = self.maps.counters.copies(0, self.maps.cpus)?;
        Ok(maps::sum(&copies))
    }

    /// What went to each backend, summed over the CPUs.
    pub fn backend_stats(&self) -> Result<Vec<(BackendId, BackendStats)>> {
        self.backend_ids
            .ids()
            .map(|id| {
                let copies = self
                    .maps
                    .backend_stats
                    .copies(u32::from(id.0), self.maps.cpus)?;
                Ok((id, maps::sum(&copies)))
            })
            .collect()
    }

    /// Sessions of a service that were selected for a backend, since the maps were made.
    pub fn service_sessions(&self, vip_id: u16) -> u64 {
        self.maps.service_sessions.get(usize::from(vip_id))
    }

    /// Each backend's effective weight, as it is in the map.
    pub fn weights(&self) -> Vec<(BackendId, WeightPermille)> {
        let weight = |id: BackendId| WeightPermille(self.maps.weights.get(usize::from(id.0)));
        self.backend_ids.ids().map(|id| (id, weight(id))).collect()
    }

    /// Each backend's live connections, as the program counts them.
    pub fn loads(&self) -> Vec<(BackendId, u64)> {
        self.backend_ids
            .ids()
            .map(|id| (id, self.maps.load.get(usize::from(id.0))))
            .collect()
    }
}

fn backend_index(id: BackendId) -> Result<u32> {
    let index = u32::from(id.0);
    if index < MAX_BACKENDS {
        return Ok(index);
    }
    Err(DataPlaneError::BackendId {
        id: id.0,
        last: MAX_BACKENDS - 1,
    })
}
