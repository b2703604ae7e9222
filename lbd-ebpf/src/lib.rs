//! What of the data plane needs no kernel: it is compiled into the XDP program, and on the host it
//! runs under unit, property and fuzz tests.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call that is not inlined is a BPF-to-BPF call on the hot path"
)]

pub mod wire;
