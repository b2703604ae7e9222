//! Every map. Names and sizes are in [`lbd_common::maps`].
use aya_ebpf::{
    Global,
    btf_maps::{
        Array, ArrayOfMaps, DevMapHash, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf,
    },
    macros::btf_map,
};
use lbd_common::{
    backend::{Backend, BackendStats},
    counters::Counters,
    denied::{DenyLengths, Network4, Network6},
    director::Director,
    flow::{BUCKETS4, BUCKETS6, Bucket4, Bucket6},
    fragment::FragmentKey,
    maps::{
        EVENT_BYTES, FRAGMENT_ENTRIES, LIST_ENTRIES, MAX_BACKENDS, MAX_DEVICES, NODE_SLOTS,
        REPLY_ENTRIES, SOURCE_SLOTS, TUNNEL_SLOTS, VIP_IDS, VIP_SLOTS,
    },
    node::Node,
    prefilter::MAC_SLOTS,
    rate::{Rates, SourceRate},
    reply::{Reply, ReplyKey},
    ring::RING_SLOTS,
    sign::Sign,
    tunnel::TunnelEnd,
    vip::Vip,
};

/// `BPF_F_MMAPABLE`: the daemon reads and writes the map as memory.
const MAPPED: usize = 1024;
/// `BPF_F_NO_PREALLOC`: memory for the entries that there are.
const NO_PREALLOC: usize = 1;

#[btf_map]
pub(crate) static VIPS: Array<Vip, { VIP_SLOTS as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static DIRECTOR: Array<Director, 1, MAPPED> = Array::new();
#[btf_map]
pub(crate) static NODES: Array<Node, { NODE_SLOTS as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static TUNNELS: Array<TunnelEnd, { TUNNEL_SLOTS as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static BACKENDS: Array<Backend, { MAX_BACKENDS as usize }> = Array::new();
#[btf_map]
pub(crate) static WEIGHTS: Array<u32, { MAX_BACKENDS as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static LOAD: Array<u64, { MAX_BACKENDS as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static SIGNS: Array<Sign, { MAX_BACKENDS as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static RINGS: ArrayOfMaps<Array<u32, { RING_SLOTS as usize }>, 2> = ArrayOfMaps::new();
#[btf_map]
pub(crate) static FLOWS4: Array<Bucket4, { BUCKETS4 as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static FLOWS6: Array<Bucket6, { BUCKETS6 as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();
#[btf_map]
pub(crate) static BACKEND_STATS: PerCpuArray<BackendStats, { MAX_BACKENDS as usize }> =
    PerCpuArray::new();
#[btf_map]
pub(crate) static DEVICES: DevMapHash<{ MAX_DEVICES as usize }> = DevMapHash::new();
#[btf_map]
// Of [`lbd_common::event::FlowEvent`]; libbpf takes no value type for a ring buffer.
pub(crate) static EVENTS: RingBuf<(), { EVENT_BYTES as usize }> = RingBuf::new();

#[btf_map]
pub(crate) static ALLOW4: LpmTrie<u32, u32, { LIST_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
pub(crate) static ALLOW6: LpmTrie<[u32; 4], u32, { LIST_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
pub(crate) static DENY4: HashMap<Network4, u32, { LIST_ENTRIES as usize }, NO_PREALLOC> =
    HashMap::new();
#[btf_map]
pub(crate) static DENY6: HashMap<Network6, u32, { LIST_ENTRIES as usize }, NO_PREALLOC> =
    HashMap::new();
#[btf_map]
pub(crate) static DENY_LENGTHS: Array<DenyLengths, 1, MAPPED> = Array::new();
#[btf_map]
pub(crate) static REPLIES: HashMap<ReplyKey, Reply, { REPLY_ENTRIES as usize }, NO_PREALLOC> =
    HashMap::new();
#[btf_map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, u64, { FRAGMENT_ENTRIES as usize }> =
    LruHashMap::new();
#[btf_map]
pub(crate) static SOURCES: Array<SourceRate, { SOURCE_SLOTS as usize }> = Array::new();
#[btf_map]
pub(crate) static RATES: PerCpuArray<Rates, 1> = PerCpuArray::new();
#[btf_map]
pub(crate) static OWN_SEEN: Array<u64, { VIP_IDS as usize }> = Array::new();
#[btf_map]
pub(crate) static SERVICE_SESSIONS: Array<u64, { VIP_IDS as usize }, MAPPED> = Array::new();
#[btf_map]
pub(crate) static UNSEEN: Array<u64, { MAC_SLOTS as usize }, MAPPED> = Array::new();

/// `FLOWS4`'s buckets less one. The loader overrides it together with the map's size.
#[unsafe(no_mangle)]
pub(crate) static FLOWS4_MASK: Global<u32> = Global::new(BUCKETS4 - 1);
/// `FLOWS6`'s buckets less one.
#[unsafe(no_mangle)]
pub(crate) static FLOWS6_MASK: Global<u32> = Global::new(BUCKETS6 - 1);
