//! Sessions that the table knows.
use std::time::Duration;

use anyhow::Result;
use lbd_common::{
    flow::{
        Bucket4, Bucket6, FINE_SHIFT, FlowWord, SEEN_SHIFT, Slot4, Slot6, buckets, flag, hash4,
        hash6, state, tag,
    },
    maps,
    sign::{Sign, service_bit},
};

use super::cluster::monotonic_ns;
use super::{BUCKETS, VIP_IDS, World, words};
use crate::xdp::packet::{CLIENT_PORT, CLIENT4, CLIENT6};

impl World {
    /// What tells whether a backend's box lives: its last sign so long ago, or never, and the bits of
    /// [`lbd_common::sign::flag`].
    pub fn sign(&mut self, backend: u16, ago: Option<Duration>, flags: u32) -> Result<()> {
        let sign = Sign {
            last_ns: ago.map_or(0, |ago| monotonic_ns().saturating_sub(nanoseconds(ago))),
            flags,
            ..Sign::default()
        };
        let mut map = self.array::<Sign>(maps::SIGNS)?;
        Ok(map.set(backend.into(), sign, 0)?)
    }

    /// Likewise for a box that has no listening socket for these services, by their VIP ids.
    pub fn no_listener(&mut self, backend: u16, flags: u32, vip_ids: &[u16]) -> Result<()> {
        let services = vip_ids.iter().map(|id| service_bit(*id));
        let sign = Sign {
            last_ns: monotonic_ns(),
            flags,
            no_listener: services.fold(0, |bits, bit| bits | bit),
            ..Sign::default()
        };
        let mut map = self.array::<Sign>(maps::SIGNS)?;
        Ok(map.set(backend.into(), sign, 0)?)
    }

    /// What a backend's queue counts for, in sessions.
    pub fn queued(&mut self, backend: u16, sessions: u32) -> Result<()> {
        self.change_sign(backend, |sign| sign.queued_sessions = sessions)
    }

    /// How many sessions a backend takes at most; 0 is no limit.
    pub fn session_limit(&mut self, backend: u16, sessions: u32) -> Result<()> {
        self.change_sign(backend, |sign| sign.session_limit = sessions)
    }

    fn change_sign(&mut self, backend: u16, change: impl FnOnce(&mut Sign)) -> Result<()> {
        let mut map = self.array::<Sign>(maps::SIGNS)?;
        let mut sign = map.get(&backend.into(), 0)?;
        change(&mut sign);
        Ok(map.set(backend.into(), sign, 0)?)
    }

    /// SYNs that came again without a sign of this backend.
    pub fn unanswered(&mut self, backend: u16) -> Result<u64> {
        let map = self.array::<Sign>(maps::SIGNS)?;
        Ok(map.get(&backend.into(), 0)?.unanswered)
    }

    /// Writes a half-open flow of the client, whose SYN came so long ago.
    pub fn half_open(&mut self, backend: u16, ago: Duration) -> Result<()> {
        self.set_load(backend, 1)?;
        let fine = monotonic_ns().saturating_sub(nanoseconds(ago)) >> FINE_SHIFT;
        let fraction = u8::try_from(fine & 0xf)?;
        let seen = u16::try_from(fine >> 4 & 0xffff)?;
        let flags = flag::COUNTED | fraction << 4;
        self.flow(backend, state::HALF_OPEN, flags, seen)
    }

    /// Writes a flow of the client, who was heard so long ago, in units of the flow's clock.
    pub fn flow_heard(&mut self, backend: u16, state: u8, flags: u8, units_ago: u16) -> Result<()> {
        let now = u16::try_from(monotonic_ns() >> SEEN_SHIFT & 0xffff)?;
        self.flow(backend, state, flags, now.wrapping_sub(units_ago))
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

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
