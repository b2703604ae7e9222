//! The floor programs of `lbd-ebpf/src/bin/lbd-floor.rs`.

/// The ELF object. Its program `pass` passes every frame.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-floor"));
