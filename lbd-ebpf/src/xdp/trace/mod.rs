//! `lbd trace`: the ordinary program between two looks, as a program of its own in the same object.
//!
//! The program that lbd attaches ([`crate::xdp::program::lbd`]) has nothing of this: no instruction, no
//! map. The traced one takes its place while someone looks. Nothing is told from inside the stages, whose
//! code both share; what they decide from is read before, and the counters, the flow and the frame tell
//! afterwards what they did. Each look is a function of its own, which the kernel verifies once and not
//! for every way through the stages.
pub(crate) mod after;
pub(crate) mod before;
mod subject;

use aya_ebpf::{
    Global,
    bindings::xdp_md,
    btf_maps::{PerCpuArray, RingBuf},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use lbd_common::trace::TraceScratch;

use super::program;

/// A page, the least that there is: the traced load makes it larger.
const LEAST_BYTES: usize = 4096;

// Of [`lbd_common::trace::TraceRecord`].
#[btf_map]
static TRACES: RingBuf<(), LEAST_BYTES> = RingBuf::new();
#[btf_map]
static TRACE_SCRATCH: PerCpuArray<TraceScratch, 1> = PerCpuArray::new();

// The variables of [`lbd_common::trace::variable`].
#[unsafe(no_mangle)]
static TRACE_UNTIL_NS: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_FAMILY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_CLIENT_HIGH: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_CLIENT_LOW: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_MASK_HIGH: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_MASK_LOW: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_PORT_BE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_VIP_FAMILY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_VIP_HIGH: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TRACE_VIP_LOW: Global<u64> = Global::new(0);

/// The program that lbd attaches while it traces.
#[xdp]
#[inline(always)]
pub(crate) fn lbd_traced(ctx: XdpContext) -> u32 {
    let ctx = ctx.ctx;
    before::look_before(ctx);
    let action = decide(ctx);
    after::look_after(ctx, action);
    action
}

#[inline(always)]
fn decide(ctx: *mut xdp_md) -> u32 {
    program::decide_frame(XdpContext::new(ctx))
}

/// This CPU's own entry, which nothing else uses meanwhile: a CPU runs one XDP program at a time.
#[inline(always)]
fn scratch() -> Option<&'static mut TraceScratch> {
    let scratch = TRACE_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the entry is this CPU's own, and each look takes it once at a time.
    Some(unsafe { &mut *scratch })
}

#[inline(always)]
fn boot_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
