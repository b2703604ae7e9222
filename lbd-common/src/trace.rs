//! What a traced frame was, and what became of it: the record that `lbd trace` puts into words.
//!
//! The traced program is the ordinary one between two looks: what it decides from is read right before
//! it decides, what it did right after. So the decision itself has no other code than without a trace.
use crate::{counters::Reason, ring::NO_BACKEND};

/// Ring buffer of [`TraceRecord`].
pub const TRACES: &str = "TRACES";
/// One [`TraceScratch`] per CPU.
pub const TRACE_SCRATCH: &str = "TRACE_SCRATCH";
/// Bytes of `TRACES` while frames are traced; the ordinary load makes it as small as it can be.
pub const TRACE_BYTES: u32 = 1 << 18;
/// Records a second on each CPU. What is above is counted in [`TraceScratch::left_out`].
pub const TRACES_PER_SECOND: u32 = 1000;

/// The traced load's read-only variables, by name.
pub mod variable {
    /// When the trace ends, in nanoseconds of `CLOCK_BOOTTIME`: nothing is recorded from then on, also
    /// when the daemon was killed meanwhile. `u64`.
    pub const UNTIL_NS: &str = "TRACE_UNTIL_NS";
    /// The family of the clients: 4, 6, or 0 for both. `u32`.
    pub const FAMILY: &str = "TRACE_FAMILY";
    /// The clients' network: the first two words of the address in memory order. `u64`.
    pub const CLIENT_HIGH: &str = "TRACE_CLIENT_HIGH";
    /// The last two. `u64`.
    pub const CLIENT_LOW: &str = "TRACE_CLIENT_LOW";
    /// The network's mask, likewise. `u64`.
    pub const MASK_HIGH: &str = "TRACE_MASK_HIGH";
    /// `u64`.
    pub const MASK_LOW: &str = "TRACE_MASK_LOW";
    /// A port of either end in network byte order; 0 for all. `u32`.
    pub const PORT_BE: &str = "TRACE_PORT_BE";
    /// The family of the virtual address: 4, 6, or 0 for all addresses. `u32`.
    pub const VIP_FAMILY: &str = "TRACE_VIP_FAMILY";
    /// The virtual address, as the clients' network. `u64`.
    pub const VIP_HIGH: &str = "TRACE_VIP_HIGH";
    /// `u64`.
    pub const VIP_LOW: &str = "TRACE_VIP_LOW";
}

/// Values of [`TraceRecord::kind`].
pub mod kind {
    /// A TCP segment for a virtual address.
    pub const SEGMENT: u8 = 1;
    /// The same out of the tunnel of another box.
    pub const TUNNELLED: u8 = 2;
    /// A segment of a `nat` backend for the client.
    pub const REPLY: u8 = 3;
    /// An ICMP error about what the virtual address has sent to the client.
    pub const ERROR: u8 = 4;
    /// An ICMP error about what the client has sent to a `nat` backend.
    pub const ERROR_REPLY: u8 = 5;
    /// Anything else for a virtual address: ping, a fragment, a broken segment.
    pub const OTHER: u8 = 6;
}

/// Bits of [`TraceRecord::about`].
pub mod about {
    /// This box is the master by its role.
    pub const MASTER: u16 = 1;
    /// It is, and its lease holds.
    pub const LEASE: u16 = 2;
    /// A box of the cluster has sent the frame.
    pub const FROM_NODE: u16 = 4;
    /// The frame came with the mark ([`super::kind::SEGMENT`] only).
    pub const MARKED: u16 = 8;
    /// The first candidate is avoided: its box is silent, or nothing listens there.
    pub const FIRST_AVOIDED: u16 = 16;
    /// So is the second.
    pub const SECOND_AVOIDED: u16 = 32;
    /// The candidates were looked at.
    pub const CANDIDATES: u16 = 64;
    /// The allow list or the deny list has entries.
    pub const LISTS: u16 = 128;
}

/// Instead of [`Candidate::id`]: no backend.
pub const NO_BACKEND_ID: u16 = u16::MAX;
/// Instead of [`Candidate::id`]: there is one, but its MAC is not known yet.
pub const UNRESOLVED: u16 = u16::MAX - 1;
/// Instead of [`Candidate::id`]: there is one, but it has as many sessions as it may.
pub const FULL: u16 = u16::MAX - 2;

/// The backend that a ring slot names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its live connections.
    pub load: u64,
    /// Its effective weight.
    pub weight_permille: u32,
    /// What its queue counts for, in sessions.
    pub queued_sessions: u32,
    /// Backend id of the first from the slot on that may take a session, [`NO_BACKEND_ID`], [`UNRESOLVED`] or
    /// [`FULL`].
    pub id: u16,
    /// Backend id in the slot itself, or [`NO_BACKEND_ID`].
    pub in_ring: u16,
    /// Backend id of the one that is [`UNRESOLVED`] or [`FULL`], or [`NO_BACKEND_ID`].
    pub kept_out: u16,
    /// Reserved, 0.
    pub reserved: u16,
}

/// An entry of [`TRACES`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TraceRecord {
    /// When the frame came, in nanoseconds of `CLOCK_BOOTTIME`.
    pub at_ns: u64,
    /// What was counted: a bit for each [`Reason`].
    pub counted: u64,
    /// [`crate::flow::FlowWord::to_bits`] of the client's flow before the frame; 0 for none.
    pub flow_before: u64,
    /// The same after it.
    pub flow_after: u64,
    /// The session's ring candidates; see [`about::CANDIDATES`].
    pub candidates: [Candidate; 2],
    /// Four words in memory order; an IPv4 address is in word 0.
    pub client: [u32; 4],
    /// The virtual address, likewise.
    pub vip: [u32; 4],
    /// Of the outermost IP header after the frame was decided.
    pub source_after: [u32; 4],
    /// Likewise.
    pub destination_after: [u32; 4],
    /// Network byte order, as all ports here.
    pub client_port_be: u16,
    /// Of the virtual address.
    pub vip_port_be: u16,
    /// Of the outermost TCP header after the frame was decided; 0 without one.
    pub source_port_after_be: u16,
    /// Likewise.
    pub destination_port_after_be: u16,
    /// Destination and source MAC, as they came.
    pub macs_before: [u32; 3],
    /// The same after the frame was decided.
    pub macs_after: [u32; 3],
    /// Where the frame came in.
    pub ifindex: u32,
    /// `enum xdp_action`.
    pub action: u32,
    /// Bytes of the frame.
    pub length_before: u32,
    /// The same after it was decided.
    pub length_after: u32,
    /// Effective weight of the backend of `flow_before`.
    pub flow_weight_permille: u32,
    /// Id of the backend that the frame was counted for, or [`NO_BACKEND_ID`].
    pub backend: u16,
    /// [`crate::vip::VipPort::id`]; 0 if the port is not served.
    pub vip_id: u16,
    /// One of [`kind`].
    pub kind: u8,
    /// 4 or 6.
    pub family: u8,
    /// The TCP flags; of [`kind::OTHER`] the IP protocol.
    pub flags: u8,
    /// 4 or 6: of the outermost IP header after the frame was decided; 0 if it has none.
    pub family_after: u8,
    /// Bits of [`about`].
    pub about: u16,
    /// Reserved, 0.
    pub reserved: u16,
}

/// The one entry of [`TRACE_SCRATCH`], per CPU: what the look before keeps for the look after.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TraceScratch {
    /// Matching frames that were not recorded: above the limit, or the ring buffer was full.
    pub left_out: u64,
    /// The second in which `recorded` counts.
    pub second: u64,
    /// Records in this second.
    pub recorded: u32,
    /// Whether the look after has something to do.
    pub is_traced: u32,
    /// The client's address and port, the VIP id and the family, as functions take them.
    pub name: [u64; 3],
    /// Frames so far for the flow's backend and the two candidates.
    pub packets: [u64; 3],
    /// The counters before the frame.
    pub counters: [u64; Reason::COUNT as usize],
    /// What is told.
    pub record: TraceRecord,
}

impl Default for Candidate {
    fn default() -> Self {
        Self {
            load: 0,
            weight_permille: 0,
            queued_sessions: 0,
            id: NO_BACKEND_ID,
            in_ring: NO_BACKEND_ID,
            kept_out: NO_BACKEND_ID,
            reserved: 0,
        }
    }
}

impl TraceRecord {
    /// Whether this was counted.
    #[must_use]
    pub const fn has_counted(&self, reason: Reason) -> bool {
        self.counted & 1 << reason as u32 != 0
    }
}

const _: () = assert!(size_of::<TraceRecord>() == 208 && align_of::<TraceRecord>() == 8);
const _: () = assert!(size_of::<TraceScratch>() == 72 + 8 * Reason::COUNT as usize + 208);
// A bit each, and ids in 16 bits.
const _: () = assert!(Reason::COUNT <= 64 && NO_BACKEND == u32::MAX);
