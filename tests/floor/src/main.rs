//! Programs to compare with and to test with: the least that XDP can do, for IPv4 without options
//! and without tags.
//!
//! `walk` makes `BPF_PROG_TEST_RUN` with a repeat count valid for programs that change the packet:
//! each time it puts the packet back, makes it the next of N flows, and tail-calls the program under
//! test. `pass` is also the peer program of a veth pair: `XDP_TX` over veth works only when the
//! other end has a native XDP program too.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("lbd-floor is loaded by the benchmark, it does not run by itself");
}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        Global,
        bindings::xdp_action,
        btf_maps::{Array, LruHashMap, ProgramArray},
        helpers::generated::bpf_xdp_adjust_head,
        macros::{btf_map, xdp},
        programs::XdpContext,
    };
    use lbd_common::flow::{Bucket4, buckets, hash4, tag};
    use lbd_ebpf::wire::{
        checksum::Sum,
        frame::{put_u16, put_u32, u16_at, u32_at},
    };
    use lbd_floor::{FLOOR_BUCKETS, FLOOR_LRU, FLOOR_RING, Walk};

    /// Ethernet, IPv4 and TCP without options.
    const HEADERS: usize = 54;
    /// Ethernet, IPv6 and TCP without options.
    const HEADERS6: usize = 74;

    /// The served address and port, in network byte order.
    #[unsafe(no_mangle)]
    static FLOOR_VIP: Global<u32> = Global::new(0);
    #[unsafe(no_mangle)]
    static FLOOR_PORT: Global<u16> = Global::new(0);

    #[btf_map]
    static WALK: Array<Walk, 1> = Array::new();
    #[btf_map]
    static SUNK: Array<u64, 1> = Array::new();
    #[btf_map]
    static TARGET: ProgramArray<1> = ProgramArray::new();
    #[btf_map]
    // By both addresses and both ports, as a balancer for any service keeps its connections.
    static LRU: LruHashMap<[u32; 3], u64, { FLOOR_LRU as usize }> = LruHashMap::new();
    #[btf_map]
    static BUCKETS: Array<Bucket4, { FLOOR_BUCKETS as usize }> = Array::new();
    #[btf_map]
    static RING: Array<u32, { FLOOR_RING as usize }> = Array::new();
    /// A backend is its MAC, in the low 48 bits.
    #[btf_map]
    static MACS: Array<u64, 256> = Array::new();

    #[inline(always)]
    fn headers(ctx: &XdpContext) -> Option<&mut [u8; HEADERS]> {
        let start = ctx.data();
        if start + HEADERS > ctx.data_end() {
            return None;
        }
        // SAFETY: the bytes lie inside the frame, which belongs to the program until it returns.
        Some(unsafe { &mut *(start as *mut [u8; HEADERS]) })
    }

    /// The headers of a TCP segment for the VIP.
    #[inline(always)]
    fn for_vip(ctx: &XdpContext) -> Option<&mut [u8; HEADERS]> {
        let head = headers(ctx)?;
        let plain = u16_at(head, 12) == 0x0800_u16.to_be()
            && head[14] == 0x45
            && head[23] == 6
            && u16_at(head, 20) & 0x3fff_u16.to_be() == 0;
        (plain && u32_at(head, 30) == FLOOR_VIP.load() && u16_at(head, 36) == FLOOR_PORT.load())
            .then_some(head)
    }

    #[inline(always)]
    fn to_backend(head: &mut [u8; HEADERS], mac: u64) -> u32 {
        let (low, high) = (u32_at(head, 0), u16_at(head, 4));
        put_u32(head, 6, low);
        put_u16(head, 10, high);
        put_u32(head, 0, mac as u32);
        put_u16(head, 4, (mac >> 32) as u16);
        xdp_action::XDP_TX
    }

    #[inline(always)]
    fn by_ring(hash: u64) -> Option<u64> {
        let slot = (((hash & 0xffff_ffff) * FLOOR_RING as u64) >> 32) as u32;
        MACS.get(*RING.get(slot)?).copied()
    }

    /// Passes every frame.
    #[xdp]
    #[inline(always)]
    pub(crate) fn pass(_ctx: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    /// Sends every frame back: what a call costs.
    #[xdp]
    #[inline(always)]
    pub(crate) fn nothing(_ctx: XdpContext) -> u32 {
        xdp_action::XDP_TX
    }

    /// Parses and passes.
    #[xdp]
    #[inline(always)]
    pub(crate) fn parse(ctx: XdpContext) -> u32 {
        match for_vip(&ctx) {
            Some(_) => xdp_action::XDP_TX,
            None => xdp_action::XDP_PASS,
        }
    }

    /// Swaps the MACs.
    #[xdp]
    #[inline(always)]
    pub(crate) fn swap(ctx: XdpContext) -> u32 {
        let Some(head) = headers(&ctx) else {
            return xdp_action::XDP_PASS;
        };
        let mac = u32_at(head, 6) as u64 | (u16_at(head, 10) as u64) << 32;
        to_backend(head, mac)
    }

    /// DSR with one lookup in the kernel's LRU hash.
    #[xdp]
    #[inline(always)]
    pub(crate) fn lru(ctx: XdpContext) -> u32 {
        let Some(head) = for_vip(&ctx) else {
            return xdp_action::XDP_PASS;
        };
        let key = [u32_at(head, 26), u32_at(head, 30), u32_at(head, 34)];
        if head[47] & 2 == 0 {
            // SAFETY: a value is written once, at its insertion.
            if let Some(mac) = unsafe { LRU.get(&key) } {
                return to_backend(head, *mac);
            }
        }
        let hash = hash4(u32_at(head, 26), u16_at(head, 34), 1);
        let Some(mac) = by_ring(hash) else {
            return xdp_action::XDP_DROP;
        };
        let _ = LRU.insert(&key, mac, 0);
        to_backend(head, mac)
    }

    /// DSR with flows in cache-line buckets, without any of the protocol that makes it safe.
    #[xdp]
    #[inline(always)]
    pub(crate) fn bucket(ctx: XdpContext) -> u32 {
        let Some(head) = for_vip(&ctx) else {
            return xdp_action::XDP_PASS;
        };
        let (source, port_be) = (u32_at(head, 26), u16_at(head, 34));
        let key = source as u64 | (port_be as u64) << 32 | 1 << 48;
        let hash = hash4(source, port_be, 1);
        let (first, second) = buckets(hash, FLOOR_BUCKETS - 1);
        let (Some(one), Some(two)) = (BUCKETS.get_ptr_mut(first), BUCKETS.get_ptr_mut(second))
        else {
            return xdp_action::XDP_DROP;
        };
        let (one, two) = (one.cast::<u64>(), two.cast::<u64>());
        for bucket in [one, two] {
            for slot in 0..4 {
                // SAFETY: a bucket is eight words.
                unsafe {
                    if *bucket.add(2 * slot) == key {
                        let Some(mac) = MACS.get(*bucket.add(2 * slot + 1) as u32) else {
                            return xdp_action::XDP_DROP;
                        };
                        return to_backend(head, *mac);
                    }
                }
            }
        }
        let slot = (((hash & 0xffff_ffff) * FLOOR_RING as u64) >> 32) as u32;
        let Some(&backend) = RING.get(slot) else {
            return xdp_action::XDP_DROP;
        };
        for bucket in [one, two] {
            for slot in 0..4 {
                // SAFETY: a bucket is eight words.
                unsafe {
                    if *bucket.add(2 * slot) == 0 {
                        return fill(head, bucket.add(2 * slot), key, backend);
                    }
                }
            }
        }
        // SAFETY: a bucket is eight words.
        let victim = unsafe { one.add(2 * (tag(hash) & 3) as usize) };
        fill(head, victim, key, backend)
    }

    #[inline(always)]
    fn fill(head: &mut [u8; HEADERS], slot: *mut u64, key: u64, backend: u32) -> u32 {
        // SAFETY: a slot is two words.
        unsafe {
            *slot.add(1) = backend as u64;
            *slot = key;
        }
        match MACS.get(backend) {
            Some(mac) => to_backend(head, *mac),
            None => xdp_action::XDP_DROP,
        }
    }

    /// Puts the packet back, makes it the next flow's, and calls the program under test.
    #[xdp]
    #[inline(always)]
    pub(crate) fn walk(ctx: XdpContext) -> u32 {
        let Some((walk, flow)) = next(&ctx) else {
            return xdp_action::XDP_ABORTED;
        };
        let Some(head) = headers(&ctx) else {
            return xdp_action::XDP_ABORTED;
        };
        ethernet(head, 0x0800_u16.to_be());
        put_u16(head, 24, 0);
        put_u32(
            head,
            26,
            walk.first_source.wrapping_add((flow >> 14) as u32).to_be(),
        );
        put_u32(head, 30, walk.destination);
        put_u16(head, 34, (16_384 + (flow & 0x3fff) as u16).to_be());
        put_u16(head, 36, FLOOR_PORT.load());
        head[47] = walk.tcp_flags as u8;
        put_u16(head, 50, 0);
        // SAFETY: nothing here has anything left to drop.
        unsafe { TARGET.tail_call(&ctx, 0) };
        xdp_action::XDP_ABORTED
    }

    /// Makes the frame the next flow's and sends it, with an IP checksum that a stack takes.
    #[xdp]
    #[inline(always)]
    pub(crate) fn generate(ctx: XdpContext) -> u32 {
        let Some((walk, flow)) = next(&ctx) else {
            return xdp_action::XDP_ABORTED;
        };
        let Some(head) = headers(&ctx) else {
            return xdp_action::XDP_ABORTED;
        };
        ethernet(head, 0x0800_u16.to_be());
        put_u16(head, 24, 0);
        let source = walk.first_source.wrapping_add((flow >> 14) as u32).to_be();
        put_u32(head, 26, source);
        let mut sum = Sum::default();
        for word in [14, 18, 22, 26, 30] {
            sum = sum.add_u32(u32_at(head, word));
        }
        put_u16(head, 24, sum.finish());
        put_u16(head, 34, (16_384 + (flow & 0x3fff) as u16).to_be());
        head[47] = walk.tcp_flags as u8;
        xdp_action::XDP_TX
    }

    /// Counts what arrives, on one CPU, and drops it.
    #[xdp]
    #[inline(always)]
    pub(crate) fn sink(_ctx: XdpContext) -> u32 {
        if let Some(sunk) = SUNK.get_ptr_mut(0) {
            // SAFETY: a live map value, which the benchmark reads between runs only.
            unsafe { *sunk += 1 };
        }
        xdp_action::XDP_DROP
    }

    /// Likewise for IPv6; unchanged fields stay as they are.
    #[xdp]
    #[inline(always)]
    pub(crate) fn walk6(ctx: XdpContext) -> u32 {
        let Some((walk, flow)) = next(&ctx) else {
            return xdp_action::XDP_ABORTED;
        };
        let start = ctx.data();
        if start + HEADERS6 > ctx.data_end() {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: the bytes lie inside the frame, which belongs to the program until it returns.
        let head = unsafe { &mut *(start as *mut [u8; HEADERS6]) };
        ethernet(head, 0x86dd_u16.to_be());
        put_u32(
            head,
            34,
            walk.first_source.wrapping_add((flow >> 14) as u32).to_be(),
        );
        put_u16(head, 54, (16_384 + (flow & 0x3fff) as u16).to_be());
        head[67] = walk.tcp_flags as u8;
        // SAFETY: nothing here has anything left to drop.
        unsafe { TARGET.tail_call(&ctx, 0) };
        xdp_action::XDP_ABORTED
    }

    #[inline(always)]
    fn ethernet<const N: usize>(head: &mut [u8; N], ethertype: u16) {
        // In the pieces in which it is read: a load that spans two recent stores waits for both, which
        // no frame from a driver makes one do.
        put_u32(head, 0, u32::from_ne_bytes([2, 0, 0, 0]));
        put_u16(head, 4, u16::from_ne_bytes([0, 1]));
        put_u32(head, 6, u32::from_ne_bytes([2, 0, 0, 0]));
        put_u16(head, 10, u16::from_ne_bytes([0, 2]));
        put_u16(head, 12, ethertype);
    }

    /// The frame at its length again, and the number of the next flow.
    #[inline(always)]
    fn next(ctx: &XdpContext) -> Option<(&'static Walk, u64)> {
        // SAFETY: the benchmark runs on one CPU and reads the entry between runs only.
        let walk = unsafe { &mut *WALK.get_ptr_mut(0)? };
        // The black box keeps the subtraction of pointers in 64 bits, as the verifier wants it.
        let length = core::hint::black_box(ctx.data_end() - ctx.data());
        let extra = length as i32 - walk.length as i32;
        // SAFETY: the context is the one this program was called with.
        if extra != 0 && unsafe { bpf_xdp_adjust_head(ctx.ctx, extra) } != 0 {
            return None;
        }
        let flow = if walk.shuffled == 0 {
            let flow = walk.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) & walk.mask;
            walk.next = walk.next.wrapping_add(1);
            flow
        } else {
            // A generator of full period modulo a power of two, and a bijection over it.
            walk.next = walk
                .next
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407)
                & walk.mask;
            walk.next ^ (walk.next >> (walk.half_bits & 63))
        };
        Some((walk, flow))
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(all(target_arch = "bpf", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
