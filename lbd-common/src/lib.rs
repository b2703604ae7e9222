//! What the eBPF program and the daemon both read.
//!
//! `#[repr(C)]` plain data, units in the names, layout asserted at compile time. The maps that hold
//! these types are declared in `lbd-ebpf` and listed in [`maps`].
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call that is not inlined is a BPF-to-BPF call on the hot path"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "hashes are cut to their slots, words to their fields"
)]

pub mod backend;
pub mod counters;
pub mod denied;
pub mod director;
pub mod event;
pub mod flow;
pub mod fragment;
pub mod hash;
pub mod maps;
pub mod node;
#[cfg(feature = "user")]
mod pod;
pub mod prefilter;
pub mod rate;
pub mod reply;
pub mod ring;
pub mod sign;
pub mod sock;
pub mod trace;
pub mod tunnel;
pub mod vip;
pub mod weigh;

/// The version of every layout here. A pinned map of another version is never reused.
///
/// Raise it with each change to a struct, to a map's size or to the meaning of a field.
pub const ABI_VERSION: u32 = 10;
