//! The compiled XDP program, as the build put it into this binary.

/// The ELF object with the program `lbd` and its maps, for `aya::EbpfLoader::load`.
///
/// Aligned as the ELF reader wants it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lbd-xdp"));
