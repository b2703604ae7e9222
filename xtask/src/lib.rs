//! The project's own build steps, as a library without dependencies: `lbd`'s build script
//! compiles the eBPF object through [`ebpf::build`], and the `xtask` command line calls the same.
pub mod ebpf;
#[cfg(feature = "programs")]
pub mod programs;
pub mod toolchain;
