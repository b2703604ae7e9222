//! The debug build of the XDP program of `main.rs`, for developers: it says what it does (`xdp/log.rs`).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        internal_features,
        reason = "compare-and-swap and locked adds exist on this target as intrinsics only"
    ),
    feature(core_intrinsics)
)]

#[cfg(target_arch = "bpf")]
#[path = "../xdp/mod.rs"]
mod xdp;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("lbd-xdp-log is loaded by lbd, it does not run by itself");
}
