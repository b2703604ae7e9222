//! The XDP program of `main.rs` in an object that has no `lbd trace`: `tests/tests/xdp_object.rs` shows that
//! the program is the same in both.
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
    expect(dead_code, reason = "what the trace alone calls is unused here")
)]

#[cfg(target_arch = "bpf")]
#[path = "../xdp/mod.rs"]
mod xdp;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("lbd-xdp-untraced is read by a test, it does not run by itself");
}
