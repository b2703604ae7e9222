//! The program with a trace (`lbd_traced` of the same object) in the place of the one that runs, for a
//! while.
//!
//! It has the same pinned maps, and its place is the same pinned links, so no frame goes by another
//! program's rules. The pinned program stays the ordinary one: that is what comes back, also by the next
//! daemon if this one is killed meanwhile. The traced one tells nothing after its end.
use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapInfo, PerCpuArray, RingBuf},
    programs::Xdp,
};
use lbd_common::{
    maps::{FLOWS4, FLOWS6},
    trace::{TRACE_BYTES, TRACE_SCRATCH, TRACES, TraceRecord, TraceScratch, variable},
};
use tracing::warn;

use super::{
    address, attach,
    call_map::map_error,
    error::{DataPlaneError, Result},
    load,
    pins::{PinDir, pin_error},
    plain::Plain as _,
};
use crate::config::Network;

/// The traced program's name in the object.
pub const TRACED: &str = "lbd_traced";

/// Which frames are traced.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TraceFilter {
    /// Of these clients; of all by default.
    pub clients: Option<Network>,
    /// With this port at either end.
    pub port: Option<u16>,
    /// For this virtual address.
    pub vip: Option<IpAddr>,
}

/// A filter as the program's variables have it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceVariables {
    until_ns: u64,
    family: u32,
    client: [u64; 2],
    mask: [u64; 2],
    port_be: u32,
    vip_family: u32,
    vip: [u64; 2],
}

impl TraceVariables {
    /// A trace that ends at this `CLOCK_BOOTTIME`.
    pub fn new(filter: &TraceFilter, until_ns: u64) -> Self {
        let address = |of: Option<IpAddr>| of.map_or([0; 2], |it| pair(address::words(it)));
        let family = |of: Option<IpAddr>| of.map_or(0, |it| u32::from(address::family(it)));
        let client = filter.clients.map(Network::address);
        Self {
            until_ns,
            family: family(client),
            client: address(client),
            mask: filter.clients.map_or([0; 2], mask),
            port_be: u32::from(filter.port.unwrap_or(0).to_be()),
            vip_family: family(filter.vip),
            vip: address(filter.vip),
        }
    }

    /// Has a loader set them.
    pub fn set_in<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader
            .override_global(variable::UNTIL_NS, &self.until_ns, true)
            .override_global(variable::FAMILY, &self.family, true)
            .override_global(variable::CLIENT_HIGH, &self.client[0], true)
            .override_global(variable::CLIENT_LOW, &self.client[1], true)
            .override_global(variable::MASK_HIGH, &self.mask[0], true)
            .override_global(variable::MASK_LOW, &self.mask[1], true)
            .override_global(variable::PORT_BE, &self.port_be, true)
            .override_global(variable::VIP_FAMILY, &self.vip_family, true)
            .override_global(variable::VIP_HIGH, &self.vip[0], true)
            .override_global(variable::VIP_LOW, &self.vip[1], true)
            .map_max_entries(TRACES, TRACE_BYTES);
    }
}

fn pair([a, b, c, d]: [u32; 4]) -> [u64; 2] {
    let one = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    [one(a, b), one(c, d)]
}

/// The bits of an address that a network fixes.
fn mask(network: Network) -> [u64; 2] {
    let ones: IpAddr = match network.address() {
        IpAddr::V4(_) => [0xff; 4].into(),
        IpAddr::V6(_) => [0xff; 16].into(),
    };
    pair(address::words(
        Network::of(ones, network.prefix_len()).address(),
    ))
}

/// The traced program with its maps, before the kernel has verified it.
#[derive(Debug)]
pub struct Unverified {
    ebpf: Ebpf,
}

impl Unverified {
    /// Makes its maps and opens the pinned ones; milliseconds. Nothing else may write the pinned
    /// maps meanwhile.
    pub(super) fn load(pins: &PinDir, variables: &TraceVariables) -> Result<Self> {
        let entries = |name: &'static str| {
            MapInfo::from_pin(pins.map(name))
                .map(|info| info.max_entries())
                .map_err(|error| map_error("reading", name, io::Error::other(error)))
        };
        let sizes = [(FLOWS4, entries(FLOWS4)?), (FLOWS6, entries(FLOWS6)?)];
        let ebpf = load::open(
            pins,
            &sizes,
            &load::layouts(&sizes)?,
            Some(variables),
            |_| {},
        )?;
        Ok(Self { ebpf })
    }

    /// Has the kernel verify it, which takes a part of a second: not for the event loop.
    pub fn verify(mut self) -> Result<Verified> {
        load::verify(&mut self.ebpf, TRACED)?;
        Ok(Verified { ebpf: self.ebpf })
    }
}

/// The traced program, ready to take its place.
#[derive(Debug)]
pub struct Verified {
    ebpf: Ebpf,
}

/// The traced program in its place; the ordinary one comes back when this is dropped.
#[derive(Debug)]
pub(super) struct InPlace {
    ebpf: Ebpf,
    program: PathBuf,
    links: Vec<PathBuf>,
}

impl InPlace {
    pub(super) fn new(pins: &PinDir, verified: Verified) -> Result<(Self, Traces)> {
        let Verified { mut ebpf } = verified;
        let traces = Traces::open(&mut ebpf)?;
        let mut in_place = Self {
            ebpf,
            program: pins.program(),
            links: Vec::new(),
        };
        in_place.take_place(pins)?;
        Ok((in_place, traces))
    }

    /// Takes the place of the program that is on the pinned links.
    pub(super) fn take_place(&mut self, pins: &PinDir) -> Result<()> {
        self.links = pins.links()?;
        let program = load::program(&mut self.ebpf, TRACED)?;
        for link in &self.links {
            attach::replace(program, link)
                .map_err(|error| pin_error("changing the program of", link, error))?;
        }
        Ok(())
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        let program = Xdp::from_pin(&self.program, aya_obj::programs::XdpAttachType::Interface);
        let mut program = match program {
            Ok(program) => program,
            Err(error) => {
                warn!(
                    "the traced program stays, silent: {}: {error}",
                    self.program.display()
                );
                return;
            }
        };
        for link in self.links.iter().filter(|link| link.exists()) {
            if let Err(error) = attach::replace(&mut program, link) {
                warn!(
                    "the traced program stays, silent: {}: {error}",
                    link.display()
                );
            }
        }
    }
}

/// The reader of what the traced program tells. As an iterator it ends when nothing is there; its
/// descriptor becomes readable with the next record.
pub struct Traces {
    ring: RingBuf<MapData>,
    scratch: PerCpuArray<MapData, TraceScratch>,
}

impl Traces {
    /// Takes its maps from a loaded object.
    pub fn open(ebpf: &mut Ebpf) -> Result<Self> {
        let other = |name| move |error| map_error("opening", name, io::Error::other(error));
        Ok(Self {
            ring: RingBuf::try_from(take(ebpf, TRACES)?).map_err(other(TRACES))?,
            scratch: PerCpuArray::try_from(take(ebpf, TRACE_SCRATCH)?)
                .map_err(other(TRACE_SCRATCH))?,
        })
    }

    /// Matching frames that were not recorded so far.
    pub fn left_out(&self) -> u64 {
        let copies = self.scratch.get(&0, 0);
        copies.map_or(0, |copies| copies.iter().map(|copy| copy.left_out).sum())
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .ok_or_else(|| DataPlaneError::Load(format!("the object has no map {name}")))
}

impl Iterator for Traces {
    type Item = TraceRecord;

    fn next(&mut self) -> Option<TraceRecord> {
        loop {
            let item = self.ring.next()?;
            if item.len() >= size_of::<TraceRecord>() {
                return Some(TraceRecord::read_from(&item));
            }
        }
    }
}

impl AsFd for Traces {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl std::os::fd::AsRawFd for Traces {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.ring.as_fd().as_raw_fd()
    }
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

/// The interfaces' names, by their numbers.
pub(super) fn interfaces<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<u32, String> {
    names
        .filter_map(|name| {
            let found = super::xdp_state::interface(name).ok().flatten()?;
            Some((found.ifindex, name.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_of_nothing_matches_everything() {
        let all = TraceVariables::new(&TraceFilter::default(), 7);
        let nothing = TraceVariables {
            until_ns: 7,
            family: 0,
            client: [0; 2],
            mask: [0; 2],
            port_be: 0,
            vip_family: 0,
            vip: [0; 2],
        };
        assert_eq!(all, nothing);
    }

    #[test]
    fn a_network_fixes_its_prefix_alone() {
        let of = |address: &str, prefix| Network::of(address.parse().unwrap(), prefix);
        let bytes = |network| {
            let [high, low] = mask(network);
            [high.to_ne_bytes(), low.to_ne_bytes()].concat()
        };
        assert_eq!(bytes(of("198.51.100.0", 22))[..5], [255, 255, 252, 0, 0]);
        let mut wanted = [0; 16];
        wanted[..6].copy_from_slice(&[255; 6]);
        assert_eq!(bytes(of("2001:db8::", 48)), wanted);
        let filter = TraceFilter {
            clients: Some(of("198.51.100.7", 32)),
            port: Some(25),
            vip: Some("2001:db8::25".parse().unwrap()),
        };
        let variables = TraceVariables::new(&filter, 0);
        assert_eq!((variables.family, variables.vip_family), (4, 6));
        assert_eq!(variables.client[0].to_ne_bytes()[..4], [198, 51, 100, 7]);
        assert_eq!(variables.port_be, u32::from(25_u16.to_be()));
    }
}
