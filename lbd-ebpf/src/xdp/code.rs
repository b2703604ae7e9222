//! What BPF subprograms tell their callers, as numbers: the one place that says what each means.
//!
//! The kernel verifies a function of its own once if it takes and returns numbers only, so what would be an
//! enum is a code here. An XDP action has its low three bits alone; an id of a backend is below
//! [`lbd_common::maps::MAX_BACKENDS`].

// From the chain, instead of an action: the program calls what decides the frame. It does so itself,
// because the kernel allows 512 bytes of stack for all functions that call each other.

/// The frame may be a `nat` backend's reply.
pub(crate) const REPLY: u32 = 1 << 16;
/// Another box of the cluster has steered the frame to this one.
pub(crate) const HANDED: u32 = 1 << 17;
/// Likewise, through a tunnel, and it was counted.
pub(crate) const TAKEN_OUT: u32 = 1 << 18;
/// It is no TCP segment, but may be an ICMP error.
pub(crate) const NO_SEGMENT: u32 = 1 << 19;

/// It is a part of a packet, and not the first.
pub(crate) const PART: u32 = 1 << 22;

// With an action.

/// The frame leaves for a backend with no change but its MACs.
pub(crate) const BY_MAC: u32 = 1 << 20;
/// Besides, the backend's lbd takes the mark off.
pub(crate) const TO_LBD: u32 = 1 << 21;
/// It is an action, where a backend's id may stand too.
pub(crate) const DECIDED: u32 = 1 << 31;

// From a function that writes a frame.

/// It could not, and the frame is spoiled.
pub(crate) const FAILED: u32 = 0;
/// It has.
pub(crate) const DONE: u32 = 1;
/// No answer is due to this frame, or not now.
pub(crate) const HELD_BACK: u32 = 2;
/// The frame is too long for the tunnel, and as it was.
pub(crate) const TOO_BIG: u32 = 3;

// Instead of a backend's id.

/// No backend.
pub(crate) use lbd_common::ring::NO_BACKEND;
/// There is one, but its MAC is not known yet.
pub(crate) const UNRESOLVED: u32 = u32::MAX - 1;
/// The packet is no TCP segment.
pub(crate) const OTHER_SERVICE: u32 = u32::MAX - 2;
/// In 64 bits: the SYN follows its flow.
pub(crate) const STAYS: u64 = u64::MAX;
/// In 64 bits: the SYN has come too early, and will come again.
pub(crate) const EARLY: u64 = u64::MAX - 1;

// Of the sockets of this box: whose a session is, and bits with it.

/// The bits that tell whose the session is.
pub(crate) const WHOSE: u32 = 3;
/// Whether the session is this box's cannot be known, or the frame begins one.
pub(crate) const UNKNOWN: u32 = 0;
/// The session is this box's.
pub(crate) const OWN: u32 = 1;
/// It is not.
pub(crate) const NOT_OWN: u32 = 2;
/// It has no socket here, and it began here.
pub(crate) const KEPT: u32 = 3;
/// The frame has the [`mark`](lbd_ebpf::wire::mark).
pub(crate) const MARKED: u32 = 4;
/// The frame begins a session.
pub(crate) const BEGINS: u32 = 8;

// Whether a session that another box has steered here may begin.

/// It may.
pub(crate) const BEGUN: u32 = 0;
/// Its source is denied.
pub(crate) const DENIED: u32 = 1;
/// No client has its source.
pub(crate) const ODD_SOURCE: u32 = 2;
