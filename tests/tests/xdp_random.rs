//! Random and mutated frames through the loaded program: what is for another address leaves as it
//! came, and nothing makes the program write outside its rules.
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use lbd_common::flow::state::FREE;
use lbd_tests::xdp::{
    icmp::{icmp4, icmp6},
    packet::{ACK, FIN, NODE_MAC, PSH, RST, SYN, Segment, VIP4, VIP6, arp, neighbour, v4, v6},
    tunnel::{in4, in6},
    world::{A, B, World, verdict},
};

/// `nat` backends.
const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// See [`SERVER4`].
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11);
/// Frames of one test. Each is one system call.
const FRAMES: u32 = 1_000_000;

/// xorshift64*: the same frames every time, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let both = |flags| [v4(flags), v6(flags)];
    let plain = [SYN, ACK, FIN | ACK, RST, ACK | PSH].map(both).concat();
    let mut seeds: Vec<Vec<u8>> = plain.iter().map(Segment::bytes).collect();
    seeds.extend(plain.iter().map(|s| s.clone().tagged(&[1, 2]).bytes()));
    seeds.extend(plain.iter().map(|s| s.clone().from_mac(NODE_MAC).bytes()));
    seeds.push(v4(ACK).options(40).payload(100).bytes());
    seeds.push(v6(ACK).payload(8).edit(20, &[0]).edit(54, &[6, 0]).bytes());
    seeds.extend([icmp4(3, 4).bytes(), icmp6(2, 0).tagged(&[7]).bytes()]);
    let inner = [v4(SYN).packet(), v6(ACK).packet(), icmp4(3, 4).packet()];
    seeds.extend(inner.iter().map(|inner| in4(inner.clone()).bytes()));
    seeds.extend(
        inner
            .iter()
            .map(|inner| in6(inner.clone()).tagged(&[7]).bytes()),
    );
    let reply = |segment: Segment| segment.back().from4(SERVER4).from6(SERVER6);
    seeds.extend(plain.iter().map(|s| reply(s.clone()).bytes()));
    seeds.push(arp(1, [192, 0, 2, 1].into(), VIP4));
    seeds.push(neighbour(135, VIP6));
    seeds
}

/// Flips, cuts and lengthens.
fn mutate(random: &mut Random, frame: &mut Vec<u8>) {
    for _ in 0..random.below(6) {
        match random.below(8) {
            0 => frame.truncate(14.max(random.below(frame.len() + 1))),
            1 => frame.extend((0..random.below(64)).map(|_| 0)),
            _ => {
                let at = random.below(frame.len().min(80));
                frame[at] = match random.below(3) {
                    0 => random.byte(),
                    1 => frame[at] ^ (1 << random.below(8)),
                    _ => [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                };
            }
        }
    }
}

/// Whether an address of a VIP, or of a `nat` backend, stands anywhere in a frame: only then may it
/// be changed or dropped.
fn names_a_vip(frame: &[u8]) -> bool {
    [VIP4, SERVER4].iter().any(|address| {
        let octets = address.octets();
        frame.windows(4).any(|bytes| bytes == octets)
    }) || [VIP6, SERVER6].iter().any(|address| {
        let octets = address.octets();
        frame.windows(16).any(|bytes| bytes == octets)
    })
}

#[test]
fn no_frame_for_another_address_is_changed_or_dropped() {
    let Some(mut world) = World::load("no_frame_for_another_address_is_changed_or_dropped") else {
        return;
    };
    let service = |address| [(SocketAddr::new(address, 25), 1)];
    world
        .nat(A, SERVER4.into(), None, &service(VIP4.into()))
        .unwrap();
    world
        .nat(B, SERVER6.into(), None, &service(VIP6.into()))
        .unwrap();
    let seeds = seeds();
    let mut random = Random(0x1bd);
    let mut foreign = 0;
    let mut steered = 0;
    let mut out = Vec::new();
    for number in 0..FRAMES {
        let mut frame = if number % 8 == 0 {
            (0..14 + random.below(100)).map(|_| random.byte()).collect()
        } else {
            seeds[random.below(seeds.len())].clone()
        };
        mutate(&mut random, &mut frame);
        if number % 256 == 0 {
            // Both backends are candidates for both families, and a flow with one of the other family
            // keeps its SYNs.
            world.fill(A, FREE, 0, 0).unwrap();
        }
        let action = world.run_into(&frame, &mut out).unwrap();
        if names_a_vip(&frame) {
            steered += u32::from(action == verdict::TX);
            continue;
        }
        foreign += 1;
        assert_eq!(action, verdict::PASS, "frame {number}: {frame:02x?}");
        assert_eq!(out, frame, "frame {number}");
    }
    // Neither kind is rare, or the test would prove nothing.
    assert!(foreign > FRAMES / 8, "{foreign} for other addresses");
    assert!(steered > FRAMES / 25, "{steered} steered");
}
