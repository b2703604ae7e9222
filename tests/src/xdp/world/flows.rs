//! Sessions that the table knows.
use anyhow::Result;
use lbd_common::{
    flow::{Bucket4, Bucket6, FlowWord, Slot4, Slot6, buckets, hash4, hash6, tag},
    maps,
};

use super::{BUCKETS, VIP_IDS, World, words};
use crate::xdp::packet::{CLIENT_PORT, CLIENT4, CLIENT6};

impl World {
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
