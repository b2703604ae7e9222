//! The data plane: one XDP program that decides each frame in a chain of stages.
//!
//! A stage hands a typed value to the next, or ends with an `Exit`, which says what is counted and which action
//! is taken: `xdp/mod.rs` draws the way of a frame. What needs no kernel (headers, checksums) is
//! `lbd_ebpf::wire`, the library of this crate; the program itself is `xdp`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        internal_features,
        reason = "compare-and-swap and locked adds exist on this target as intrinsics only"
    ),
    feature(core_intrinsics)
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::inline_always,
        reason = "a call that is not inlined is a BPF-to-BPF call on the hot path"
    )
)]

#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("lbd-xdp is loaded by lbd, it does not run by itself");
}
