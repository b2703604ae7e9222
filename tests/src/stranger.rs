//! A host that sends frames in other clients' names.
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    election::packets::Packets,
    lab::{Host, addresses},
    xdp::packet::{ACK, SYN, Segment, v4},
};

/// The network of the names: reserved for benchmarks (RFC 2544, section C.2.2), and no host has one of
/// its addresses.
pub const NETWORK: &str = "198.18.0.0/15";

/// Addresses in [`NETWORK`].
const NAMES: u32 = 1 << 17;

/// Frames between two looks at the clock.
const BURST: u32 = 32;

/// Sends frames of any client to the IPv4 VIP, by way of one node.
#[derive(Debug)]
pub struct Stranger {
    packets: Packets,
    from: [u8; 6],
    to: [u8; 6],
}

impl Stranger {
    /// One at `host`, before the node that is the master.
    pub fn new(host: &Host, master: &Host) -> Result<Self> {
        Ok(Self {
            packets: Packets::sender(host)?,
            from: host.mac.0,
            to: master.mac.0,
        })
    }

    /// Lets a node answer the names: by way of `host`, which forwards nothing.
    pub fn route_back(node: &Host, host: &Host) -> Result<()> {
        let way = format!("route add {NETWORK} via {}", host.address4());
        node.ip(&way).map(drop)
    }

    /// A segment of a client to port 25 of the VIP.
    #[must_use]
    pub fn segment(&self, client: SocketAddrV4, flags: u8) -> Segment {
        v4(flags)
            .from_mac(self.from)
            .to_mac(self.to)
            .from4(*client.ip())
            .from_port(client.port())
            .to4(addresses::VIP4)
    }

    /// Sends one.
    pub fn send(&self, segment: &Segment) -> Result<()> {
        Ok(self.packets.send(&segment.bytes())?)
    }

    /// The nth of the names, with a port: no two of the first 8 billion are the same.
    #[must_use]
    pub fn name(nth: u32) -> SocketAddrV4 {
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        let port = 1024 + u16::try_from(nth / NAMES % 60_000).unwrap_or(0);
        SocketAddrV4::new(Ipv4Addr::from(base + nth % NAMES), port)
    }

    /// Pairs of a SYN and the ACK that would end its handshake, each pair in another name, so many a
    /// second if this machine can. Returns how many were sent.
    #[must_use]
    pub fn pairs(&self, per_second: u32, length: Duration) -> u32 {
        self.flood(&[SYN, ACK], per_second, length)
    }

    /// Frames with these flags in turn, all of them in each name.
    #[must_use]
    pub fn flood(&self, flags: &[u8], names_per_second: u32, length: Duration) -> u32 {
        let first = Self::name(0);
        let templates = flags
            .iter()
            .map(|flags| self.segment(first, *flags).bytes());
        let templates: Vec<Vec<u8>> = templates.collect();
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < length {
            let due = begun.elapsed().as_secs_f64() * f64::from(names_per_second);
            if f64::from(sent) > due {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            for nth in sent..sent + BURST {
                for template in &templates {
                    let mut frame = template.clone();
                    rename(&mut frame, Self::name(nth));
                    // What the queue has no room for is a frame less.
                    let _ = self.packets.send(&frame);
                }
            }
            sent += BURST;
        }
        sent
    }
}

const IP_CHECKSUM: usize = 24;
const SOURCE: usize = 26;
const PORT: usize = 34;
const TCP_CHECKSUM: usize = 50;

/// Gives a frame another source, with right checksums (RFC 1624, equation 3): building each anew takes
/// longer than sending it.
fn rename(frame: &mut [u8], name: SocketAddrV4) {
    let ip = name.ip().octets();
    let port = name.port().to_be_bytes();
    for (at, new, checksums) in [
        (SOURCE, [ip[0], ip[1]], &[IP_CHECKSUM, TCP_CHECKSUM][..]),
        (SOURCE + 2, [ip[2], ip[3]], &[IP_CHECKSUM, TCP_CHECKSUM]),
        (PORT, port, &[TCP_CHECKSUM]),
    ] {
        let old = word(frame, at);
        for checksum in checksums {
            let sum = u32::from(!word(frame, *checksum))
                + u32::from(!old)
                + u32::from(u16::from_be_bytes(new));
            let folded = (sum & 0xffff) + (sum >> 16);
            let folded = (folded & 0xffff) + (folded >> 16);
            let value = !u16::try_from(folded).unwrap_or(u16::MAX);
            frame[*checksum..*checksum + 2].copy_from_slice(&value.to_be_bytes());
        }
        frame[at..at + 2].copy_from_slice(&new);
    }
}

fn word(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_frame_is_the_one_that_would_have_been_built() {
        for flags in [SYN, ACK] {
            let built = |nth| {
                let name = Stranger::name(nth);
                let segment = v4(flags).from4(*name.ip()).from_port(name.port());
                segment.bytes()
            };
            for nth in [0, 1, 77, 65_535, 131_071, 131_072, 20_000_000] {
                let mut frame = built(0);
                rename(&mut frame, Stranger::name(nth));
                assert_eq!(frame, built(nth), "{nth}");
            }
        }
    }
}
