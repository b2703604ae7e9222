//! The kernel names of the maps, and their sizes.

/// [`crate::vip::Vip`] by [`crate::hash`] slot; memory-mappable.
pub const VIPS: &str = "VIPS";
/// One [`crate::prefilter::Prefilter`]: a variable of the object, pinned under this name.
pub const PREFILTER: &str = "PREFILTER";
/// One [`crate::director::Director`]; memory-mappable, so that a lease is renewed without a system call.
pub const DIRECTOR: &str = "DIRECTOR";
/// [`crate::node::Node`] by [`crate::hash`] slot; memory-mappable.
pub const NODES: &str = "NODES";
/// [`crate::tunnel::TunnelEnd`] by [`crate::hash`] slot; memory-mappable.
pub const TUNNELS: &str = "TUNNELS";
/// [`crate::backend::Backend`] by backend id.
pub const BACKENDS: &str = "BACKENDS";
/// The effective weight in permille by backend id, `u32`; memory-mappable.
pub const WEIGHTS: &str = "WEIGHTS";
/// Live connections by backend id, `u64`; memory-mappable.
pub const LOAD: &str = "LOAD";
/// [`crate::sign::Sign`] by backend id; memory-mappable.
pub const SIGNS: &str = "SIGNS";
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

/// [`crate::reply::Reply`] by [`crate::reply::ReplyKey`]: a hash.
pub const REPLIES: &str = "REPLIES";

/// IPv4 prefixes that are admitted regardless of `DENY4` and the rates: an LPM trie of a prefix length
/// and an address in memory order; the value is not looked at.
pub const ALLOW4: &str = "ALLOW4";
/// Likewise for IPv6, the address as four words in memory order.
pub const ALLOW6: &str = "ALLOW6";
/// [`crate::denied::Network4`]s that may open nothing: a hash, the value is not looked at.
pub const DENY4: &str = "DENY4";
/// Likewise [`crate::denied::Network6`].
pub const DENY6: &str = "DENY6";
/// One [`crate::denied::DenyLengths`] of both; memory-mappable.
pub const DENY_LENGTHS: &str = "DENY_LENGTHS";
/// [`crate::rate::SourceRate`] by hash of the source.
pub const SOURCES: &str = "SOURCES";
/// One [`crate::rate::Rates`] per CPU.
pub const RATES: &str = "RATES";
/// By VIP id: when the socket of a session was last found among this box's own, in nanoseconds of
/// `CLOCK_MONOTONIC`, noted to [`OWN_NOTED_NS`]; 0 is never.
pub const OWN_SEEN: &str = "OWN_SEEN";

/// The number of an interface in its [`crate::prefilter::mac_slot`], written by the daemon, and 0 once the
/// chain has seen a frame that came in there; `u64`, memory-mappable.
pub const UNSEEN: &str = "UNSEEN";

/// [`crate::fragment::note`] by [`crate::fragment::FragmentKey`]: an LRU hash.
pub const FRAGMENTS: &str = "FRAGMENTS";

/// By VIP id: the sessions that were selected for a backend, `u64`; memory-mappable.
pub const SERVICE_SESSIONS: &str = "SERVICE_SESSIONS";

/// Prefixes that one list can hold.
pub const LIST_ENTRIES: u32 = 1 << 18;
/// Slots of `SOURCES`, a power of two.
pub const SOURCE_SLOTS: u32 = 1 << 16;
/// Slots of `VIPS`; at most half of them are used.
pub const VIP_SLOTS: u32 = 64;
/// Slots of `NODES`; at most half of them are used. Eight times what [`MAX_BACKENDS`] boxes with one
/// MAC each need, so that one lookup nearly always recognises a frame for another host.
pub const NODE_SLOTS: u32 = 8192;
/// Slots of `TUNNELS`; at most half of them are used.
pub const TUNNEL_SLOTS: u32 = 2048;
/// Backend ids: 0 to `MAX_BACKENDS - 1`.
pub const MAX_BACKENDS: u32 = 1024;
/// Addresses and ports of `nat` backends.
pub const REPLY_ENTRIES: u32 = 4 * MAX_BACKENDS;
/// Bytes of the `EVENTS` ring buffer.
pub const EVENT_BYTES: u32 = 1 << 22;
/// Packets in parts that are known at a time. Only those of proven sessions are noted; beyond so many the
/// oldest are forgotten, and TCP sends them again.
pub const FRAGMENT_ENTRIES: u32 = 4096;
/// Interfaces that frames can be redirected to.
pub const MAX_DEVICES: u32 = 64;
/// Every VIP id: the entries of `OWN_SEEN` and `SERVICE_SESSIONS`.
pub const VIP_IDS: u32 = 1 << 16;
/// How old an entry of `OWN_SEEN` becomes before the next socket renews it: 69 s.
pub const OWN_NOTED_NS: u64 = 1 << 36;
/// How long after the last own socket a service's sessions still count as ones that end in this box's
/// own stack: 73 min.
pub const OWN_TRUSTED_NS: u64 = 1 << 42;
