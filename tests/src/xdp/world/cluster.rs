//! What the daemon would have written: who is served, by whom.
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::maps::{DevMapHash, HashMap, MapData};
use lbd::{dataplane::prefilter, units::Mac};
use lbd_common::{
    backend::{Backend, mode},
    director::{Director, flag, role},
    flow::SEEN_SHIFT,
    hash::{slot_u32, slot_v6},
    maps,
    prefilter::Prefilter,
    rate::Rates,
    reply::{Reply, ReplyKey, ReplyService},
    ring::{RING_SLOTS, candidates},
    tunnel::{TunnelEnd, outer_bytes, side},
    vip::{Vip, VipPort},
};

use super::{NODE, VIP_IDS, World, client_hash4, client_hash6, words};
use crate::xdp::{
    packet::PORT,
    tunnel::{OWN4, OWN6, PEER4, PEER6},
};

impl World {
    /// The addresses of this box and of a peer, in both families.
    pub(super) fn tunnel_ends(&mut self) -> Result<()> {
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
        self.is_flooded = false;
        self.array::<Director>(maps::DIRECTOR)?
            .set(0, director, 0)?;
        self.nat = director.flags & flag::NAT != 0;
        self.filter()
    }

    /// Writes the director's entry likewise, in a SYN flood: whenever a frame comes, as many SYNs as there may
    /// be have come in its second.
    pub fn flood(&mut self, change: impl FnOnce(&mut Director)) -> Result<()> {
        self.director(|director| {
            change(director);
            director.flood_per_second = 1;
        })?;
        self.is_flooded = true;
        Ok(())
    }

    /// Counts those SYNs. An emulated machine may stand still between this and the frame, so it is done last.
    pub(super) fn fill_second(&mut self) -> Result<()> {
        let rates = Rates {
            seen: u32::try_from(settled_second() & 0xffff)?,
            syns: 1,
            ..Rates::default()
        };
        self.per_cpu(maps::RATES, 0, rates)
    }

    /// Frames for this box are addressed to exactly these MACs from now on, by the interface that they
    /// come in by.
    pub fn own_macs(&mut self, own: &[(u32, [u8; 6])]) -> Result<()> {
        self.own_macs = own.iter().map(|(index, mac)| (*index, Mac(*mac))).collect();
        self.filter()
    }

    /// Has the program look at frames for what is served, as the daemon does.
    fn filter(&mut self) -> Result<()> {
        let macs = prefilter::own_macs(&self.own_macs);
        let filter = prefilter::of(self.addresses.iter().copied(), [NODE], self.nat, macs);
        if self.ebpf.map(prefilter::SECTION).is_none() {
            // A build to compare with, of before frames for other MACs were left alone.
            return Ok(self
                .array::<[u8; 256]>(".bss.concerns")?
                .set(0, filter.bits, 0)?);
        }
        Ok(self
            .array::<Prefilter>(prefilter::SECTION)?
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

    /// Has both candidates' slots name one backend, and the slot after the second another one.
    pub fn one_candidate_twice(&mut self, both: u16, next: u16) -> Result<()> {
        self.candidates(both, both)?;
        for hash in [client_hash4(), client_hash6()] {
            let (_, second) = candidates(hash);
            self.ring_slot((second + 1) % RING_SLOTS, next)?;
        }
        Ok(())
    }

    /// Writes one slot of the live ring.
    pub fn ring_slot(&mut self, slot: u32, id: u16) -> Result<()> {
        self.touched_slots.push(slot);
        Ok(self.rings[0].set(slot, u32::from(id), 0)?)
    }

    /// Fills the live ring with two backends in turn.
    pub fn all_slots_alternate(&mut self, even: u16, odd: u16) -> Result<()> {
        for slot in 0..RING_SLOTS {
            self.ring_slot(slot, if slot % 2 == 0 { even } else { odd })?;
        }
        Ok(())
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

    pub(super) fn clear_replies(&mut self) -> Result<()> {
        let mut replies = self.replies()?;
        let keys: Vec<ReplyKey> = replies.keys().collect::<Result<_, _>>()?;
        for key in keys {
            replies.remove(&key)?;
        }
        Ok(())
    }
}

/// The clock of `OWN_SEEN`.
pub(super) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0)
}

/// The second ([`SEEN_SHIFT`], 1,074 ms) that the program counts in, far enough from both its ends: the program
/// looks at the clock once in 64 jiffies, which is at most 640 ms.
fn settled_second() -> u64 {
    const SECOND_NS: u64 = 1 << SEEN_SHIFT;
    const SETTLED_NS: std::ops::Range<u64> = 660_000_000..800_000_000;
    loop {
        let now = monotonic_ns();
        if SETTLED_NS.contains(&(now % SECOND_NS)) {
            return now / SECOND_NS;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
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

pub(super) fn family_and_words(address: IpAddr) -> (u8, [u32; 4]) {
    match address {
        IpAddr::V4(v4) => (4, [u32::from_ne_bytes(v4.octets()), 0, 0, 0]),
        IpAddr::V6(v6) => (6, words(v6.octets())),
    }
}
