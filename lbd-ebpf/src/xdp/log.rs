//! What the program says, for developers: aya-log's records, in the debug build `lbd-xdp-log` alone.
//!
//! The level is read-only data (`AYA_LOG_LEVEL`) that the loader sets before the load, so the verifier removes
//! what is off, the calls included. The program that lbd carries has no word of this.
use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use aya_log_ebpf::{
    debug, info,
    macro_support::{Level, level_enabled},
};
use lbd_ebpf::wire::frame::Frame as _;

use super::{
    packet::Packet,
    path::admit,
    tables::{
        atomic,
        maps::{FLOWS4_MASK, FLOWS6_MASK},
    },
};

/// 1 since the first frame after the load. A map of its own, which is as old as the load.
#[unsafe(no_mangle)]
static mut LOG_HAS_BEGUN: u64 = 0;

/// What it was loaded with, at the first frame.
#[inline(always)]
pub(crate) fn begin(ctx: *mut xdp_md) {
    if level_enabled(Level::Info) {
        say_loaded(ctx);
    }
}

/// What became of a frame.
#[inline(always)]
pub(crate) fn decided(ctx: *mut xdp_md, action: u32) {
    if level_enabled(Level::Debug) {
        say_decided(ctx, action);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn say_loaded(ctx: *mut xdp_md) -> u32 {
    // SAFETY: a variable of the program is a map's value.
    if !unsafe { atomic::compare_exchange(&raw mut LOG_HAS_BEGUN, 0, 1) } {
        return 0;
    }
    let packet = Packet::new(XdpContext::new(ctx));
    let interface = packet.context().ingress_ifindex() as u32;
    let Some(director) = admit::director() else {
        return 0;
    };
    info!(
        ctx,
        "loaded: {} and {} buckets of flows, layout {}, role {}, flags {:x}, ring {}; first frame by interface {}",
        FLOWS4_MASK.load() + 1,
        FLOWS6_MASK.load() + 1,
        director.abi_version,
        director.role,
        director.flags,
        director.ring_index,
        interface
    );
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn say_decided(ctx: *mut xdp_md, action: u32) -> u32 {
    let packet = Packet::new(XdpContext::new(ctx));
    let interface = packet.context().ingress_ifindex() as u32;
    let bytes = packet.len() as u32;
    debug!(
        ctx,
        "{} bytes by interface {}: action {}", bytes, interface, action
    );
    1
}
