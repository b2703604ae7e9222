//! The compiled programs.

/// What lbd loads (`lbd-ebpf/src/main.rs`).
pub static LBD: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-xdp"));

/// What it is compared with (`tests/floor/src/main.rs`). Its program `pass` passes every frame.
pub static FLOOR: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-floor"));
