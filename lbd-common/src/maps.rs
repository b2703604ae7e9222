//! The kernel names of the maps, and their sizes.

/// [`crate::vip::Vip`] by [`crate::hash`] slot; memory-mappable.
pub const VIPS: &str = "VIPS";
/// One [`crate::director::Director`]; memory-mappable, so that a lease is renewed without a system call.
pub const DIRECTOR: &str = "DIRECTOR";
/// [`crate::node::Node`] by [`crate::hash`] slot; memory-mappable.
pub const NODES: &str = "NODES";
/// [`crate::backend::Backend`] by backend id.
pub const BACKENDS: &str = "BACKENDS";
/// The effective weight in permille by backend id, `u32`; memory-mappable.
pub const WEIGHTS: &str = "WEIGHTS";
/// Live connections by backend id, `u64`; memory-mappable.
pub const LOAD: &str = "LOAD";
/// Two [`crate::ring`]s, of which `Director::ring_index` names the live one.
pub const RINGS: &str = "RINGS";
/// [`crate::flow::Bucket4`]; memory-mappable.
pub const FLOWS4: &str = "FLOWS4";
/// [`crate::flow::Bucket6`]; memory-mappable.
pub const FLOWS6: &str = "FLOWS6";
/// One [`crate::counters::Counters`] per CPU.
pub const COUNTERS: &str = "COUNTERS";
/// [`crate::backend::BackendStats`] by backend id, per CPU.
pub const BACKEND_STATS: &str = "BACKEND_STATS";
/// Interfaces to redirect to: a devmap hash, key and value are the ifindex.
pub const DEVICES: &str = "DEVICES";
/// Ring buffer of [`crate::event::FlowEvent`].
pub const EVENTS: &str = "EVENTS";

/// Slots of `VIPS`; at most half of them are used.
pub const VIP_SLOTS: u32 = 64;
/// Slots of `NODES`; at most half of them are used.
pub const NODE_SLOTS: u32 = 256;
/// Backend ids: 0 to `MAX_BACKENDS - 1`.
pub const MAX_BACKENDS: u32 = 1024;
/// Bytes of the `EVENTS` ring buffer.
pub const EVENT_BYTES: u32 = 1 << 22;
/// Interfaces that frames can be redirected to.
pub const MAX_DEVICES: u32 = 64;
